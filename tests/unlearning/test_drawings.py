"""A line of models that draw: the same requests, examined by what judges see in drawings."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from razor_pipeline import fingerprint
from razor_pipeline.atelier import generate
from razor_pipeline.core.metrics import Estimate
from razor_pipeline.datasets.pretrained import JudgesDataset, PretrainedDataset
from razor_pipeline.families import image_metrics
from razor_pipeline.families.drawing_exam import looking_at
from razor_pipeline.families.image_metrics import ImageMetricsError
from razor_pipeline.families.judges import JudgeError
from razor_pipeline.families.text_to_image import TextToImageFamily
from razor_pipeline.families.vit import VitFamily
from razor_pipeline.manifest import arranged
from razor_pipeline.methods.anchor import chosen_anchors
from razor_pipeline.methods.task import unlearning_task
from razor_pipeline.params.data import AtelierParams, DataParams, SplittingParams
from razor_pipeline.params.evaluation import DrawingParams, EvaluationParams
from razor_pipeline.params.razor import RazorParams
from razor_pipeline.requests import chain, leases
from razor_pipeline.requests.batch import gather, run_batch
from razor_pipeline.requests.database import open_database
from razor_pipeline.requests.drawing_examiner import NO_SEARCH, OF_A_TARGET, DrawingExaminer
from razor_pipeline.requests.evidence import RECORD
from razor_pipeline.requests.examiners import examiner
from razor_pipeline.requests.ledger import Ledger
from razor_pipeline.requests.purge import purge
from razor_pipeline.requests.states import Status
from razor_pipeline.requests.step import _Step
from razor_pipeline.requests.submission import submit_all
from razor_pipeline.requests.tables import Version
from razor_pipeline.requests.takeout import take_out
from razor_pipeline.requests.validation import validate
from razor_pipeline.requests.workplace import OpenBatch, Workplace
from razor_pipeline.splitting import split_samples
from unlearning.conftest import intake
from unlearning.places import FIRST, ROOT, SECOND, approved, champion, faults, status, workplace

STYLES, OBJECTS = ("Mosaic", "Neon", "Blueprint", "Pixel Art"), ("cat", "fish", "house", "tree")
CANVAS = {
    "portraits": {"edit": 0, "validation": 0, "test": 0},
    "canvas": {"edit": 4, "validation": 1, "test": 1},
}
BY_STYLE = DataParams(concept="style", domain="canvas")
SMALL = SplittingParams(min_forget_images=1)
ZOO = ROOT / "data/01_raw/zoo"
LED = RazorParams.model_validate(
    {
        "scoring": {"retain_samples": 32},
        "components": 8,
        "search": {"measure": "forget_accuracy", "goal": 0.0, "evaluations": 0},
        "repair": {"steps": 1, "evaluations": 20, "damping": 0.001},
    }
)
DRAWN = EvaluationParams(drawing=DrawingParams(steps=10))
GATES = {"max_forget_accuracy": 0.2, "max_retain_drop": 0.2, "max_class_loss": 0.5, "max_general_drop": 0.2}


@cache
def painter() -> TextToImageFamily:
    model = PretrainedDataset(family="diffusion", source=str(ZOO / "stable_diffusion")).load()
    assert isinstance(model, TextToImageFamily)
    return model


@cache
def judges() -> dict[str, VitFamily]:
    return JudgesDataset(sources={name: str(ZOO / f"vit_{name}") for name in ("objects", "styles")}).load()


@cache
def rows() -> pd.DataFrame:
    canvas = arranged(generate(AtelierParams.model_validate(CANVAS)), BY_STYLE)
    return canvas[canvas["label"].isin(STYLES) & canvas["style"].isin(OBJECTS)].reset_index(drop=True)


def looked_at(labels: Sequence[str]) -> DrawingExaminer:
    found = examiner(painter(), split_samples(rows(), list(labels), SMALL, 0), (), DRAWN, judges())
    assert isinstance(found, DrawingExaminer)
    return found


@pytest.fixture(scope="module")
def targets() -> list[str]:
    """A style and, behind it, the one that its prompts are led to at first."""
    task = unlearning_task(split_samples(rows(), [STYLES[0]], SMALL, 0))
    [anchor] = chosen_anchors(painter(), task, None).values()
    return [STYLES[0], anchor]


@pytest.fixture(scope="module")
def line(targets: list[str], tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    """Both forgotten, one after the other."""
    root = tmp_path_factory.mktemp("drawings")
    ledger = Ledger(open_database(f"sqlite:///{root}/requests.db"))
    place = workplace(ledger, root, razor=LED, gates=GATES)
    place = replace(
        place,
        base=painter(),
        manifest=rows(),
        data=BY_STYLE,
        protocol=replace(place.protocol, splitting=SMALL),
        evaluation=DRAWN,
        judges=judges(),
    )
    approved(ledger, *targets)
    run_batch(place)
    return place


def copy_of(line: Workplace, root: Path) -> Ledger:
    """The line's ledger, to go on with elsewhere."""
    shutil.copy(Path(line.params.folder).parent / "requests.db", root / "requests.db")
    return Ledger(open_database(f"sqlite:///{root}/requests.db"))


