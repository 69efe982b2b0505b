"""Write beside, fsync, rename: whatever happens, one whole version is there."""

import os
import signal
import subprocess
import sys
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from razor_pipeline.datasets.atomic import MARK, replace_directory, replace_file

DIE = """
import os, signal, sys
from pathlib import Path
from razor_pipeline.datasets.atomic import replace_directory, replace_file
path = Path(sys.argv[2])
with (replace_file if sys.argv[1] == "file" else replace_directory)(path) as beside:
    (beside if sys.argv[1] == "file" else beside / "part").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def listing(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def fail_halfway(replacing: AbstractContextManager[Path]) -> None:
    with replacing as beside:
        (beside / "part" if beside.is_dir() else beside).write_text("half")
        raise OSError("disk full")


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    for text in ("one", "two"):
        with replace_file(path) as beside:
            beside.write_text(text)
        assert path.read_text() == text
    assert listing(tmp_path / "new") == ["file"]


def test_a_failed_save_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(OSError, match="disk full"):
        fail_halfway(replace_file(path))
    assert path.read_text() == "old"
    assert listing(tmp_path) == ["file"]


def test_a_directory_is_replaced_as_a_whole_and_old_parts_go(tmp_path: Path) -> None:
    path = tmp_path / "model"
    for part in ("one", "two"):
        with replace_directory(path) as beside:
            (beside / part).write_text(part)
    assert listing(tmp_path) == ["model", "model/two"]


def test_a_failed_save_keeps_the_old_directory(tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.mkdir()
    (path / "part").write_text("old")
    with pytest.raises(OSError, match="disk full"):
        fail_halfway(replace_directory(path))
    assert (path / "part").read_text() == "old"
    assert listing(tmp_path) == ["model", "model/part"]


@pytest.mark.parametrize("kind", ["file", "directory"])
def test_a_killed_save_leaves_the_old_version_and_the_next_one_cleans_up(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "thing"
    replace = replace_file if kind == "file" else replace_directory

    def save(text: str) -> None:
        with replace(path) as beside:
            (beside if kind == "file" else beside / "part").write_text(text)

    def text() -> str:
        return (path if kind == "file" else path / "part").read_text()

    save("old")
    done = subprocess.run([sys.executable, "-c", DIE, kind, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert text() == "old"
    assert any(MARK in name for name in listing(tmp_path))  # the control: there is something to clean up
    save("new")
    assert text() == "new"
    assert not any(MARK in name for name in listing(tmp_path))


def test_a_kill_between_the_two_renames_loses_nothing(tmp_path: Path) -> None:
    """Then the old directory stands aside and the new one is complete; the next save starts from the old."""
    path, aside = tmp_path / "model", tmp_path / f"{MARK}old-model"
    aside.mkdir()
    (aside / "part").write_text("old")
    with pytest.raises(OSError, match="disk full"):
        fail_halfway(replace_directory(path))
    assert (path / "part").read_text() == "old"


def test_what_a_living_process_writes_is_left_alone(tmp_path: Path) -> None:
    theirs = tmp_path / f"{MARK}{os.getppid()}-file"
    theirs.write_text("being written")
    with replace_file(tmp_path / "file") as beside:
        beside.write_text("ours")
    assert theirs.read_text() == "being written"


def test_what_a_process_of_the_same_number_left_goes(tmp_path: Path) -> None:
    """In a container the number is the same at every start."""
    (tmp_path / f"{MARK}{os.getpid()}-model").mkdir()
    with replace_directory(tmp_path / "model") as beside:
        (beside / "part").write_text("new")
    assert listing(tmp_path) == ["model", "model/part"]


@pytest.mark.parametrize("kind", ["file", "directory"])
def test_a_link_stays_and_what_it_points_to_is_replaced(tmp_path: Path, kind: str) -> None:
    disk, link = tmp_path / "disk", tmp_path / "link"
    disk.mkdir()
    link.symlink_to(disk / "thing")
    replace = replace_file if kind == "file" else replace_directory
    for text in ("first", "second", "third"):
        with replace(link) as beside:
            (beside if kind == "file" else beside / "part").write_text(text)
        assert link.is_symlink()
        assert (link if kind == "file" else link / "part").read_text() == text
    assert not any(MARK in name for name in listing(tmp_path))


@pytest.mark.parametrize("name", ["clip", "model [1]", "a*b"])
def test_what_a_killed_process_left_beside_another_name_stays(tmp_path: Path, name: str) -> None:
    """The directory that stands aside may be all that there is of the other model."""
    gone = 2**22 + 1  # no process of Linux has this number
    others = [
        f"{MARK}old-vit-{name}",
        f"{MARK}{gone}-vit-{name}",
        f"{MARK}old-{name}-2",
        f"{MARK}old-5-{name}",
    ]
    for left in (*others, f"{MARK}{gone}-{name}", f"{MARK}old-{name}"):
        (tmp_path / left).mkdir()
    (tmp_path / name).mkdir()
    with replace_directory(tmp_path / name) as beside:
        (beside / "part").write_text("new")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*others, name])


def test_whether_a_process_lives_is_asked_of_the_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not of /proc, which macOS does not have."""
    theirs = tmp_path / f"{MARK}{os.getppid()}-file"
    theirs.write_text("being written")
    monkeypatch.setattr("psutil.pid_exists", lambda number: number != os.getppid())
    with replace_file(tmp_path / "file") as beside:
        beside.write_text("ours")
    assert not theirs.exists()
