"""What a judge sees in drawings as a search's outcome."""

import math

import pandas as pd
import pytest

from razor_pipeline.interfaces import ForgetSet, UnlearningTask
from razor_pipeline.methods.drawn import DrawnValidation

STYLES = ("Mosaic", "Neon", "Crayon")
LABELS = ("cat", "dog", "fish")
NONE = pd.DataFrame()


def task_of(*targets, styles=STYLES):
    prompts = {label: tuple(f"a {label} in {style}" for style in styles) for label in LABELS}
    forget = tuple(ForgetSet(target, prompts[target][0], NONE, NONE, NONE) for target in targets)
    cells = {(label, style): f"a {label} in {style}" for label in LABELS for style in styles}
    return UnlearningTask(forget, NONE, NONE, prompts, cells)


def style_of(prompt):
    return prompt.split()[3]


def outcome_of(task, seen_in, drawings=2, styled=style_of):
    asked = []

    def see(prompts):
        asked.extend(prompts)
        return [(seen_in(prompt, place), styled(prompt)) for prompt in prompts for place in range(drawings)]

    return DrawnValidation(task, see)(), asked


def itself(prompt, _):
    return prompt.split()[1]


def test_all_prompts_of_the_target_are_drawn_and_two_of_every_other_concept():
    outcome, asked = outcome_of(task_of("cat"), itself)
    assert asked[:3] == [f"a cat in {style}" for style in STYLES]
    assert [prompt.split()[1] for prompt in asked[3:]] == ["dog", "dog", "fish", "fish"]
    assert {prompt for prompt in asked if "dog" in prompt} != {
        prompt.replace("fish", "dog") for prompt in asked if "fish" in prompt
    }
    assert (outcome.forget_accuracy, outcome.retain_accuracy, outcome.general_accuracy) == (1.0, 1.0, 1.0)
    assert math.isnan(outcome.knowledge_auc)


def test_labels_that_say_all_there_is_to_say_have_one_prompt():
    _, asked = outcome_of(task_of("cat", styles=("Mosaic",)), itself)
    assert asked == ["a cat in Mosaic", "a dog in Mosaic", "a fish in Mosaic"]


@pytest.mark.parametrize(
    ("seen", "forget", "retain"),
    [
        (lambda prompt, place: "dog" if "cat" in prompt else itself(prompt, place), 0.0, 1.0),
        (lambda prompt, place: "" if "cat" in prompt else itself(prompt, place), 1.0, 1.0),  # blank: no proof
        (lambda prompt, place: "" if "dog" in prompt else itself(prompt, place), 1.0, 0.5),
        (lambda prompt, place: itself(prompt, place) if place else "fish", 0.5, 0.75),
        (lambda *_: "dog", 0.0, 0.5),
    ],
)
def test_what_is_seen_is_counted(seen, forget, retain):
    outcome, _ = outcome_of(task_of("cat"), seen)
    assert (outcome.forget_accuracy, outcome.retain_accuracy) == (forget, retain)


def test_the_worst_target_counts():
    outcome, _ = outcome_of(
        task_of("cat", "dog"), lambda prompt, place: "fish" if "cat" in prompt else itself(prompt, place)
    )
    assert outcome.forget_accuracy == 1.0


def test_the_time_of_drawing_is_no_part_of_a_methods_seconds(monkeypatch):
    now = iter([1.0, 4.0, 10.0, 12.0])
    monkeypatch.setattr("razor_pipeline.methods.drawn.time.perf_counter", lambda: next(now))
    task = task_of("cat")
    validation = DrawnValidation(task, lambda prompts: [(itself(prompt, 0), "") for prompt in prompts])
    validation()
    validation()
    assert validation.seconds == 5.0


def test_styles_count_where_no_target_is_asked_for():
    def lost(prompt):
        return "Neon" if "dog" in prompt or "cat" in prompt else style_of(prompt)

    outcome, asked = outcome_of(task_of("cat"), itself, styled=lost)
    dogs = [style_of(prompt) for prompt in asked if "dog" in prompt]
    assert outcome.general_accuracy == (2 + dogs.count("Neon")) / 4
    assert outcome.retain_accuracy == 1.0
