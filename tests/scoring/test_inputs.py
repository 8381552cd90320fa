"""Expansion of sources to images; skipped files are reported."""

import gzip
import io
import tarfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from matplotlib import cbook
from PIL import Image

from happysad.errors import HappysadError, ImageError, StoreError
from happysad.scoring.inputs import Input, chunks
from happysad.scoring.job import read_job
from happysad.scoring.reading import ImageFile, read_images
from happysad.scoring.sources import find_inputs
from happysad.scoring.storage import read_image_file
from happysad.scoring.tables import resolve


@pytest.fixture(scope="module")
def jpeg() -> bytes:
    buffer = io.BytesIO()
    with Image.open(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)) as image:
        image.convert("RGB").resize((64, 75)).save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.fixture
def refusing_store(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An object store that answers every request with the status that the bucket's name begins."""

    class Refusal(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(int(self.path[1:4]))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Refusal)
    Thread(target=server.serve_forever).start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    yield
    server.shutdown()
    server.server_close()


def uris(source: Path | str, column: str | None = None) -> list[str]:
    return [item.problem or item.uri for item in find_inputs(str(source), column)]


def add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


def test_files_of_a_folder_that_are_not_images_are_reported(jpeg: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg)
    (tmp_path / "no suffix").write_bytes(jpeg)
    (tmp_path / "notes.txt").write_text("text")
    (tmp_path / "more.tar").touch()
    skipped: list[str] = []

    found = [item.uri for item in find_inputs(str(tmp_path), None, on_skip=skipped.append)]

    assert found == [f"{tmp_path}/a.jpg", f"{tmp_path}/no suffix"]
    assert skipped == [f"{tmp_path}/more.tar", f"{tmp_path}/notes.txt"]


def test_objects_that_are_not_images_are_reported(bucket: object, jpeg: bytes) -> None:
    for name in ("1.jpg", "1.json", ".hidden.jpg"):
        bucket.put_object(Key=f"mixed/{name}", Body=jpeg)  # type: ignore[attr-defined]
    skipped: list[str] = []

    found = list(find_inputs("s3://images/mixed", None, on_skip=skipped.append))

    assert found == [Input("s3://images/mixed/1.jpg")]
    assert skipped == ["s3://images/mixed/1.json"]


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".tgz", ".tar.xz"])
def test_members_of_a_tar_are_images_by_content_and_others_are_reported(
    jpeg: bytes, tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"shard{suffix}"
    compression = {".tar": "", ".tar.xz": "xz"}.get(suffix, "gz")
    with tarfile.open(path, f"w:{compression}") as archive:  # type: ignore[call-overload]
        add(archive, "1.jpg", jpeg)
        add(archive, "1.cls", b"7")
        add(archive, "2", jpeg)
        add(archive, "inner.tar", b"\0" * 10240)
        add(archive, "3.png", b"damaged")
        link = tarfile.TarInfo("4.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "1.jpg"
        archive.addfile(link)

    (shard,) = find_inputs(f"{tmp_path}/*", None)
    images = list(read_images([shard]))

    assert [image.uri for image in images if not image.skipped] == [
        f"{path}#{name}" for name in ("1.jpg", "2", "3.png")
    ]
    assert [image.content for image in images if not image.skipped] == [jpeg, jpeg, b"damaged"]
    assert [image.uri for image in images if image.skipped] == [
        f"{path}#{name}" for name in ("1.cls", "inner.tar", "4.jpg")
    ]


def test_a_tar_without_images_is_a_problem(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        add(archive, "readme.txt", b"text")
    images = list(read_images([Input(f"{tmp_path}/a.tar", "tar")]))
    assert images[-1] == ImageFile(f"{tmp_path}/a.tar", problem="no images in this tar")


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz"])
@pytest.mark.parametrize("damage", ["between members", "in a header", "to a header"])
def test_a_tar_that_ends_early_is_a_problem_after_its_images(
    jpeg: bytes, tmp_path: Path, damage: str, suffix: str
) -> None:
    path = tmp_path / f"a{suffix}"
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w") as archive:
        add(archive, "1.jpg", jpeg)
        second = archive.offset
        add(archive, "2.jpg", jpeg)
    content = whole.getvalue()
    if damage == "to a header":
        content = content[:second] + b"damaged" + content[second + 7 :]
    else:
        content = content[: second + 100 * (damage == "in a header")]
    path.write_bytes(gzip.compress(content) if suffix == ".tar.gz" else content)

    first, last = read_images([Input(f"{path}", "tar")])

    assert first == ImageFile(f"{path}#1.jpg", jpeg)
    assert last.uri == f"{path}" and "cannot be read further (incomplete" in last.problem


def test_credentials_that_expire_are_no_fault_of_an_image(refusing_store: None) -> None:
    # S3 answers so to an expired token.
    with pytest.raises(StoreError, match="check the network, the bucket and the credentials"):
        list(read_images([Input("s3://400-expired/a.jpg")]))
    with pytest.raises(ImageError, match="the key is longer than 1024 bytes"):
        read_image_file(f"s3://400-expired/{'x' * 1025}")


def test_a_job_that_may_not_be_read_is_named(refusing_store: None) -> None:
    with pytest.raises(HappysadError, match=r"s3://403-denied/out/_job\.json: cannot be read"):
        read_job("s3://403-denied/out")


def test_lists_may_come_from_windows_and_from_spreadsheets(jpeg: bytes, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("sub/a.jpg", "sub/é.jpg", "back\\slash.jpg"):  # composed é
        (tmp_path / name).write_bytes(jpeg)
    rows = ["sub\\a.jpg", " sub/a.jpg ", "sub/e\u0301.jpg", "back\\slash.jpg", ""]
    text = "\r\n".join(["note,path", *(f"{'x' * 200_000},{row}" for row in rows)])
    (tmp_path / "list.csv").write_bytes(b"\xef\xbb\xbf" + text.encode())

    assert uris(tmp_path / "list.csv") == [
        f"{tmp_path}/sub/a.jpg",
        f"{tmp_path}/sub/a.jpg",
        f"{tmp_path}/sub/é.jpg",
        f"{tmp_path}/back\\slash.jpg",
        "line 6 has no path",
    ]


@pytest.mark.parametrize(
    ("table", "path", "expected"),
    [
        (r"C:\data\list.csv", "a.jpg", r"C:\data\a.jpg"),
        (r"C:\data\list.csv", r"sub\a.jpg", r"C:\data\sub\a.jpg"),
        (r"C:\data\list.csv", "D:/a.jpg", "D:/a.jpg"),
        (r"C:\data\list.csv", r"\\server\share\a.jpg", r"\\server\share\a.jpg"),
        ("s3://bucket/lists/a.csv", r"sub\a.jpg", "s3://bucket/lists/sub/a.jpg"),
        ("s3://bucket/lists/a.csv", "gs://other/a.jpg", "gs://other/a.jpg"),
        ("/data/list.csv", "../a.jpg", "/data/../a.jpg"),
        ("/data/list.csv", "x" * 5000 + "é.jpg", f"/data/{'x' * 5000}é.jpg"),
    ],
)
def test_paths_in_a_list_are_relative_to_it(table: str, path: str, expected: str) -> None:
    assert resolve(table, path) == expected


def test_a_parquet_list_may_be_categorical_and_a_wrong_column_is_named(tmp_path: Path) -> None:
    paths = pa.array(["/a.jpg", None, "/a.jpg"]).dictionary_encode()
    pq.write_table(pa.table({"path": paths, "age": [1, 2, 3]}), tmp_path / "list.parquet")

    assert uris(tmp_path / "list.parquet") == ["/a.jpg", "row 1 has no path", "/a.jpg"]
    (problem,) = uris(tmp_path / "list.parquet", column="age")
    assert "no column 'age' with images or their URIs" in problem
    assert "path (dictionary" in problem and "age (int64)" in problem


def test_parquet_files_may_hold_views(jpeg: bytes, tmp_path: Path) -> None:
    images = pa.table(
        {
            "image": pa.array([jpeg], pa.binary_view()),
            "sha256": pa.array([bytes(32)], pa.binary(32)),
        }
    )
    pq.write_table(images, tmp_path / "images.parquet")
    pq.write_table(
        pa.table({"uri": pa.array(["/a.jpg"], pa.string_view())}), tmp_path / "list.parquet"
    )

    (item,) = find_inputs(f"{tmp_path}/images.parquet", None)
    assert [image.content for image in read_images([item])] == [jpeg]
    assert uris(tmp_path / "list.parquet") == ["/a.jpg"]


def test_chunks_hold_all_inputs_in_order_and_tars_are_alone() -> None:
    inputs = [Input("1"), Input("2"), Input("t", "tar", images=0), Input("3"), Input("4")]
    assert [[item.uri for item in chunk] for chunk in chunks(inputs, 2)] == [
        ["1", "2"],
        ["t"],
        ["3", "4"],
    ]
