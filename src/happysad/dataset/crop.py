"""Cropping of faces out of photographs, framed as for prediction, to make training data."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from PIL import Image

from happysad.crops import crop_faces
from happysad.dataset.scan import GROUPS_FILE, read_groups
from happysad.dataset.tables import write_table
from happysad.dataset.votes import VOTES_FILE, read_votes
from happysad.errors import DatasetError, ImageError
from happysad.faces import FaceDetector
from happysad.files import atomic_csv, atomic_folder
from happysad.image import open_image
from happysad.progress import track
from happysad.sources import find_images

SKIPPED_FILE: Final = "skipped.csv"
"""File in the output folder: ``path,reason`` of each image without a crop."""

SEVERAL_FILE: Final = "several.csv"
"""File in the output folder: ``path,faces`` of each image with more than one face."""


@dataclass(frozen=True)
class CropResult:
    """The result of cropping. Paths are relative to the source, with forward slashes.

    Attributes:
        crops: Image → its crop.
        several: Image with more than one face → number of faces; the largest was cropped.
        no_face: Images without a face.
        unreadable: Image that cannot be read → reason.
    """

    crops: dict[str, str] = field(default_factory=dict)
    several: dict[str, int] = field(default_factory=dict)
    no_face: list[str] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)


def crop_folder(source: Path, out: Path, size: int) -> CropResult:
    """Crop the largest face of every image in a folder.

    The crops in ``out`` have the paths of the images in ``source``, as PNG files.
    Images without a face and ones that cannot be read are skipped and listed in `SKIPPED_FILE`;
    ones with several faces are listed in `SEVERAL_FILE`. The source's groups.csv and votes.csv are
    carried over. ``out`` is written atomically.

    Args:
        source: The folder, searched recursively; see `find_images`.
        out: The folder to create; it must not exist.
        size: Side of the crops in pixels.

    Raises:
        DatasetError: ``source`` is not a folder, or has no image with a face; or its
            groups.csv or votes.csv cannot be read; or ``out`` exists.
        HappysadError: ``out`` cannot be written.
    """
    if not source.is_dir():
        raise DatasetError(f"{source}: no such folder; give a folder of images")
    if out.exists() or out.is_symlink():
        raise DatasetError(f"{out}: already exists; give a new folder or remove this one")
    found = list(find_images([str(source)], leave_out=out))
    if all(item.problem for item in found):
        raise DatasetError(f"{source}: {found[0].problem}; give a folder of photographs")
    names = [Path(item.path).relative_to(source).as_posix() for item in found]
    # Before the slow part: a wrong row is an error.
    readers = {GROUPS_FILE: read_groups, VOTES_FILE: read_votes}
    tables = {t: read(source, names) for t, read in readers.items() if (source / t).is_file()}
    done, face_detector = CropResult(), FaceDetector()
    with atomic_folder(out) as folder:
        for item, name in zip(track(found, "Cropping"), names, strict=True):
            if item.problem:
                done.unreadable[name] = item.problem
            else:
                _crop(source, folder, name, size, face_detector, done)
        if not done.crops:
            raise DatasetError(
                f"{source}: no face found in {len(done.no_face):,} images, "
                f"{len(done.unreadable):,} could not be read; give a folder of photographs"
            )
        _write_lists(folder, done)
        for table, cells in tables.items():
            rows = [(done.crops[names[i]], c) for i, c in cells.items() if names[i] in done.crops]
            if rows:
                write_table(folder / table, rows)
    return done


def _crop(
    source: Path, folder: Path, name: str, size: int, face_detector: FaceDetector, done: CropResult
) -> None:
    try:
        image = open_image(source / name)
        faces = face_detector.detect(image)
        crops = crop_faces(image, faces[:1], size)
    except ImageError as error:
        done.unreadable[name] = error.reason
        return
    if not faces:
        done.no_face.append(name)
        return
    target = (folder / name).with_suffix(".png")
    while target.exists():
        # a.jpg and a.webp: the second one becomes a-1.png.
        target = target.with_stem(f"{target.stem}-1")
    target.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(crops[0]).save(target)
    done.crops[name] = target.relative_to(folder).as_posix()
    if len(faces) > 1:
        done.several[name] = len(faces)


def _write_lists(folder: Path, done: CropResult) -> None:
    skipped = dict.fromkeys(done.no_face, "no face") | done.unreadable
    atomic_csv(folder / SKIPPED_FILE, ("path", "reason"), sorted(skipped.items()))
    atomic_csv(folder / SEVERAL_FILE, ("path", "faces"), sorted(done.several.items()))
