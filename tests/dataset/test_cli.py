import json
from pathlib import Path

import pytest

from happysad.cli import main


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """Run `happysad dataset …` as the shell does; return the exit status."""
    monkeypatch.setattr("sys.argv", ["happysad", "dataset", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        main()
    return int(end.value.code or 0)


def test_draw_then_import_by_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn = tmp_path / "drawn"
    assert run(monkeypatch, "draw", "--out", drawn, "--count", 6) == 0
    rows = [f"{path.relative_to(tmp_path)},{path.parent.name}" for path in drawn.rglob("*.png")]
    table = tmp_path / "faces.csv"
    table.write_text("\n".join(["path,label", *rows, "x.png,fear"]), encoding="utf-8")
    assert run(monkeypatch, "import", table, "--out", tmp_path / "one") == 0
    output = capsys.readouterr().out
    assert "neither happy nor sad: fear 1" in output
    assert len(list((tmp_path / "one" / "training" / "sad").iterdir())) == 3
    assert run(monkeypatch, "import", table, "--out", tmp_path / "two", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {
        "splits": {"training": {"happy": 3, "sad": 3}},
        "left_out": {"fear": 1},
        "bad": [],
        "voted": 0,
    }


def test_brackets_in_a_folder_are_not_markup(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "fer.csv"
    table.write_text("emotion,pixels\n3,1 2 3 4\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, "import", table, "--out", "a[/b]") == 0
    assert "a[/b]/training" in capsys.readouterr().out


def test_bad_rows_are_listed_and_give_status_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "fer.csv"
    table.write_text("emotion,pixels\n3,1 2 3 4\n4,1 2 3\n", encoding="utf-8")
    assert run(monkeypatch, "import", table, "--out", tmp_path / "out") == 1
    assert "fer.csv, line 3: 3 pixels are not a square" in capsys.readouterr().err
    assert (tmp_path / "out" / "training" / "happy" / "000001.png").is_file()


def test_errors_give_one_line_and_status_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "import", tmp_path / "gone.csv", "--out", tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert "gone.csv: cannot be read" in error
    assert error.count("\n") == 1
