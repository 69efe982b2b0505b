import io
from pathlib import Path

from rich.console import Console

from razor_pipeline.params.evaluation import ReportingParams
from razor_pipeline.reporting.closing import print_closing
from razor_pipeline.reporting.summary import flat_summary
from razor_pipeline.reporting.verdict import judge

from .outputs import TARGET, edit_report, run_record, samples

REPORT, MODEL = Path("data/08_reporting/report.html"), Path("data/06_models/edited_model")


def closing(
    terminal: bool = False, report: Path = REPORT, target: str = TARGET, hardened: tuple[str, ...] = ()
) -> str:
    run = run_record(
        samples=samples().replace({"label": {TARGET: target}}),
        edit_report=edit_report() | {"hardened": list(hardened)},
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
