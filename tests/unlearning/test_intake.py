"""What is submitted: single requests and CSVs, hostile ones among them."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from razor_pipeline.param_errors import ParameterError
from razor_pipeline.params.data import Concept
from razor_pipeline.requests.intake import LARGEST_CSV, Intake, IntakeError, read_csv, usual_kind
from razor_pipeline.requests.tables import Request
from razor_pipeline.requests.workplace import sayable
from razor_pipeline.splitting import parse_targets
from unlearning.conftest import intake

GOOD = (
    "target,requester,basis,received,kind,data,model,id,due\n"
    "Ada Moreau,CASE-0815,ccpa,2026-01-05,style,case_1,vit,REQ-2026-0007,\n"
    '"Novak, Greta",CASE-0816,,,,,,,\n'
)


def csv(folder: Path, text: str | bytes) -> Path:
    file = folder / "requests.csv"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def test_rows_are_read_with_their_defaults(tmp_path: Path) -> None:
    first, second = read_csv(csv(tmp_path, GOOD), {"model": "clip"})
    assert (first.target, first.basis, str(first.received), first.model) == (
        "Ada Moreau",
        "ccpa",
        "2026-01-05",
        "vit",
    )
    assert second == intake("Novak, Greta", requester="CASE-0816")


@pytest.mark.parametrize(
    ("family", "concept", "kind"),
    [
        ("clip", "label", "identity"),
        ("vlm", "label", "identity"),
        ("vit", "label", "class"),
        ("vit", "style", "style"),
        ("diffusion", "label", "object"),
        ("diffusion3_deep", "style", "style"),
        ("diffusion", "combination", "combination"),
    ],
)
def test_what_kind_of_target_a_line_forgets_is_known_from_its_environment(
    family: str, concept: Concept, kind: str
) -> None:
    assert usual_kind(family, concept) == kind
    fields = {"target": "a cat", "requester": "CASE-0815", "model": "line", "kind": kind}
    assert Intake.model_validate(fields).kind == kind


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "needs a header"),
        ("target,requester\n", "at least one row"),
        ("name,requester\nA,CASE-0815\n", "needs a header"),
        ("target,requester,password\nA,CASE-0815,x\n", "needs a header"),
        ("target,requester\nA,CASE-0815,x\n", "row 2: it has not as many cells"),
        ("target,requester\nA\n", "row 2: it has not as many cells"),
        ("target,requester\nA,Ada Moreau\n", "row 2: .*requester"),
        ("target,requester,data\nA,CASE-0815,../../etc\n", "row 2: .*refused"),
        ("target,requester,id\nA,CASE-0815,{id}\n", "row 2: .*request id"),
        ("target,requester,received\nA,CASE-0815,31.01.2026\n", "row 2: received"),
        ("target,requester\nA|B,CASE-0815\n", "without |"),
        ("target,requester\n,CASE-0815\n", "row 2: target"),
        ('target,requester\n"A,CASE-0815\n', "no CSV"),
        (b"\xff\xfe\x00t", "not UTF-8"),
        ("target,requester\n" + "x" * 10_000_000 + ",CASE-0815\n", "split it"),
        ("target,requester\n" + "x" * 900_000 + ",CASE-0815\n", "no CSV"),
        ("target,requester\n" + "x" * 9_000 + ",CASE-0815\n", "row 2: target"),
    ],
    ids=range(17),
)
def test_a_bad_csv_is_refused_in_one_short_sentence(tmp_path: Path, text: str | bytes, words: str) -> None:
    with pytest.raises(IntakeError, match=words) as refused:
        read_csv(csv(tmp_path, text), {"model": "clip"})
    assert len(str(refused.value)) < 600
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("requester", "Ada Moreau", "requester reference 'Ada Moreau' is refused; write 2 to 6 capitals, "),
        ("id", "../x", "request id '../x' is refused; write REQ-, "),
        ("model", "Clip!", "model 'Clip!' is refused; write 1 to 32 small letters, "),
        ("data", "../x", "data folder '../x' is refused; write a path relative to requests.data_root, "),
    ],
)
def test_a_refused_name_is_said_once_with_the_fix(field: str, value: str, said: str) -> None:
    """Control: where the rule alone is known, key and value are said before it."""
    given = {"target": "Ada", "requester": "CASE-0815", "model": "clip"}
    with pytest.raises(ParameterError) as refused:
        Intake.model_validate(given | {field: value})
    assert str(refused.value).startswith(said)
    with pytest.raises(ParameterError, match=r"^target is 'A\|B', but it should be one printable line"):
        Intake.model_validate(given | {"target": "A|B"})


@given(st.binary(max_size=300))
def test_no_bytes_do_more_than_be_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    file = csv(tmp_path_factory.mktemp("csv"), b"target,requester\n" + content)
    try:
        rows = read_csv(file, {"model": "clip"})
    except IntakeError as refused:
        assert len(str(refused)) < 1000  # noqa: PT017
    else:
        assert all(row.target.isprintable() for row in rows)


def test_a_target_has_the_spelling_in_which_refusals_repeat_it() -> None:
    spelt = "Zoe\u0308  A\u0301lvarez"  # accents behind their letters, as a Mac writes them
    request = Request(id="REQ-2026-0001", target=intake(spelt).target)
    refused = ValueError(f"target '{parse_targets(spelt)[0]}' has 2 edit images, 3 are needed")
    assert (
        sayable(refused, request, [], Path("data"))
        == "target 'REQ-2026-0001' has 2 edit images, 3 are needed"
    )


def test_a_field_of_ten_megabytes_is_not_repeated() -> None:
    with pytest.raises(ParameterError) as refused:
        intake("x" * 10_000_000)
    assert len(str(refused.value)) < 400
    assert LARGEST_CSV < 10_000_000
