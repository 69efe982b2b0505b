"""UnlearnCanvas' questions: what is asked, how answers are counted, and that a real pipeline and judges run through."""

import io
import weakref

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from razor_pipeline.families.diffusion import DiffusionFamily
from razor_pipeline.families.drawing_exam import DrawingExam, looking_at
from razor_pipeline.families.drawing_prompts import PromptError
from razor_pipeline.families.judges import Drawings, JudgeError, _png, is_blank
from razor_pipeline.families.vit_pretraining import new_vit
from razor_pipeline.manifest import arranged
from razor_pipeline.param_errors import ParameterError
from razor_pipeline.params.data import DataParams
from razor_pipeline.params.evaluation import DrawingParams
from razor_pipeline.params.pretraining import PretrainingParams

from .cases import tiny_pipeline

OBJECTS, STYLES = ["cat", "dog", "fish"], ["Crayon", "Mosaic", "Neon", "Woodcut"]
TINY = {"width": 16, "heads": 2, "layers": 1}


def prompt(label, style):
    return f"A {label} image in {style} style."


@pytest.fixture(scope="module")
def samples():
    rows = [
        {"label": o, "style": s, "domain": "canvas", "role": "forget" if o == "cat" else "retain"}
        for o in OBJECTS
        for s in STYLES
        for _ in range(2)
    ]
    return pd.DataFrame(rows).assign(
        prompt=lambda t: [prompt(*pair) for pair in zip(t["label"], t["style"], strict=True)]
    )


@pytest.fixture(scope="module")
def judges():
    params = PretrainingParams(image_size=32, vit=TINY)
    return {"objects": new_vit(OBJECTS, params), "styles": new_vit(STYLES, params)}


def drawn(exam, label=None, style=None, blank=None):
    """Drawings that show what was asked for, but for what is given."""
    orders = exam.orders
    return Drawings(
        [b""] * len(orders),
        orders["label"].to_numpy() if label is None else label,
        orders["style"].to_numpy() if style is None else style,
        np.eye(2)[np.arange(len(orders)) % 2],
        np.zeros(len(orders), dtype=bool) if blank is None else blank,
    )


def values(exam, drawings, base=None):
    return {name: e.value for name, e in exam.mark(drawings, base or drawn(exam)).items()}


def test_an_object_in_a_style_is_what_both_judges_see(samples, judges):
    """Only mosaic cats are to go: a cat in Neon is none, and neither is a dog in Mosaic."""
    rows = arranged(samples.drop(columns="role"), DataParams(concept="combination"))
    rows = rows.assign(role=np.where(rows["label"] == "cat in Mosaic", "forget", "retain"))
    exam = DrawingExam(rows, judges, DrawingParams())
    assert [len(exam.judges.of[column]) for column in ("label", "style")] == [2, 1]
    assert exam.targets == ["cat in Mosaic"]
    half = exam.orders["label"].replace("cat in Mosaic", "cat in Neon").to_numpy()
    assert values(exam, drawn(exam, label=half))["forget_accuracy"] == 0.0
    files = [_png(Image.new("RGB", (32, 32), colour)) for colour in ("red", "white", "blue")]
    seen, _ = exam.judges._seen(files, "label")
    alone = [
        exam.judges._seen(files, "style")[0],
        DrawingExam(samples, judges, DrawingParams()).judges._seen(files, "label")[0],
    ]
    assert list(seen) == [f"{label} in {style}" for style, label in zip(*alone, strict=True)]


def test_every_prompt_is_drawn_once_from_each_of_unlearncanvas_seeds(samples, judges):
    exam = DrawingExam(samples, judges, DrawingParams())
    assert len(exam.orders) == 3 * 4 * 5
    assert set(exam.orders["seed"]) == {188, 288, 588, 688, 888}
    assert (exam.orders.groupby("prompt")["seed"].nunique() == 5).all()
    assert exam.targets == ["cat"]


def test_no_more_than_a_batch_of_drawings_is_held_as_pixels(samples, judges):
    made, most = [], []

    class Painter:
        """Notes how many drawings are left of the batches before."""

        def draw(self, prompts, seeds, *_):
            most.append(sum(image() is not None for image in made))
            images = [Image.new("RGB", (32, 32)) for _ in zip(prompts, seeds, strict=True)]
            made.extend(map(weakref.ref, images))
            return images

    exam = DrawingExam(samples, judges, DrawingParams(batch_size=7))
    found = exam.put_to(Painter())
    assert max(most) <= 7 < len(found.images)
    assert most[1:] != [0] * len(most[1:])  # control: they are counted


def test_what_the_base_has_never_seen_is_nothing_to_keep(samples, judges):
    label = samples.loc[samples["role"] == "retain", "label"].iloc[0]
    strange = samples.assign(role=samples["role"].mask(samples["label"] == label, "reference"))
    exam = DrawingExam(strange, judges, DrawingParams())
    assert set(exam.orders["role"]) == {"forget", "retain"}
    assert set(exam.orders["label"]) == set(samples["label"]) - {label}


