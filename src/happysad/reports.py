"""HTML reports: self-contained files in one style, rendered from ``templates/``."""

import base64
import io
import re
from datetime import date
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup
from PIL import Image

from happysad.files import atomic_text
from happysad.image import RgbImage


def write_html(path: Path, template: str, **values: Any) -> None:
    """Render a template and write it atomically.

    Args:
        path: The HTML file.
        template: Name of the template, such as ``"evaluation.html.j2"``.
        values: What the template shows; strings are escaped.

    Raises:
        HappysadError: The file cannot be written.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("happysad", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"data_url": data_url, "thousands": "{:,}".format}
    html = environment.get_template(template).render(today=date.today().isoformat(), **values)
    # File names that are not UTF-8 contain surrogates.
    atomic_text(path, html.encode("utf-8", "replace").decode())


def data_url(image: RgbImage) -> Markup:
    """Encode an image, ``uint8 [H, W, 3]``, as a JPEG data URL."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=88)
    return _data_url("image/jpeg", file.getvalue())


def png_url(path: Path) -> Markup:
    """Encode a PNG file as a data URL."""
    return _data_url("image/png", path.read_bytes())


def inline_svg(path: Path, title: str) -> Markup:
    """Read a chart that `happysad.plots` wrote, to be part of an HTML page.

    Args:
        path: The SVG file.
        title: Its text for people who cannot see it.
    """
    # Reports without charts need no Matplotlib.
    from happysad.plots import TIP

    svg = path.read_text("utf-8")
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    svg = re.sub(r' xmlns(:\w+)?="[^"]*"', "", svg).replace("xlink:href", "href")
    svg = svg.replace(f' id="{TIP}', ' data-tip="')
    # Ids such as "axes_1" occur in every chart; nothing refers to them.
    svg = re.sub(r' id="[A-Za-z.\d]+_\d+"', "", svg)
    labelled = Markup('<svg role="img" aria-label="{}"').format(title)
    # Matplotlib escapes the texts that it writes.
    return Markup(svg).replace("<svg", labelled, 1)  # noqa: S704


def _data_url(kind: str, content: bytes) -> Markup:
    # Base64 contains no character that is special in HTML.
    return Markup(f"data:{kind};base64,{base64.b64encode(content).decode()}")  # noqa: S704
