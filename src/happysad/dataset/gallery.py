"""HTML report of a dataset check: findings by kind, to be ticked and excluded from training."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import compress, groupby
from operator import not_
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

from happysad import __version__
from happysad.dataset.check import ADVICE, CheckResult, Finding, Kind
from happysad.errors import ImageError
from happysad.image import RgbImage, open_image
from happysad.reports import write_html

MOST: Final = 48
"""Groups of each kind of finding that are shown with images; others are listed by name."""

_SIDE: Final = 224


@dataclass(frozen=True)
class _Entry:
    """An image of the report; an image of another dataset has an absolute path and no tick."""

    name: str
    file: str
    kind: Kind
    detail: str = ""
    thumbnail: RgbImage | None = None

    @property
    def inside(self) -> bool:
        """Whether it is in the dataset."""
        return not Path(self.file).is_absolute()


def write_gallery(path: Path, checked: CheckResult) -> None:
    """Write the findings by kind, with advice, images, and a list of ticked images to download.

    Images that belong together, such as near duplicates, stand together.

    Args:
        path: The HTML file.
        checked: The result of the check.

    Raises:
        HappysadError: The file cannot be written.
    """
    write_html(
        path,
        "check.html.j2",
        folder=checked.folder.resolve().name,
        version=__version__,
        counts=", ".join(f"{count:,} {label}" for label, count in checked.images.items()),
        sides=checked.sides,
        findings=len(checked.findings),
        sections=[
            _section(checked.folder, kind, list(found))
            for kind, found in groupby(checked.findings, key=lambda finding: finding.kind)
        ],
    )


def _section(folder: Path, kind: Kind, found: list[Finding]) -> dict[str, Any]:
    groups = _groups(found)
    first = [[_with_thumbnail(folder, entry) for entry in group] for group in groups[:MOST]]
    visible = [any(entry.thumbnail is not None for entry in group) for group in first]
    return {
        "kind": kind,
        "count": len(found),
        "advice": ADVICE[kind],
        "pairs": any(finding.other for finding in found),
        "shown": list(compress(first, visible)),
        "names": list(compress(first, map(not_, visible))) + groups[MOST:],
    }


def _groups(found: Iterable[Finding]) -> list[list[_Entry]]:
    """Group findings with the image that they refer to; an image may be in two groups."""
    groups: dict[str, list[_Entry]] = {}
    placed: set[str] = set()
    for finding in found:
        first = finding.other or finding.path
        if {first, finding.path} <= placed:
            continue
        entry = _Entry(finding.path, finding.path, finding.kind, finding.detail)
        if finding.other is None:
            groups[first] = [entry]
        elif first in groups:
            groups[first].append(entry)
        else:
            name = "/".join(Path(first).parts[-3:]) if Path(first).is_absolute() else first
            groups[first] = [_Entry(name, first, finding.kind), entry]
        placed |= {first, finding.path}
    return list(groups.values())


def _with_thumbnail(folder: Path, entry: _Entry) -> _Entry:
    try:
        image = Image.fromarray(open_image(folder / entry.file).pixels(_SIDE))
    except ImageError:
        return entry
    image.thumbnail((_SIDE, _SIDE))
    return replace(entry, thumbnail=np.asarray(image))
