"""The seeds of the fuzzing: small valid files of every kind that happysad reads."""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageCms

from happysad.dataset.synthetic import draw_face
from happysad.released import FOLDER, MODEL


def images() -> list[bytes]:
    """Draw one face and store it in every image format."""
    face = Image.fromarray(draw_face(1, np.random.default_rng(0), 48))
    grey = np.asarray(face.convert("L"))
    glassy = face.convert("RGBA")
    glassy.putalpha(128)
    exif = Image.Exif()
    exif[0x0112] = 6
    exif.get_ifd(0x8769)[0x9286] = "a comment"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    # Pillow keeps a JPEG's settings in the image and fails on them: each file gets a new image.
    made: list[tuple[Image.Image, str, dict[str, Any]]] = [
        (face, "JPEG", {"exif": exif, "icc_profile": profile}),
        (face, "JPEG", {"progressive": True, "quality": 40}),
        (face.convert("L"), "JPEG", {}),
        (face.convert("CMYK"), "JPEG", {}),
        (face, "MPO", {"save_all": True, "append_images": [face.rotate(90), face.rotate(180)]}),
        (face, "PNG", {"exif": exif, "icc_profile": profile}),
        (glassy, "PNG", {}),
        (face.quantize(16), "PNG", {"transparency": 3}),
        (face.convert("1"), "PNG", {}),
        (Image.fromarray(grey.astype(np.uint16) * 256), "PNG", {}),
        (face, "PNG", {"save_all": True, "append_images": [face.rotate(90), face.rotate(180)]}),
        (face, "WEBP", {"exif": exif, "icc_profile": profile}),
        (glassy, "WEBP", {"lossless": True}),
        (face, "WEBP", {"save_all": True, "append_images": [face.rotate(90), face.rotate(180)]}),
        (face, "BMP", {}),
        (face.quantize(16), "BMP", {}),
        (face.quantize(16), "GIF", {"transparency": 3}),
        (
            face,
            "GIF",
            {"save_all": True, "append_images": [face.rotate(90), face.rotate(180)], "loop": 0},
        ),
        (face, "TIFF", {"exif": exif, "icc_profile": profile}),
        (face, "TIFF", {"compression": "tiff_lzw"}),
        (face, "TIFF", {"compression": "jpeg"}),
        (face.convert("1"), "TIFF", {"compression": "group4"}),
        (face.convert("LAB"), "TIFF", {"compression": "tiff_adobe_deflate"}),
        (Image.fromarray(grey.astype(np.float32)), "TIFF", {"tiffinfo": {322: 16, 323: 16}}),
        (face, "TIFF", {"save_all": True, "append_images": [face.rotate(90), face.rotate(180)]}),
    ]
    return [_encoded(*one) for one in made]


def _encoded(picture: Image.Image, form: str, options: dict[str, Any]) -> bytes:
    file = io.BytesIO()
    picture.copy().save(file, form, **options)
    return file.getvalue()


def models() -> list[bytes]:
    """Give the end of the released model's file, where its metadata are, and its beginning."""
    content = (FOLDER / MODEL).read_bytes()
    return [content[:4096], content[-8192:]]


def recipes() -> list[bytes]:
    """Write every packaged recipe with all its values."""
    from happysad.training.recipe import PACKAGED, read_recipe, recipe_toml

    return [recipe_toml(read_recipe(name)).encode() for name in PACKAGED]


def tables() -> list[bytes]:
    """Write sources of datasets: each kind of CSV, and Parquet."""
    face = draw_face(1, np.random.default_rng(0), 8)[..., 0]
    fer = [("emotion", "pixels", "Usage")]
    fer += [(str(code), " ".join(map(str, face.ravel())), "Training") for code in (3, 4, 0)]
    paths = [("path", "label", "group", "split")]
    paths += [(f"{name}.png", name, "anna", "train") for name in ("happy", "sad")]
    return [_csv(fer), _csv(paths), *_parquet()]


def _csv(rows: Sequence[tuple[str, ...]]) -> bytes:
    file = io.StringIO(newline="")
    csv.writer(file).writerows(rows)
    return file.getvalue().encode()


def _parquet() -> Iterator[bytes]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    image = {"bytes": images()[5], "path": "a.png"}
    names = {"label": {"names": ["sad", "happy"], "_type": "ClassLabel"}}
    described = json.dumps({"info": {"features": names}})
    table = pa.table({"image": [image] * 3, "label": [0, 1, 1]})
    for codec in ("snappy", "zstd"):
        sink = io.BytesIO()
        pq.write_table(
            table.replace_schema_metadata({"huggingface": described}), sink, compression=codec
        )
        yield sink.getvalue()


def groups() -> list[bytes]:
    """Write a dataset's groups.csv."""
    return [_csv([("path", "group"), ("happy/a.png", "anna"), ("sad/b.png", "")])]


def bodies() -> list[bytes]:
    """Write requests' bodies: an image, and forms of several; the boundary is ``frontier``."""
    some = [content for content in images() if len(content) < 6000][::4]
    parts = [
        b"--frontier\r\nContent-Disposition: form-data; name=files; filename=%d.jpg\r\n"
        b"Content-Type: image/jpeg\r\n\r\n%s\r\n" % (i, content)
        for i, content in enumerate(some)
    ]
    return [*some, *(b"".join(parts[:n]) + b"--frontier--\r\n" for n in (1, 2, 4))]
