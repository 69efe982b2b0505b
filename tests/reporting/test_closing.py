import io
from pathlib import Path

import pandas as pd
from rich.console import Console

from razor_pipeline.params.evaluation import ReportingParams
from razor_pipeline.reporting.closing import print_closing, print_training
from razor_pipeline.reporting.summary import flat_summary
from razor_pipeline.reporting.verdict import judge
from razor_pipeline.reporting.wording import interval_text, metric_text, percent, read_names, said_names

from .outputs import TARGET, edit_report, metrics, run_record, samples

REPORT, MODEL = Path("data/08_reporting/report.html"), Path("data/06_models/edited_model")


def closing(
    terminal: bool = False,
    report: Path = REPORT,
    target: str = TARGET,
    hardened: tuple[str, ...] = (),
    strangers: bool = True,
    table: pd.DataFrame | None = None,
) -> str:
    rows = samples() if strangers else samples().query("role != 'reference'")
    run = run_record(
        samples=rows.replace({"label": {TARGET: target}}),
        edit_report=edit_report() | {"hardened": list(hardened)},
        metrics=metrics() if table is None else table,
    )
    stream = io.StringIO()
    console = Console(
        file=stream, force_terminal=terminal, width=80, color_system="standard" if terminal else None
    )
    print_closing(flat_summary(run, judge(run, ReportingParams())), report, MODEL, console)
    return stream.getvalue()


def test_ten_plain_lines_where_there_is_no_terminal() -> None:
    text = closing()
    lines = text.splitlines()
    assert len(lines) == 10
    assert "\x1b" not in text
    assert lines[0] == "Forgotten: Ada Moreau"
    assert lines[1].split() == ["on", "test", "images", "base", "edited", "int8", "int4"]
    assert str(REPORT) in lines[8]
    assert str(MODEL) in lines[9]


def test_what_was_judged_of_a_model_that_draws_are_drawings() -> None:
    """Control: of all others, test images."""
    seen = metrics()
    blank = seen[seen["metric"] == "forget_accuracy"].assign(metric="blank_share", value=0.0)
    assert "in drawings " in closing(table=pd.concat([seen, blank], ignore_index=True))
    assert "on test images" in closing()


def test_of_an_auc_that_decides_nothing_the_reason_is_said() -> None:
    """Control: against strangers it decides, and no word is said."""
    assert closing(strangers=False).count("AUC     no part of the verdict") == 1
    assert "no part of the verdict" not in closing()


def test_what_was_hardened_is_counted_apart() -> None:
    assert "of the denoiser's body" not in closing()
    assert "components and 2 of the denoiser's body," in closing(hardened=("unet.body.a", "unet.body.b"))


def test_a_terminal_gets_colour() -> None:
    assert "\x1b[" in closing(terminal=True)


def test_a_long_path_stays_in_one_piece_to_be_copied() -> None:
    long = Path("/a" * 90) / "report.html"
    assert str(long) in closing(report=long)


def test_a_name_with_console_markup_is_printed_as_it_is() -> None:
    assert "Forgotten: [red]Ada[/red]" in closing(target="[red]Ada[/red]")


def test_a_name_with_a_bar_in_it_is_one() -> None:
    """Control: two names that are not one."""
    assert "Forgotten: tea|coffee\n" in closing(target="tea|coffee")
    assert read_names(said_names(["Ada", "Ben"])) == ["Ada", "Ben"]
    assert said_names(["Ada", "Ben"]) == "Ada|Ben"


def test_a_training_ends_with_what_the_model_knows_and_where_it_lies() -> None:
    """Control: a model that draws is not asked for names."""
    share = {"value": 0.8125, "low": 0.7, "high": 0.9, "n": 48}
    told = {"images": 73, "seconds": 31.8, "zero_shot": {"canvas_label": share, "canvas_style": share}}
    for report, lines in ((told, 4), (told | {"zero_shot": {}}, 2)):
        stream = io.StringIO()
        print_training(report, MODEL, Console(file=stream, width=40))
        assert len(stream.getvalue().splitlines()) == lines
    assert stream.getvalue().startswith("Trained on 73 images in 32 s\n")
    assert stream.getvalue().endswith(f"Model   {MODEL}\n")
    stream = io.StringIO()
    print_training(told, None, Console(file=stream, width=80))
    assert f"Names   {percent(0.8125)} of 48 test images, by canvas style\n" in stream.getvalue()


def test_a_plain_number_that_rounds_to_zero_has_no_sign():
    assert metric_text("judge_distance", -0.001) == "0.00"
    assert metric_text("judge_distance", -0.25) == "−0.25"
    assert interval_text("judge_distance", -0.004, 0.004) == "0.00 to 0.00"
