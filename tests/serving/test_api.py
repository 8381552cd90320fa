"""The HTTP API, with correct and incorrect requests."""

import io
import json
import subprocess
import sys
import zlib
from hashlib import sha256
from pathlib import Path

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from running import Server

from happysad.classifier import Classifier

PROBLEM = {"type", "title", "status", "reason", "detail"}


def problem(response: httpx.Response, status: int, reason: str) -> str:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert set(response.json()) == PROBLEM
    assert response.json()["status"] == status and response.json()["reason"] == reason
    assert "Traceback" not in response.text
    return str(response.json()["detail"])


def post(server: Server, content: bytes, kind: str = "image/jpeg") -> httpx.Response:
    return httpx.post(f"{server.url}/v1/predict", content=content, headers={"content-type": kind})


def test_an_image_returns_the_record_of_the_command_line(server: Server, hopper: Path) -> None:
    code = [sys.executable, "-m", "happysad"]
    printed = subprocess.run([*code, "predict", hopper, "--json"], capture_output=True, check=True)
    response = post(server, hopper.read_bytes())
    assert response.status_code == 200
    assert response.json() == json.loads(printed.stdout) | {"path": "-"}


def test_a_form_returns_records_in_order_despite_a_bad_image(server: Server, hopper: Path) -> None:
    # Web frameworks write the largest to disk; this server must not.
    large = io.BytesIO()
    Image.open(hopper).resize((1000, 900)).save(large, "BMP")
    parts = [
        ("party.jpg", hopper.read_bytes()),
        ("notes.txt", b"milk"),
        ("größe.jpg", b""),
        ("large.bmp", large.getvalue()),
    ]
    files = [("files", part) for part in parts]
    records = httpx.post(f"{server.url}/v1/predict", files=files).json()
    assert [record["path"] for record in records] == [name for name, _ in parts]
    assert [record["status"] for record in records] == ["ok", "error", "error", "ok"]
    assert records[0]["faces"][0]["label"] in ("happy", "sad", "uncertain")
    assert records[1]["error"]


@pytest.mark.parametrize("charset", ["undefined", "utf-7", "unicode_escape", "none", '"UTF-16"'])
def test_a_form_s_names_are_utf_8_whatever_its_charset(
    server: Server, hopper: Path, charset: str
) -> None:
    name = "größe +2AA- \\ud800.jpg"
    head = f'--b\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'
    form = head.encode() + hopper.read_bytes() + b"\r\n--b--\r\n"
    for kind in (f"; charset={charset}; boundary=b", f"; boundary=b ;CharSet ={charset}"):
        response = post(server, form, f"multipart/form-data{kind}")
        assert [record["path"] for record in response.json()] == [name]


def test_a_whole_image_can_be_the_face(server: Server, hopper: Path) -> None:
    url = f"{server.url}/v1/predict?crop=whole"
    record = httpx.post(
        url, content=hopper.read_bytes(), headers={"content-type": "image/jpeg"}
    ).json()
    assert record["faces"][0]["box"] == [0, 44, 512, 512]
    response = httpx.post(f"{server.url}/v1/predict?crop=nose", content=b"x")
    assert "crop" in problem(response, 400, "malformed request")


def test_bodies_that_are_not_images_are_refused(server: Server, hopper: Path) -> None:
    problem(post(server, b""), 400, "no image")
    problem(post(server, b"hello", "text/plain"), 415, "unsupported media type")
    problem(post(server, b"hello"), 422, "unreadable image")
    problem(post(server, hopper.read_bytes()[:2000]), 422, "unreadable image")
    form = httpx.post(f"{server.url}/v1/predict", files={"files": ("", b"")})
    assert form.status_code == 400
    broken = post(server, b"nonsense", "multipart/form-data; boundary=x")
    problem(broken, 400, "malformed body")
    problem(post(server, b"x", "multipart/form-data"), 400, "malformed body")


def test_limits_are_enforced(server: Server, hopper: Path) -> None:
    large = problem(post(server, bytes(3_000_001)), 413, "body too large")
    assert "3,000,000 bytes" in large
    undeclared = httpx.post(
        f"{server.url}/v1/predict",
        content=(bytes(100_000) for _ in range(40)),
        headers={"content-type": "image/jpeg"},
    )
    problem(undeclared, 413, "body too large")
    files = [("files", (f"{i}.jpg", hopper.read_bytes())) for i in range(5)]
    many = httpx.post(f"{server.url}/v1/predict", files=files)
    assert "at most 4" in problem(many, 400, "malformed body")
    assert "pixels" in problem(post(server, bomb(), "image/png"), 422, "unreadable image")


