"""Annotated copies of images: where they go, and how they are written."""

import hashlib
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from PIL import Image

from happysad.annotate import COPY_MARK
from happysad.download import is_url
from happysad.errors import HappysadError
from happysad.files import atomic, convert_os_errors
from happysad.image import RgbImage
from happysad.image_formats import IMAGE_SUFFIXES
from happysad.sources import STDIN, is_folder, is_glob, split_glob

# BMP has no place for the mark that tells copies from photographs.
_WRITABLE: Final = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".tif", ".tiff"}
)
# The EXIF tag that holds the mark; in a GIF it is the comment.
_SOFTWARE: Final = 0x0131
# Windows allows these in no name; the backslash separates folders there.
_FORBIDDEN: Final = re.compile(r'[\0-\x1f<>:"|?*\\]')


class AnnotatedCopies:
    """Saves copies of images below one folder, or a single copy as one file.

    In the folder, each copy has the path of its image relative to the deepest folder that all
    sources share, so copies do not collide. Where the name has no suffix of a format that Pillow
    writes, as for HEIC, ``.png`` is appended. Only earlier copies are overwritten.

    Attributes:
        folder: Where the copies are; None for a single file.
    """

    def __init__(self, out: Path, sources: Sequence[str]) -> None:
        """Check the output and create its folder.

        Args:
            out: A folder, created if missing; or, for one image, a name such as
                ``annotated.jpg``.
            sources: The sources as given to `find_images`.

        Raises:
            HappysadError: ``out`` cannot be created, or a source is inside it.
        """
        self._out = out
        self.folder = None if _names_an_image_file(out) else out
        if self.folder is None:
            if out.suffix.lower() not in _WRITABLE:
                raise HappysadError(f"{out}: copies are not written as {out.suffix}; give .jpg")
            if len(sources) > 1 or is_folder(sources[0]) or is_glob(sources[0]):
                raise HappysadError(
                    f"{out}: names one file, but the sources may hold several images; give a folder"
                )
            return
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise HappysadError(f"{out}: cannot be created ({error.strerror})") from error
        sources = [source for source in sources if not is_url(source)]
        for source in sources:
            if source != STDIN and not is_glob(source) and _real(source).is_relative_to(_real(out)):
                raise HappysadError(
                    f"{source}: is inside the output folder {out}; give another output folder"
                )
        try:
            self._root = os.path.commonpath([_folder_of(source) for source in sources or [STDIN]])
        except ValueError as error:
            raise HappysadError(
                f"{out}: the sources are on several drives; run the command once for each drive"
            ) from error

    def save(self, path: str, image: RgbImage) -> None:
        """Write the copy of an image.

        Args:
            path: The image.
            image: The annotated image, ``uint8 [height, width, 3]``, RGB.

        Raises:
            HappysadError: It cannot be written, or would overwrite the image itself.
        """
        target = self._target(path)
        if path != STDIN and not is_url(path) and _real(path) == _real(target):
            raise HappysadError(f"{path}: its annotated copy would overwrite it; give another name")
        with convert_os_errors(target):
            may_be_replaced = _may_be_replaced(target)
        if not may_be_replaced:
            raise HappysadError(
                f"{target}: exists and is not an annotated copy; give another name or folder"
            )
        mark = Image.Exif()
        mark[_SOFTWARE] = COPY_MARK
        with atomic(target) as temporary:
            try:
                Image.fromarray(image).save(temporary, quality=92, exif=mark, comment=COPY_MARK)
            # Formats have limits: a WebP image has at most 16,383 pixels a side.
            except ValueError as error:
                raise HappysadError(f"{target}: cannot be written ({error})") from error

    def _target(self, path: str) -> Path:
        if self.folder is None:
            return self._out
        if path == STDIN:
            return self._out / "stdin.png"
        if is_url(path):
            url = urlsplit(path)
            host = url.netloc.rpartition("@")[2].lower()
            # Windows also ignores dots and spaces at the end of a name.
            parts = (
                _FORBIDDEN.sub("_", part).rstrip(". ")
                for part in (url.hostname or "", *url.path.split("/"))
            )
            name = self._out.joinpath(*filter(None, parts))
            # Not equal with a port.
            if url.query or host != url.hostname:
                distinct = f"{host}?{url.query}".encode("utf-8", "surrogateescape")
                digest = hashlib.sha256(distinct).hexdigest()
                name = name.with_name(f"{name.stem}-{digest[:8]}{name.suffix}")
            return _writable(name, ".jpg")
        place = os.path.relpath(_absolute(path), self._root)
        # A glob pattern may lead out of its fixed part: */../x.
        name = self._out.joinpath(*(part for part in Path(place).parts if part != os.pardir))
        copy = _writable(name, ".png")
        # 1.bmp beside 1.bmp.png
        while copy != name and os.path.lexists(Path(path).with_name(copy.name)):
            copy = copy.with_name(f"{copy.name}.png")
        return copy


def _names_an_image_file(out: Path) -> bool:
    return out.suffix.lower() in IMAGE_SUFFIXES and not is_folder(out)


def _writable(name: Path, suffix: str) -> Path:
    """Append a suffix to a name whose own is not that of a writable format."""
    return name if name.suffix.lower() in _WRITABLE else name.with_name(name.name + suffix)


def _may_be_replaced(path: Path) -> bool:
    """Return whether there is no file, or an annotated copy, which may be replaced."""
    if not path.is_file():
        return True
    try:
        with Image.open(path) as image:
            marks = (image.getexif().get(_SOFTWARE), image.info.get("comment", b""))
    # Damaged files make Pillow raise nearly anything.
    except Exception:
        return False
    return COPY_MARK in marks or COPY_MARK.encode() in marks


def _folder_of(source: str) -> str:
    """Return the folder that contains all images of a source."""
    if source == STDIN:
        return _absolute(os.curdir)
    if is_glob(source):
        return _absolute(split_glob(source)[0])
    return _absolute(source if is_folder(source) else Path(source).parent)


def _absolute(path: str | Path) -> str:
    # Resolves .. but not symbolic links.
    return os.path.normpath(Path(path).absolute())


def _real(path: str | Path) -> Path:
    return Path(os.path.realpath(path))
