"""Where the annotated copies of images go."""

import os
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from happysad.errors import HappysadError
from happysad.files import atomic
from happysad.image import SUFFIXES, RgbImage
from happysad.sources import STDIN, is_glob, split_glob


class AnnotatedCopies:
    """Saves copies of images below one folder, or a single copy as one file.

    In the folder each copy has the name of its image and lies where the image lies in the
    deepest folder that all sources share; so no two copies meet, and nothing but earlier copies is
    written over.

    Attributes:
        folder: Where the copies are; None if there is but one, a file.
    """

    def __init__(self, out: Path, sources: Sequence[str]) -> None:
        """Prepare for the copies of images.

        Args:
            out: A folder, made if missing; or for one image a name such as ``annotated.jpg``.
            sources: What `find_images` is to be given.

        Raises:
            HappysadError: ``out`` cannot be written to, or some sources lie in it.
        """
        self._out = out
        self.folder = None if _is_file_name(out) else out
        if self.folder is None:
            if len(sources) > 1 or Path(sources[0]).is_dir() or is_glob(sources[0]):
                raise HappysadError(
                    f"{out}: is the name of one file, and there may be several images; "
                    "give a folder"
                )
            return
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise HappysadError(f"{out}: no such folder can be made ({error.strerror})") from error
        for source in sources:
            if source != STDIN and not is_glob(source) and _real(source).is_relative_to(_real(out)):
                raise HappysadError(
                    f"{source}: lies in {out}, where annotated copies are to go; "
                    "give another folder"
                )
        self._root = os.path.commonpath([_folder_of(source) for source in sources])

    def save(self, path: str, image: RgbImage) -> None:
        """Write the copy of an image.

        Args:
            path: The image.
            image: What to write, ``uint8 [height, width, 3]``, RGB.

        Raises:
            HappysadError: It cannot be written, or would take the place of the image itself.
        """
        target = self._target(path)
        if path != STDIN and _real(path) == _real(target):
            raise HappysadError(
                f"{path}: its annotated copy would be written over it; give another name"
            )
        # A name that says nothing of the format is kept.
        form = None if target.suffix.lower() in SUFFIXES else "PNG"
        with atomic(target) as temporary:
            Image.fromarray(image).save(temporary, form, quality=92)

    def _target(self, path: str) -> Path:
        if self.folder is None:
            return self._out
        if path == STDIN:
            return self._out / "stdin.png"
        place = os.path.relpath(_absolute(path), self._root)
        # A glob may lead out of its fixed part: */../x.
        return self._out.joinpath(*(part for part in Path(place).parts if part != os.pardir))


def _is_file_name(out: Path) -> bool:
    return out.suffix.lower() in SUFFIXES and not out.is_dir()


def _folder_of(source: str) -> str:
    """Name the folder that holds all that a source stands for."""
    if source == STDIN:
        return _absolute(os.curdir)
    if is_glob(source):
        return _absolute(split_glob(source)[0])
    return _absolute(source if Path(source).is_dir() else Path(source).parent)


def _absolute(path: str | Path) -> str:
    # Symbolic links stay as they are named; only .. goes.
    return os.path.normpath(Path(path).absolute())


def _real(path: str | Path) -> Path:
    return Path(os.path.realpath(path))