def bomb() -> bytes:
    """Two hundred megapixels in a PNG of 200 kB."""
    image = io.BytesIO()
    Image.new("1", (20_000, 10_000)).save(image, "PNG")
    assert len(zlib.compress(image.getvalue())) < 300_000
    return image.getvalue()


def test_unknown_paths_and_methods_are_problems_too(server: Server) -> None:
    problem(httpx.get(f"{server.url}/v2"), 404, "http")
    problem(httpx.get(f"{server.url}/v1/predict"), 405, "http")
    problem(httpx.get(f"{server.url}/../../etc/passwd"), 404, "http")
    problem(httpx.get(f"{server.url}/static/%2e%2e/app.py"), 404, "http")


def test_the_model_is_described(server: Server) -> None:
    model = httpx.get(f"{server.url}/v1/model").json()
    assert model["labels"] == ["sad", "happy"]
    assert model["input_size"] == Classifier().info.input_size
    assert "# happysad" in model["card"]
    assert model["figures"]["accuracy"]["value"] > 0.9
    file = httpx.get(f"{server.url}/model.tflite").content
    assert sha256(file).hexdigest() == model["sha256"]


def test_every_response_is_guarded(server: Server) -> None:
    for path in ("/", "/healthz", "/v1/model", "/nothing", "/static/app.js"):
        headers = httpx.get(server.url + path, headers={"origin": "https://evil.example"}).headers
        assert "default-src 'none'" in headers["content-security-policy"], path
        assert headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in headers
        assert "server" not in headers


def test_metrics_count_without_names(server: Server, hopper: Path) -> None:
    post(server, hopper.read_bytes())
    httpx.post(
        f"{server.url}/v1/predict", files={"files": ("secret-name.jpg", hopper.read_bytes())}
    )
    text = httpx.get(f"{server.url}/metrics").text
    for name in ("request_seconds_bucket", "queue", "images_total", "rejected_total"):
        assert f"happysad_{name}" in text
    for stage in ("wait", "detect", "crop", "classify"):
        assert f'stage="{stage}"' in text
    assert 'happysad_requests_total{path="/v1/predict",status="200"}' in text
    assert "secret" not in text


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    body=st.binary(max_size=300),
    kind=st.sampled_from(["image/png", "multipart/form-data; boundary=b", "text/html", "x"]),
    start=st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"--b\r\n", b"GIF89a"]),
)
def test_random_bytes_get_a_problem_response(
    server: Server, body: bytes, kind: str, start: bytes
) -> None:
    response = post(server, start + body, kind)
    assert response.status_code in (400, 415, 422)
    assert response.headers["content-type"] == "application/problem+json"


def test_it_conforms_to_its_openapi_schema(server: Server, tmp_path: Path) -> None:
    """But for one thing that a schema cannot say: which bytes are an image."""
    command = [str(Path(sys.executable).with_name("st")), "run", f"{server.url}/openapi.json"]
    options = "--max-examples 30 --seed 1 --exclude-checks positive_data_acceptance --no-color"
    done = subprocess.run(
        [*command, *options.split()], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stdout[-3000:]


@pytest.mark.parametrize("path", ["/", "/healthz", "/readyz"])
def test_monitors_may_ask_with_head(server: Server, path: str) -> None:
    response = httpx.head(f"{server.url}{path}")
    assert (response.status_code, response.content) == (200, b"")


def test_text_fields_of_a_form_are_ignored(server: Server, hopper: Path) -> None:
    response = httpx.post(
        f"{server.url}/v1/predict",
        data={"comment": "on holiday"},
        files={"files": ("hopper.jpg", hopper.read_bytes())},
    )
    assert [record["path"] for record in response.json()] == ["hopper.jpg"]


def test_base64_in_json_gets_a_hint(server: Server) -> None:
    response = httpx.post(f"{server.url}/v1/predict", json={"image": "/9j/4AAQ"})
    assert response.status_code == 415
    assert response.json()["detail"].endswith("decode base64 and send the bytes")