def test_the_subset_asks_for_all_of_the_target_and_two_of_every_other_concept(samples, judges):
    orders = DrawingExam(samples, judges, DrawingParams(protocol="subset")).orders
    assert orders.groupby("label")["prompt"].nunique().to_dict() == {"cat": 4, "dog": 2, "fish": 2}
    assert set(orders["seed"]) == {188, 288}
    assert orders["style"].nunique() == 4


def test_a_target_of_few_prompts_is_drawn_from_further_seeds(samples, judges):
    params = DrawingParams(protocol="subset", target_drawings=11, validation_seeds=(900,))
    orders = DrawingExam(samples, judges, params).orders
    cats = orders[orders["label"] == "cat"]
    assert len(cats) == 12  # four prompts, three seeds: none has more drawings than another
    assert set(cats["seed"]) == {188, 288, 901}  # of no validation
    assert not orders.duplicated(["prompt", "seed"]).any()
    others = orders[orders["label"] != "cat"]
    assert set(others["seed"]) == {188, 288}
    enough = DrawingExam(samples, judges, params.model_copy(update={"target_drawings": 8})).orders
    assert set(enough["seed"]) == {188, 288}  # control


def test_a_perfect_eraser_and_the_unedited_model(samples, judges):
    exam = DrawingExam(samples, judges, DrawingParams())
    base = values(exam, drawn(exam))
    assert base["forget_accuracy"] == base["retain_accuracy"] == base["general_accuracy"] == 1.0
    label = exam.orders["label"].replace("cat", "dog").to_numpy()
    perfect = values(exam, drawn(exam, label=label))
    assert perfect["forget_accuracy"] == 0.0
    assert perfect["retain_accuracy"] == perfect["general_accuracy"] == perfect["retrieval_agreement"] == 1.0


def test_what_is_lost_counts_where_it_is_lost(samples, judges):
    exam = DrawingExam(samples, judges, DrawingParams())
    dogs = (exam.orders["label"] == "dog").to_numpy()
    label = exam.orders["label"].where(~dogs, "fish").to_numpy()
    found = values(exam, drawn(exam, label=label))
    assert found["retain_accuracy"] == 0.5  # one of two concepts, each counted alike
    assert found["forget_accuracy"] == 1.0
    assert found["worst_class_loss"] == 1.0
    shown = exam.captions({"base": drawn(exam), "edited": drawn(exam, label=label)}, 2)
    assert set(shown.loc[shown["group"] == "lost", "label"]) == {"dog"}
    nothing_lost = exam.captions({"base": drawn(exam), "edited": drawn(exam)}, 2)  # control
    assert "lost" not in set(nothing_lost["group"])
    assert values(exam, drawn(exam))["worst_class_loss"] == 0.0
    style = exam.orders["style"].where(exam.orders["label"] != "cat", "Neon").to_numpy()
    found = values(exam, drawn(exam, style=style))
    assert found["general_accuracy"] == 1.0  # the target's prompts count in the other convention alone
    assert found["general_accuracy_with_target"] < 1.0


def test_what_an_edit_is_prepared_with_is_drawn_from_seeds_of_its_own(samples, judges):
    family = DiffusionFamily(tiny_pipeline())
    params = DrawingParams(steps=1, validation_seeds=(3, 4))
    prompts = [prompt("cat", style) for style in STYLES]
    seen = looking_at(family, samples, judges, params)(prompts)
    exam = DrawingExam(samples, judges, params)
    one_by_one = [exam.seen_in(family, [p], [seed])[0] for p in prompts for seed in (3, 4)]
    assert len(seen) == 8
    assert seen == one_by_one
    assert looking_at(judges["objects"], samples, judges, params) is None  # it does not draw
    with pytest.raises(ParameterError, match=r"validation_seeds holds 288, which is one of .*seeds"):
        DrawingParams.model_validate({"validation_seeds": [0, 288]})


def test_given_prompts_are_asked_instead_and_judged_by_what_they_name(samples, judges):
    given = ["a Neon sign that shows a DOG", "Woodcut: one cat, asleep", "a cat in the Mosaic manner"]
    orders = DrawingExam(samples, judges, DrawingParams(), given).orders
    found = orders.drop_duplicates("prompt").set_index("prompt")[["label", "style", "role"]]
    assert tuple(found.loc[given[0]]) == ("dog", "Neon", "retain")
    assert tuple(found.loc[given[1]]) == ("cat", "Woodcut", "forget")
    assert len(orders) == 3 * 5


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (
            ["a cat in Mosiac style"],
            r"'a cat in Mosiac style' names no style of the data.*did you mean Mosaic\?",
        ),
        (["a concatenation in Mosaic style"], "names no label of the data"),
        (["a dog in Mosaic style"], r"none of the 1 prompts names a target \(cat\)"),
    ],
)
def test_a_prompt_that_nobody_could_judge_is_refused(samples, judges, given, sentence):
    with pytest.raises(PromptError, match=sentence):
        DrawingExam(samples, judges, DrawingParams(), given)