def figures_of(version: Version) -> dict[str, dict[str, dict[str, float]]]:
    found = json.loads((Path(version.path) / "evidence" / RECORD).read_text())
    assert found["not_checked"] == NO_SEARCH
    assert "drawings of every prompt" in found["wording"]
    figures: dict[str, dict[str, dict[str, float]]] = found["figures"]
    return figures


def test_each_request_is_measured_by_what_is_drawn_of_it_and_of_the_one_before(line: Workplace) -> None:
    """The second takes the first one's anchor away, and the first stays forgotten."""
    assert [(status(line, name), line.ledger.get(name).reason) for name in (FIRST, SECOND)] == [
        ("promoted", None)
    ] * 2
    serving = champion(line.ledger)
    assert chain.edits_of(serving) == [FIRST, SECOND]
    figures = figures_of(serving)
    base, edited = figures["base"], figures["edited"]
    assert base["forget_accuracy"]["value"] > 0.8  # control: it drew both before
    assert base["earlier_accuracy"]["value"] > 0.8
    assert edited["forget_accuracy"]["value"] <= 0.2
    assert edited["earlier_accuracy"]["value"] <= 0.2
    assert edited["encoders_back"]["value"] > 0.8
    kept = len(OBJECTS) * (len(STYLES) - 2) * 2
    assert edited["general_accuracy"]["n"] == kept
    assert [faults(line, name) for name in (FIRST, SECOND)] == [[], []]


def test_a_version_remembers_the_encoders_of_the_base(line: Workplace, targets: list[str]) -> None:
    """Not those that it was saved with, from which the first target is gone."""
    model = chain.load_version(champion(line.ledger), line.base)
    assert isinstance(model, TextToImageFamily)
    exam = looked_at(targets)._exam([targets[0]])
    assert exam.target_share(model.with_frozen_encoders()).value > 0.8
    directory = str(chain.model_directory(champion(line.ledger)))
    alone = PretrainedDataset(family="diffusion", source=directory).load()
    assert isinstance(alone, TextToImageFamily)
    assert exam.target_share(alone.with_frozen_encoders()).value <= 0.2  # control


def test_judges_who_do_not_know_the_data_end_no_request(line: Workplace, tmp_path: Path) -> None:
    ledger = Ledger(open_database(f"sqlite:///{tmp_path}/requests.db"))
    [name] = approved(ledger, STYLES[0])
    own = workplace(ledger, tmp_path).params
    place = replace(line, ledger=ledger, params=own, judges={"objects": line.judges["objects"]})
    with pytest.raises(JudgeError, match="none of the judges"):
        run_batch(place)
    assert ledger.get(name).state is Status.APPROVED


