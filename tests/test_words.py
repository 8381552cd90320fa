"""Words and phrases that have a standard term, in code, messages and documentation."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# Each with the term to use instead.
BANNED = {
    r"\bfinder\b": "face detector",
    r"\bpictures?\b": "image",
    r"\bopinions?\b": "votes, predictions",
    r"\bis no (regular|run|valid|glob|image|video|folder|model|number|name)\b": "is not a",
    r"\bso manieth\b": "every Nth",
    r"\bto be had\b": "available",
    r"\bin vain\b": "without success",
    r"\bleave[sd]? (it|them|both|this) away\b": "omit",
    r"\banew\b": "again",
    r"\bthe one (road|door|way)\b": "pipeline, function",
    r"\bsurer\b|\bsurest\b": "more confident, most confident",
    r"\bof itself\b": "",
    r"\bto object to\b": "problem",
    r"\bnobody\b|\bnobody's\b": "no one; or rephrase",
    r"\bholes?\b": "vulnerability",
    r"\brefuses? to (say|tell)\b": "",
    r"\bmisled\b|\blopsided\b": "",
}


def files() -> Iterator[Path]:
    yield from (ROOT / "src").rglob("*.py")
    yield from (ROOT / "recipes").glob("*.toml")
    yield from (ROOT / "src").rglob("*.toml")
    yield from (ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md"))
    yield from (ROOT / "docs" / f"{name}.md" for name in ("index", "serving", "tutorial"))


@pytest.mark.parametrize("pattern", BANNED)
def test_standard_terms_are_used(pattern: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in files()
        for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1)
        if re.search(pattern, line, re.IGNORECASE)
    ]
    assert not found, f"use: {BANNED[pattern] or 'another phrase'}\n" + "\n".join(found)


def test_the_files_are_there() -> None:
    assert len(list(files())) > 100