def test_a_blank_drawing_is_no_forgetting(samples, judges):
    exam = DrawingExam(samples, judges, DrawingParams())
    blank = np.ones(len(exam.orders), dtype=bool)
    label = np.full(len(exam.orders), "fish")
    found = values(exam, drawn(exam, label=label, blank=blank))
    assert found["forget_accuracy"] == 1.0
    assert found["retain_accuracy"] == found["general_accuracy"] == 0.0
    assert found["blank_share"] == 1.0


def test_a_concept_that_no_judge_knows_is_refused(samples, judges):
    with pytest.raises(
        JudgeError, match=r"none of the judges \(objects\) knows all 4 concepts of the column style"
    ):
        DrawingExam(samples, {"objects": judges["objects"]}, DrawingParams())
    with pytest.raises(JudgeError, match="there are none"):
        DrawingExam(samples, {}, DrawingParams())


@pytest.mark.parametrize("concept", ["label", "style"])
def test_a_report_shows_the_target_its_kind_and_the_other_kind(samples, judges, concept):
    rows = arranged(samples.drop(columns="role"), DataParams(concept=concept))
    target = "cat" if concept == "label" else "Neon"
    rows = rows.assign(role=np.where(rows["label"] == target, "forget", "retain"))
    exam = DrawingExam(rows, judges, DrawingParams())
    # What is drawn keeps its other concept, and nothing but the target's name ...
    lost = drawn(exam, label=np.full(len(exam.orders), target))
    table = exam.captions({"base": drawn(exam), "edited": lost}, 3)
    own = dict(list(table[table["model"] == "edited"].groupby("group")))
    assert list(own) == ["general", "lost", "other", "target"]
    assert own["lost"]["label"].nunique() == 1
    assert len(own["lost"]) == 3
    assert set(own["target"]["label"]) == {target}
    for group, column in (("other", "label"), ("general", "style")):
        assert target not in set(own[group]["label"])
        assert own[group][column].is_unique
        assert len(own[group]) == min(3, len(set(exam.orders[column]) - {target}))
    assert set(own["general"]["sample_id"]).isdisjoint(own["other"]["sample_id"])
    assert all(name.endswith(" seed 188") for name in table.loc[table["group"] != "lost", "sample_id"])
    # ... so it is wrong of its kind and right of the other
    assert set(own["other"]["score"]) == {0.0}
    assert set(own["general"]["score"]) == {1.0}
    assert list(own["general"]["caption"]) == list(own["general"]["style"])
    wrong = drawn(exam, style=np.full(len(exam.orders), "none"))
    table = exam.captions({"base": wrong, "edited": wrong}, 3)
    assert set(table.loc[table["group"] == "general", "score"]) == {0.0}  # control


def test_a_real_pipeline_draws_from_the_images_own_seed_and_real_judges_look(samples, judges):
    family = DiffusionFamily(tiny_pipeline())
    params = DrawingParams(protocol="subset", steps=2, batch_size=5)
    exam = DrawingExam(samples, judges, params)
    first = exam.put_to(family)
    again = DrawingExam(samples, judges, params.model_copy(update={"batch_size": 16})).put_to(family)
    assert len(first.images) == len(exam.orders) == 16
    pictures, others = (
        np.stack([np.asarray(Image.open(io.BytesIO(png)), dtype=int) for png in drawings.images])
        for drawings in (first, again)
    )
    assert np.abs(pictures - others).max() <= 2  # the noise is the image's, however it is batched
    assert np.abs(pictures[0] - pictures[1]).max() > 10  # control: another seed, another image
    assert set(first.label) <= set(OBJECTS)
    assert set(first.style) <= set(STYLES)
    table = exam.captions({"base": first, "edited": again}, 2)
    assert set(table["group"]) == {"target", "other", "general"}
    assert (table.groupby("sample_id")["model"].apply(set) == {"base", "edited"}).all()
    shown = table[table["group"] == "target"]
    assert set(shown["label"]) == {"cat"}


def test_one_colour_all_over_is_blank_whichever_it_is():
    for colour in [(0, 0, 0), (128, 128, 128), (200, 30, 30)]:
        assert is_blank(Image.new("RGB", (32, 32), colour))
    drawing = Image.new("RGB", (32, 32), (200, 30, 30))
    drawing.paste((30, 200, 30), (0, 0, 8, 8))  # control
    assert not is_blank(drawing)
