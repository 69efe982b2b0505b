import re
import shlex
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

import click
import pandas as pd
import pytest
from kedro.framework.cli.utils import _split_params

from razor_pipeline.params.evaluation import ReportingParams
from razor_pipeline.params.razor import RazorParams
from razor_pipeline.reporting.page import render_report, reproduction_command
from razor_pipeline.reporting.record import RunRecord
from razor_pipeline.reporting.verdict import judge
from razor_pipeline.runtime_params import with_targets_as_texts

from .outputs import TARGET, drawings, edit_report, hardened_trace, metrics, predictions, run_record, samples

HOSTILE = '<script>alert("1")</script> & "O\'Hara"'


class Page(HTMLParser):
    """Tags, attributes and text of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def page(run: RunRecord) -> str:
    return render_report(run, judge(run, ReportingParams()), RazorParams())


@pytest.fixture(scope="module")
def html() -> str:
    return page(run_record())


def test_it_loads_nothing_from_elsewhere(html: str) -> None:
    found = Page(html)
    sources = [
        a[k] or "" for _, a in found.tags for k in ("src", "srcset", "href", "action", "data") if k in a
    ]
    assert sources
    assert all(source.startswith("data:") for source in sources)
    assert not found.named("script")
    assert "url(" not in html
    assert "@import" not in html


def test_every_image_has_a_text_and_every_heading_its_place(html: str) -> None:
    found = Page(html)
    assert all(image["alt"] for image in found.named("img"))
    levels = [int(name[1]) for name, _ in found.tags if re.fullmatch(r"h[1-6]", name)]
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_it_says_what_was_asked_what_came_out_and_how_to_run_it_again(html: str) -> None:
    text = Page(html).text
    for words in ("Ada Moreau", "data/01_raw/zoo/clip", "Forgotten", "What was asked", "AUC: take one image"):
        assert words in text
    assert "80.6 to 100.0" in text  # the interval of 16 of 16
    assert "int4, edited" in text
    assert "torch" in text
    assert reproduction_command(run_record()) in text


def test_names_with_markup_are_shown_and_not_run() -> None:
    rows = samples().copy()
    rows.loc[rows["label"] == TARGET, ["label", "prompt"]] = [HOSTILE, f"a photo of {HOSTILE}"]
    told = predictions().replace({"caption": {f"a photo of {TARGET}": f"a photo of {HOSTILE}"}})
    html = page(run_record(samples=rows, predictions=told, parameters={"target": HOSTILE}))
    found = Page(html)
    assert not found.named("script")
    assert "<script" not in html
    assert HOSTILE in found.text
    assert any(HOSTILE in (image["alt"] or "") for image in found.named("img"))


@pytest.mark.parametrize("target", [TARGET, HOSTILE, "it's"])
def test_the_command_reads_back_as_the_target(target: str) -> None:
    rows = samples().replace({"label": {TARGET: target}})
    words = shlex.split(reproduction_command(run_record(samples=rows, seed=3)))
    assert words == ["kedro", "run", "--params", f"target={target},seed=3"]


def test_a_target_may_hold_a_comma_and_what_else_does_is_said_beside_the_command() -> None:
    rows = samples().replace({"label": {TARGET: "Smith, John"}})
    params = {"data": {"path": "/photos, mine"}, "identities": {"targets": ["Smith, John"]}}
    given = {"invocation": {"params": params}}
    command = reproduction_command(run_record(samples=rows, seed=3, parameters=given))
    words = shlex.split(command, comments=True)
    assert words == ["kedro", "run", "--params", "target=Smith, John,seed=3,identities.targets=Smith, John"]
    assert 'parameters.yml, for --params separates at commas: data.path: "/photos, mine"' in command
    option = click.Option(["--params"])
    read = with_targets_as_texts(_split_params)(click.Context(click.Command("run")), option, words[3])
    assert read == {"target": "Smith, John", "seed": 3, "identities": {"targets": "Smith, John"}}


@pytest.mark.parametrize("invocation", [{}, {"invocation": {"params": {"target": ["tea|coffee"]}}}])
def test_a_target_with_a_bar_in_it_is_said_in_a_list(invocation: dict[str, Any]) -> None:
    rows = samples().replace({"label": {TARGET: "tea|coffee"}})
    words = shlex.split(reproduction_command(run_record(samples=rows, parameters=invocation)))
    option = click.Option(["--params"])
    read = with_targets_as_texts(_split_params)(click.Context(click.Command("run")), option, words[3])
    assert read == {"target": ["tea|coffee"], "seed": 0}


def test_of_a_list_that_holds_a_comma_the_command_says_where_it_is_written() -> None:
    given = {"invocation": {"params": {"identities": {"targets": ["tea|coffee", "Ben"]}}}}
    command = reproduction_command(run_record(parameters=given))
    assert command.endswith('at commas: identities.targets: ["tea|coffee", "Ben"]')


def test_the_command_says_again_what_was_said() -> None:
    given = {
        "data": {"path": "/my photos"},
        "model": "some/dir",
        "razor": {"tau": 0.5, "damping": None, "harden": {}, "scoring": {"towers": ["vision"]}},
        "quantization": {"schemes": []},
        "evaluation": {"schemes": ["int8", "int4"]},
    }
    run = run_record(parameters={"invocation": {"env": "images", "params": given}})
    words = shlex.split(reproduction_command(run))
    assert words[:4] == ["kedro", "run", "--env", "images"]
    option = click.Option(["--params"])
    read = _split_params(click.Context(click.Command("run")), option, words[5])
    assert read == {"target": TARGET, "seed": 0} | given | {"evaluation": {"schemes": "int8|int4"}}


@pytest.mark.parametrize(
    "changes",
    [
        {"metrics": metrics().query("metric != 'near_twin_accuracy' and metric != 'general_accuracy'")},
        {"metrics": metrics().query("model in ['base', 'edited']"), "quantization": pd.DataFrame()},
        {"predictions": predictions().head(0)},
        {"manifest": {}},
        {"quantization": pd.DataFrame({"scheme": ["nf4"], "changed_bin_share": [None], "mb": [1.9]})},
    ],
)
def test_a_run_that_lacks_something_optional_still_has_a_page(changes: dict[str, object]) -> None:
    assert "Ada Moreau" in Page(page(run_record(**changes))).text


@pytest.mark.parametrize(
    ("table", "headline"),
    [
        (metrics(), "Forgotten"),
        (metrics(edited_retain=0.9), "Forgotten, at a cost"),
        (metrics(edited_forget=9), "Not forgotten"),
        (metrics(base_forget=0), "Nothing to forget"),
    ],
)
def test_the_title_carries_the_verdict(table: pd.DataFrame, headline: str) -> None:
    assert f"<title>{headline}: Ada Moreau" in page(run_record(metrics=table))


def test_what_is_kept_is_counted_by_names_and_by_prompts() -> None:
    """A drawn object in twelve styles is one object and twelve prompts."""
    retain = samples()[samples()["role"] == "retain"]
    others = set(retain.loc[retain["domain"] == "portraits", "label"])
    prompts = len(others) + len(
        set(zip(*(retain.loc[retain["domain"] == "canvas", c] for c in ("label", "style")), strict=True))
    )
    assert f"{len(others)} others of its kind; {prompts} prompts in all" in Page(page(run_record())).text
    assert prompts > len(others) > 1  # control


def test_a_model_that_draws_is_told_in_its_own_words() -> None:
    """Drawings before and after, judges for names, no word of strangers that were not asked for."""
    kept = metrics()
    kept = kept[~kept["metric"].isin(["membership_auc", "privacy_leakage", "near_twin_accuracy"])]
    blank = kept[kept["metric"] == "forget_accuracy"].assign(
        metric="blank_share", value=0.0, low=0.0, high=0.05
    )
    run = run_record(predictions=drawings(), metrics=pd.concat([kept, blank], ignore_index=True))
    run.manifest["anchors"] = {"cat": "A dog image in Mosaic style."}
    html = page(run)
    found = Page(html)
    alts = [attributes["alt"] for attributes in found.named("img")]
    assert "Drawn before: cat, Mosaic" in alts
    assert "Drawn after: cat, Mosaic" in alts
    assert "(1 - UA)" in found.text
    assert "of 16 drawings" in found.text
    assert "now mean what “A dog image in Mosaic style.”" in found.text
    assert "unlearncanvas protocol, 16 of each model" in found.text
    assert "AUC: take one image" not in found.text
    assert "strangers" not in judge(run, ReportingParams()).sentence
    plain = Page(page(run_record())).text
    assert "(1 - UA)" not in plain  # control
    assert "of 16 test images" in plain


def test_hardened_matrices_are_listed_and_their_rounds_counted() -> None:
    names = ["unet.body.conv_in", "unet.body.conv_out"]

    def told(*stages: str) -> str:
        run = run_record(edit_report=edit_report() | {"hardened": names}, edit_trace=hardened_trace(*stages))
        return " ".join(Page(page(run)).text.split())

    text = told("harden", "harden", "harden")
    assert "2 matrices of the denoiser's body were hardened" in text
    assert "3 rounds of hardening, " in text
    assert "1 round of hardening (one more cost too much" in told("harden", "taken_back")
    assert all(name in text for name in names)
    plain = Page(page(run_record())).text
    assert "harden" not in plain


def test_blank_drawings_are_a_cost() -> None:
    kept = metrics()
    blank = kept[kept["metric"] == "forget_accuracy"].assign(metric="blank_share", value=0.2)
    run = run_record(predictions=drawings(), metrics=pd.concat([kept, blank], ignore_index=True))
    verdict = judge(run, ReportingParams())
    assert verdict.kind.value == "forgotten_at_a_cost"
    assert "20\N{NO-BREAK SPACE}% of its drawings are blank" in verdict.sentence


def test_where_the_data_has_no_strangers_the_report_says_what_took_their_place() -> None:
    """Control: where it has some, it speaks of them."""
    rows = samples()
    known = " ".join(Page(page(run_record(samples=rows[rows["role"] != "reference"]))).text.split())
    assert "one of another class that the model knows" in known
    assert known.count("no part of the verdict") == 3  # tile, row of the metrics, what an AUC is
    assert "Not checked: whether the target's images still look familiar" in known
    told = " ".join(Page(page(run_record())).text.split())
    assert "Target told from strangers" in told
    assert "no part of the verdict" not in told
    assert "Not checked" not in told


def test_groups_of_parameters_are_told_as_their_fields() -> None:
    told = Page(page(run_record(parameters={"reporting": ReportingParams()}))).text
    assert '"max_forget_accuracy": 0' in told
    assert "max_forget_accuracy=" not in told


def test_no_password_is_in_the_page() -> None:
    given = {"requests": {"ledger": "postgresql+psycopg://razor:hunter2@127.0.0.1/razor"}}
    found = page(run_record(parameters={**given, "invocation": {"env": None, "params": given}}))
    assert "hunter2" not in found
    assert found.count("razor:***@127.0.0.1/razor") == 3  # the command, its parameters, and all
