"""HTML report of a dataset check."""

import base64
import html
import io
from itertools import groupby
from pathlib import Path
from typing import Final

from PIL import Image

from happysad.dataset.check import ADVICE, CheckResult, Finding
from happysad.errors import ImageError
from happysad.files import atomic_text
from happysad.image import open_image

MOST: Final = 48
"""Maximum number of images per kind."""

_SIDE: Final = 112

_HEAD: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<style>
body {{ max-width: 70rem; margin: 2rem auto; padding: 0 1rem; font: 1rem/1.5 system-ui; }}
.note {{ padding: .6rem 1rem; border: 1px solid #b45f04; border-radius: .5rem; }}
section {{ display: grid; gap: .8rem; }}
section {{ grid-template-columns: repeat(auto-fill, minmax(8.5rem, 1fr)); }}
figure {{ margin: 0; font-size: .8rem; overflow-wrap: anywhere; }}
img {{ width: 7rem; height: 7rem; object-fit: contain; background: #8883; border-radius: .3rem; }}
figcaption small {{ display: block; opacity: .7; }}
</style></head><body>
<h1>{title}</h1>
<p class="note">This file holds images of the dataset: show it only to those who may see them.</p>
<p>{summary}</p>
"""


def write_gallery(path: Path, checked: CheckResult) -> None:
    """Write the findings by kind, with advice and images."""
    counts = ", ".join(f"{count:,} {label}" for label, count in checked.images.items())
    short, middle, long = checked.sides
    parts = [
        _HEAD.format(
            title=f"Check of {html.escape(checked.folder.name)}",
            summary=f"{counts} images; shorter sides from {short} to {long} pixels, "
            f"median {middle}. {len(checked.findings):,} findings.",
        )
    ]
    for kind, group in groupby(checked.findings, key=lambda finding: finding.kind):
        found = list(group)
        parts.append(f"<h2>{kind}: {len(found):,}</h2>\n<p>{html.escape(ADVICE[kind])}.</p>")
        figures = "\n".join(_figure(checked.folder, finding) for finding in found[:MOST])
        parts.append(f"<section>\n{figures}\n</section>")
        if len(found) > MOST:
            parts.append(f"<p>… and {len(found) - MOST:,} more; --json lists them all.</p>")
    # Names that are not UTF-8 contain surrogates.
    text = "\n".join([*parts, "</body></html>\n"])
    atomic_text(path, text.encode("utf-8", "replace").decode())


def _figure(folder: Path, finding: Finding) -> str:
    name, detail = html.escape(finding.path), html.escape(finding.detail)
    return (
        f"<figure>{_thumbnail(folder / finding.path)}"
        f"<figcaption>{name}<small>{detail}</small></figcaption></figure>"
    )


def _thumbnail(path: Path) -> str:
    try:
        image = Image.fromarray(open_image(path).pixels(2 * _SIDE))
    except ImageError:
        return ""
    image.thumbnail((2 * _SIDE, 2 * _SIDE))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=80)
    return f'<img alt="" src="data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}">'
