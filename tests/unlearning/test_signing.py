"""Signatures hold from wherever the folder is named; the commands name it from the project's root."""

from pathlib import Path

import pytest

from razor_pipeline.requests import signing


def test_a_folder_named_by_a_relative_path_is_signed_and_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    private, public = tmp_path / "key.pem", tmp_path / "key.pub.pem"
    signing.make_keys(private, public)
    (tmp_path / "data/evidence").mkdir(parents=True)
    (tmp_path / "data/evidence/record.json").write_text("{}", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    relative, absolute = Path("data/evidence"), tmp_path / "data/evidence"
    for signed in (relative, absolute):
        signing.sign(signed, private)
        signing.verify(relative, public)
        signing.verify(absolute, public)
    (relative / "record.json").write_text("[]", encoding="utf-8")
    with pytest.raises(signing.SigningError, match="does not hold"):
        signing.verify(relative, public)


def test_a_public_key_that_is_missing_is_written_again(tmp_path: Path) -> None:
    """As where the command was killed between the two; the private key is never replaced."""
    private, public = tmp_path / "key.pem", tmp_path / "key.pub.pem"
    signing.make_keys(private, public)
    secret, told = private.read_bytes(), public.read_bytes()
    public.unlink()
    signing.make_keys(private, public)
    assert (private.read_bytes(), public.read_bytes()) == (secret, told)
    with pytest.raises(signing.SigningError, match="exists already"):
        signing.make_keys(private, public)  # control
