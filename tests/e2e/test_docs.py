"""The commands and examples in docs/ work, and the pages build a site without broken links."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typed import ROOT, blocks, commands, lay_desk, run_python, type_in

from happysad.dataset.synthetic import draw_face, make_dataset

PEOPLE = ("anna", "ben", "eva", "lea", "max", "tim")
HOW_TO = ROOT / "docs" / "how-to.md"


def test_the_commands_of_the_tutorial_are_those_of_readme() -> None:
    """README's commands have their own test; training twice would only take longer."""
    readme = commands(ROOT / "README.md")
    extra = [c for c in commands(ROOT / "docs" / "tutorial.md") if c not in readme]
    assert extra == ["happysad dataset check faces --against faces-test"]


def test_the_how_tos_work(tmp_path: Path) -> None:
    lay_desk(tmp_path)
    for label, name in enumerate(("sad", "happy")):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for seed in range(12):
            photo = Image.new("RGB", (400, 300), (200, 210, 220))
            face = draw_face(label, np.random.default_rng((label, seed)), 240)
            photo.paste(Image.fromarray(face), (80, 30))
            photo.save(tmp_path / "photos" / name / f"{PEOPLE[seed % len(PEOPLE)]}_{seed}.png")
    photos = [path.relative_to(tmp_path) for path in sorted((tmp_path / "photos").rglob("*.png"))]
    listed = [f"{path.as_posix()},{path.parent.name}" for path in photos]
    (tmp_path / "photos.csv").write_text("\n".join(["path,label", *listed]))
    voted = [f"{path.as_posix()},8,1,1" for path in photos]
    (tmp_path / "votes.csv").write_text("\n".join(["path,happy,sad,neutral", *voted]))
    typed = commands(HOW_TO)
    assert len(typed) >= 5
    make_dataset(tmp_path / "faces-test", 20)
    names = [f"{path.parent.name}/{path.name}" for path in (tmp_path / "faces-test").rglob("*.png")]
    rows = [f"{name},,{('phone', 'web')[i % 2]}" for i, name in enumerate(names)]
    (tmp_path / "faces-test" / "groups.csv").write_text("\n".join(["path,group,camera", *rows]))
    for command in typed:
        if "runs/imagenet" in command:
            # Training a second model would only take longer.
            shutil.copytree(tmp_path / "runs" / "ours", tmp_path / "runs" / "imagenet")
        type_in(tmp_path, command)
    assert (tmp_path / "comparison" / "comparison.html").is_file()
    report = tmp_path / "runs" / "ours" / "evaluation-faces-test" / "report.html"
    assert "By camera" in report.read_text("utf-8")
    assert "Loss and accuracy by epoch" in report.read_text("utf-8"), "training curves"
    assert (tmp_path / "runs" / "ours" / "model.keras").is_file()
    answers = [run_python(tmp_path, example) for example in blocks(HOW_TO, "python")]
    assert answers[0].startswith(("True ", "False ")) and "1.jpg [" in answers[1]


def test_the_pages_build_a_site(tmp_path: Path) -> None:
    pytest.importorskip("zensical", reason="the group docs is not installed")
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    shutil.copy(ROOT / "mkdocs.yml", tmp_path)
    (tmp_path / "src").symlink_to(ROOT / "src")
    command = [str(Path(sys.executable).with_name("zensical")), "build", "--strict"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    page = (tmp_path / "build" / "site" / "reference" / "index.html").read_text("utf-8")
    assert "A detector may be used from several threads" in page
