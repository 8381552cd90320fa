"""Return the temporary files beside a file."""

import subprocess
import sys
from pathlib import Path

import pytest

from happysad.dataset.synthetic import make_dataset
from happysad.errors import HappysadError
from happysad.files import atomic, atomic_folder, atomic_text


def test_the_current_folder_can_be_filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "faces").mkdir()
    monkeypatch.chdir(tmp_path / "faces")
    make_dataset(Path(), 4, size=16)
    assert sorted(path.name for path in Path().iterdir()) == ["happy", "sad"]
    assert [path.name for path in tmp_path.iterdir()] == ["faces"]
    with pytest.raises(HappysadError, match="cannot be written"), atomic_folder(Path()):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["faces"]


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_temporary_files_of_killed_writers_are_removed(tmp_path: Path) -> None:
    file = tmp_path / "a[1].txt"
    killed = (
        "import os, sys; from pathlib import Path; from happysad.files import atomic\n"
        "with atomic(Path(sys.argv[1])) as path: path.write_text('half'); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", killed, str(file)], check=False)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["half"]
    with atomic(file) as temporary:
        temporary.write_text("alive")
        atomic_text(file.with_name("b.txt"), "another file")
        subprocess.run(
            [sys.executable, "-c", killed.replace("; os.kill(os.getpid(), 9)", ""), str(file)],
            check=True,
        )
        assert file.read_text() == "half"
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "a[1].txt": "alive",
        "b.txt": "another file",
    }


@pytest.mark.skipif(sys.platform == "win32", reason="has other limits and messages")
def test_a_name_that_is_too_long_is_refused_before_the_work(tmp_path: Path) -> None:
    with (
        pytest.raises(HappysadError, match=r"cannot be written \(File name too long\)"),
        atomic(tmp_path / "new" / ("x" * 300 + ".mp4")),
    ):
        pytest.fail("the work began")
