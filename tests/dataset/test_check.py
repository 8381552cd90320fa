"""`happysad dataset check` on a dataset with every kind of problem."""

import json
import shutil
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter
from typer.testing import CliRunner
from web import accessibility_violations, chromium

from happysad.cli import app
from happysad.cli import dataset as verb
from happysad.dataset.check import check
from happysad.dataset.gallery import MOST
from happysad.dataset.scan import scan
from happysad.dataset.synthetic import draw_face

verb.register(app)


def face(label: int, seed: int, side: int = 200) -> Image.Image:
    # With the same seed, the happy and the sad face would differ in expression only.
    return Image.fromarray(draw_face(label, np.random.default_rng((label, seed)), side))


@pytest.fixture(scope="module")
def messy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("messy")
    for name in ("happy", "sad", "test/happy", "test/sad"):
        (folder / name).mkdir(parents=True)
    for seed in range(8):
        face(1, seed).save(folder / f"happy/{seed}.png")
        face(0, seed).save(folder / f"sad/{seed}.png")
        face(1, 100 + seed).save(folder / f"test/happy/{seed}.png")
        face(0, 100 + seed).save(folder / f"test/sad/{seed}.png")
    (folder / "happy/broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    shutil.copy(folder / "happy/1.png", folder / "happy/again.png")
    shutil.copy(folder / "happy/2.png", folder / "sad/copied.png")
    face(1, 3).save(folder / "happy/nearly.jpg", quality=60)
    face(0, 13).save(folder / "happy/wrong.png")
    face(1, 11, 24).save(folder / "happy/tiny.png")
    face(0, 12).filter(ImageFilter.GaussianBlur(12)).save(folder / "sad/blurred.png")
    Image.new("RGB", (200, 200), (90, 120, 90)).save(folder / "sad/nobody.png")
    two = Image.new("RGB", (420, 220), (200, 210, 220))
    two.paste(face(1, 11), (0, 10))
    two.paste(face(1, 9), (215, 10))
    two.save(folder / "happy/two.png")
    shutil.copy(folder / "happy/5.png", folder / "test/happy/seen.png")
    return folder


def test_everything_that_is_wrong_is_found(messy: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(messy, data, ignore=shutil.ignore_patterns("test"))
    checked = check(data, against=messy / "test")
    found = defaultdict(set)
    for finding in checked.findings:
        found[finding.kind].add(finding.path)
    assert found["unreadable"] == {"happy/broken.png"}
    assert found["two labels"] == {"happy/2.png", "sad/copied.png"}
    assert found["leak"] == {"happy/5.png"}
    assert found["duplicate"] == {"happy/again.png"}
    assert found["near duplicate"] == {"happy/nearly.jpg"}
    assert "happy/wrong.png" in found["probably mislabelled"]
    assert found["several faces"] == {"happy/two.png"}
    assert found["tiny"] == {"happy/tiny.png"}
    assert {"sad/blurred.png", "sad/nobody.png"} <= found["blurred"]
    assert "sad/nobody.png" in found["no face"] and "happy/4.png" not in found["no face"]
    assert checked.sides[0] == 24 and checked.sides[1] == 200
    others = {finding.path: finding.other for finding in checked.findings if finding.other}
    assert others["happy/again.png"] == "happy/1.png"
    assert others["happy/nearly.jpg"] == "happy/3.png"
    assert others["sad/copied.png"] == "happy/2.png"
    assert others["happy/5.png"] == str(messy / "test/happy/seen.png")


def test_faces_of_other_emotions_are_checked(tmp_path: Path) -> None:
    data, test = tmp_path / "data", tmp_path / "test"
    for folder in (data, test):
        for name in ("happy", "sad", "other/angry[b]"):
            (folder / name).mkdir(parents=True)
    for seed in range(3):
        face(1, seed).save(data / f"happy/{seed}.png")
        face(0, seed).save(data / f"sad/{seed}.png")
        face(1, 100 + seed).save(test / f"happy/{seed}.png")
        face(0, 100 + seed).save(test / f"sad/{seed}.png")
    face(0, 13).save(data / "other/angry[b]/seen.png")
    face(0, 13).save(test / "other/angry[b]/seen.png")
    face(1, 1).save(data / "other/angry[b]/also.jpg", quality=60)
    (data / "other/angry[b]/broken.png").write_bytes(b"not an image")
    checked = check(data, against=test)
    found = {(f.kind, Path(f.path).name) for f in checked.findings if f.kind != "blurred"}
    assert {("unreadable", "broken.png"), ("leak", "seen.png"), ("two labels", "also.jpg")} <= found
    assert not {name for kind, name in found if kind == "probably mislabelled"} & {"seen.png"}
    assert checked.images == {"sad": 3, "happy": 3, "other/angry[b]": 2}
    done = CliRunner().invoke(app, ["dataset", "check", str(data)])
    assert done.exit_code == 1 and "2 other/angry[b] images" in done.stdout


def test_near_duplicates_are_listed_once(tmp_path: Path) -> None:
    for name in ("happy", "sad"):
        (tmp_path / name).mkdir()
    face(0, 1).save(tmp_path / "sad/a.png")
    face(1, 1).save(tmp_path / "happy/a.png")
    shutil.copy(tmp_path / "happy/a.png", tmp_path / "happy/b.png")
    for quality in (40, 60, 80):
        face(1, 1).save(tmp_path / f"happy/c{quality}.jpg", quality=quality)
    found = [f for f in check(tmp_path).findings if f.kind in ("duplicate", "near duplicate")]
    assert [(f.kind, f.path, f.other) for f in found] == [
        ("duplicate", "happy/b.png", "happy/a.png"),
        ("near duplicate", "happy/c40.jpg", "happy/a.png"),
        ("near duplicate", "happy/c60.jpg", "happy/a.png"),
        ("near duplicate", "happy/c80.jpg", "happy/a.png"),
    ]


def test_ticked_images_become_a_list_that_training_excludes(messy: Path, tmp_path: Path) -> None:
    data, report = tmp_path / "data", tmp_path / "check.html"
    shutil.copytree(messy, data, ignore=shutil.ignore_patterns("test"))
    for number in range(MOST + 5):
        (data / f"sad/broken, {number:02}.png").write_bytes(b"not an image")
    command = ["dataset", "check", str(data), "--against", str(messy / "test")]
    CliRunner().invoke(app, [*command, "--report", str(report)])
    with chromium() as browser:
        page = browser.new_page()
        page.goto(report.as_uri())
        assert not accessibility_violations(page)
        assert page.get_by_role("button", name="Download exclude.csv").is_hidden()
        section = page.locator("section", has_text="near duplicate: ")
        section.get_by_role("button").click()
        page.locator("section", has_text="leak: ").get_by_role("button").click()
        page.get_by_label("happy/wrong.png").first.check()
        folded = page.locator("section", has_text="unreadable: ").locator("details")
        folded.get_by_label("sad/broken, 52.png").check()
        page.get_by_label("happy/tiny.png").check()
        page.get_by_label("happy/tiny.png").uncheck()
        both = page.locator("section", has_text="two labels: ").locator("figure")
        assert both.count() == 1 and both.locator("img").count() == 2, "each image occurs once"
        assert page.get_by_text("4 images ticked").is_visible()
        with page.expect_download() as download:
            page.get_by_role("button", name="Download exclude.csv").click()
        download.value.save_as(tmp_path / "exclude.csv")
    excluded = {sample.path.relative_to(data).as_posix() for sample in scan(data)} - {
        sample.path.relative_to(data).as_posix()
        for sample in scan(data, exclude=tmp_path / "exclude.csv")
    }
    assert excluded == {
        "happy/5.png",
        "happy/nearly.jpg",
        "happy/wrong.png",
        "sad/broken, 52.png",
    }


def test_the_command_prints_and_writes_findings(messy: Path, tmp_path: Path) -> None:
    data, report = tmp_path / "data", tmp_path / "check.html"
    shutil.copytree(messy, data, ignore=shutil.ignore_patterns("test"))
    before = sorted(path.name for path in data.rglob("*"))
    done = CliRunner().invoke(app, ["dataset", "check", str(data), "--report", str(report)])
    assert done.exit_code == 1, "one image cannot be read"
    assert "probably mislabelled" in done.stdout and "happy/two.png: 2 faces" in done.stdout
    page = report.read_text("utf-8")
    assert "happy/wrong.png" in page and "data:image/jpeg" in page and "http" not in page
    assert "3.png" in page.partition("happy/nearly.jpg")[0], "pairs stand together"
    assert sorted(path.name for path in data.rglob("*")) == before, "nothing is changed"
    done = CliRunner().invoke(app, ["dataset", "check", str(data), "--json"])
    facts = json.loads(done.stdout)
    assert facts["counts"]["tiny"] == 1 and facts["images"]["happy"] > facts["images"]["sad"]


def test_a_dataset_without_problems_has_no_findings(tmp_path: Path) -> None:
    for label, name in enumerate(("sad", "happy")):
        (tmp_path / name).mkdir()
        for seed in ((3, 7), (7, 12))[label]:
            face(label, seed).save(tmp_path / name / f"{seed}.png")
    done = CliRunner().invoke(app, ["dataset", "check", str(tmp_path)])
    assert done.exit_code == 0 and "No problems found" in done.stdout, done.stdout