def test_later_targets_are_kept_and_the_base_draws_once(
    targets: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    examined = looked_at(targets)
    exam = examined._exam([targets[0]])
    assert exam.targets == [targets[0]]
    assert targets[1] in set(exam.orders.loc[exam.orders["role"] == "retain", "label"])
    drawn: list[int] = []
    draw = type(painter()).draw

    def counted(self: TextToImageFamily, prompts: list[str], *rest: object) -> object:
        drawn.append(len(prompts))
        return draw(self, prompts, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(type(painter()), "draw", counted)
    assert examined.knows(targets[0]).value > 0.8
    assert sum(drawn) == len(exam.orders) > len(OBJECTS) * len(STYLES) * 2  # a style has few prompts here
    both = examined._exam(targets).orders
    assert (both[both["role"] == "forget"].groupby("label").size() >= OF_A_TARGET).all()
    found = examined.examine(painter(), None, targets)
    assert sum(drawn) == 2 * len(both)  # the other model's
    assert isinstance(found["base"]["earlier_accuracy"], Estimate)
    assert "encoders_back" not in found["edited"]


def opened(line: Workplace, ledger: Ledger, held: Sequence[str], *names: str) -> OpenBatch:
    with ledger.reading() as session:
        parent = chain.version(session, "clip", len(held))
    assert parent is not None
    place = replace(line, ledger=ledger)
    with leases.held(ledger, place.lease, 60.0) as owner:
        return gather(place, parent, held, list(names), owner)


def test_what_was_purged_is_led_away_again_with_the_rest(
    line: Workplace, targets: list[str], tmp_path: Path
) -> None:
    """Its prompts mean the second target, which they would go on to draw; no other image of it is held as before."""
    ledger = copy_of(line, tmp_path)
    purge(ledger, FIRST, "dpo-1", tmp_path, 60.0)
    assert opened(line, ledger, [FIRST], SECOND).labels == dict(zip((FIRST, SECOND), targets, strict=True))
    others = rows()[rows()["label"] != targets[0]]
    without = opened(replace(line, manifest=others), ledger, [FIRST], SECOND)
    assert without.labels == {SECOND: targets[1]}  # control: its images are what tells
    few = rows()[(rows()["label"] != targets[0]) | (rows()["split"] == "edit")]
    left = opened(replace(line, manifest=few), ledger, [FIRST], SECOND)
    assert left.labels == {SECOND: targets[1]}  # and what is left of it is not taught
    assert targets[0] not in set(left.manifest["label"])


def test_images_that_one_brings_do_not_end_the_others(
    line: Workplace, targets: list[str], tmp_path: Path
) -> None:
    """It may have been submitted from the environment of another line, which cannot know better."""
    ledger = copy_of(line, tmp_path)
    [other] = approved(ledger, next(style for style in STYLES if style not in targets))
    [bringing] = submit_all(ledger, [intake("Nobody Known", data="case")], "ops-1")
    brought = tmp_path / "case"
    brought.mkdir()
    for number in range(24):
        Image.effect_noise((32, 32), 40.0 + number).save(brought / f"{number}.png")
    validate(ledger, "clip", tmp_path)
    ledger.approve(bringing.id, "dpo-1", 1)
    place = replace(line, params=line.params.model_copy(update={"data_root": str(tmp_path)}))
    assert list(opened(place, ledger, [], other, bringing.id).labels) == [other]
    assert ledger.get(bringing.id).state == "failed"
    assert "brings images" in (ledger.get(bringing.id).reason or "")


@pytest.mark.parametrize("module", ["families.judges", "families.diffusion"])
def test_an_edit_that_other_code_left_is_made_again(
    line: Workplace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    """Who looks at candidates for an anchor decides it, and the family does."""
    batch = opened(line, copy_of(line, tmp_path), [FIRST], SECOND)
    step = _Step(batch, SECOND, "nobody")
    before, source = step._made_from(batch.parent), fingerprint._source
    assert step._made_from(batch.parent) == before

    def changed(name: str) -> tuple[str, tuple[str, ...]]:
        found, imported = source(name)
        return ("other" if name == f"razor_pipeline.{module}" else found), imported

    monkeypatch.setattr(fingerprint, "_source", changed)
    assert step._made_from(batch.parent) != before


def test_a_request_needs_no_library_of_published_figures(
    line: Workplace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_metrics, "find_spec", lambda _: None)
    published = EvaluationParams(drawing=DRAWN.drawing.model_copy(update={"fid": True}))
    batch = opened(replace(line, evaluation=published), copy_of(line, tmp_path), [FIRST], SECOND)
    assert batch.see is not None
    with pytest.raises(ImageMetricsError):  # control
        looking_at(line.base, batch.examiner.samples, judges(), published.drawing)


def test_an_edit_is_taken_out_again(line: Workplace, targets: list[str]) -> None:
    found = take_out(line, SECOND, "dpo-1")
    assert found.version is not None
    assert chain.edits_of(champion(line.ledger)) == [FIRST]
    model = chain.load_version(champion(line.ledger), line.base)
    figures = looked_at(targets).examine(model, targets[1], [targets[0]])["edited"]
    assert figures["forget_accuracy"].value > 0.8
    assert figures["earlier_accuracy"].value <= 0.2
    last = take_out(line, FIRST, "dpo-1")  # nothing is forgotten any more, and what is kept is measured
    assert last.version is not None
    assert [gate.name for gate in last.gates] == [
        "drop of what is kept",
        "lost by any one kept class beyond doubt",
        "drop of other domains",
    ]
