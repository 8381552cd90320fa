"""The server under load, attacks and signals."""

import io
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict
from http.client import HTTPConnection
from inspect import signature
from pathlib import Path

import httpx
import pytest
from PIL import Image
from running import Server, free_port, serving

from happysad.cli.serve import _parse_origin, serve, share_of_cpus
from happysad.cores import cores
from happysad.released import FOLDER, MODEL
from happysad.serving.settings import Settings


def predict(server: Server, picture: bytes) -> httpx.Response:
    return httpx.post(
        f"{server.url}/v1/predict",
        content=picture,
        headers={"content-type": "image/jpeg"},
        timeout=60,
    )


def test_excess_requests_are_rejected_and_all_others_answered(hopper: Path) -> None:
    image = hopper.read_bytes()
    with serving("--threads", "1", "--queue", "2") as server:
        with ThreadPoolExecutor(16) as clients:
            responses = list(clients.map(lambda _: predict(server, image), range(64)))
        statuses = Counter(response.status_code for response in responses)
        assert set(statuses) == {200, 503}, statuses
        sent_away = [response for response in responses if response.status_code == 503]
        assert all(response.headers["retry-after"] == "1" for response in sent_away)
        assert all(response.json()["reason"] == "busy" for response in sent_away)
        assert predict(server, image).status_code == 200, "afterwards all is as before"
        assert "happysad_queue 0.0" in httpx.get(f"{server.url}/metrics").text


def test_memory_for_bodies_has_an_end(hopper: Path) -> None:
    with serving("--max-buffer", "100000", "--timeout", "3") as server:
        start = f"POST /v1/predict HTTP/1.1\r\nHost: {server.url}\r\nContent-Type: image/png\r\n"
        with socket.create_connection(("127.0.0.1", server.port)) as hog:
            hog.sendall(f"{start}Content-Length: 99999\r\n\r\n".encode() + bytes(99_000))
            time.sleep(0.5)
            response = predict(server, hopper.read_bytes())
            assert response.status_code == 503 and response.json()["reason"] == "busy"
        time.sleep(0.5)
        assert predict(server, hopper.read_bytes()).status_code == 200


def test_an_idle_server_accepts_more_images_than_may_wait(hopper: Path) -> None:
    with serving("--threads", "1", "--queue", "0") as server:
        files = [("files", (f"{i}.jpg", hopper.read_bytes())) for i in range(5)]
        response = httpx.post(f"{server.url}/v1/predict", files=files, timeout=60)
        assert [record["status"] for record in response.json()] == ["ok"] * 5


def test_formats_can_be_limited(hopper: Path) -> None:
    with serving("--formats", "jpeg, png") as server:
        assert predict(server, hopper.read_bytes()).status_code == 200
        for kind in ("AVIF", "WEBP", "TIFF"):
            file = io.BytesIO()
            Image.open(hopper).resize((64, 64)).save(file, kind)
            response = predict(server, file.getvalue())
            assert response.status_code == 422
            assert "not JPEG or PNG; convert it to JPEG" in response.json()["detail"]
    command = [sys.executable, "-m", "happysad", "serve", "--formats", "jpeg,svg"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: --formats jpeg,svg: no such format: 'SVG'; known: jpeg,")


def test_slow_clients_do_not_block_others(server: Server, hopper: Path) -> None:
    """The server's limits: ten seconds for the head, five for the whole request."""
    slow_head = socket.create_connection(("127.0.0.1", server.port))
    slow_body = socket.create_connection(("127.0.0.1", server.port))
    idle = socket.create_connection(("127.0.0.1", server.port))
    half = socket.create_connection(("127.0.0.1", server.port))
    slow_head.sendall(b"POST /v1/predict HTTP/1.1\r\nX-Slow: ")
    slow_body.sendall(
        b"POST /v1/predict HTTP/1.1\r\nHost: a\r\nContent-Type: image/png\r\n"
        b"Content-Length: 1000\r\n\r\nsome"
    )
    half.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
    half.shutdown(socket.SHUT_WR)
    for _ in range(5):
        assert predict(server, hopper.read_bytes()).status_code == 200
    assert b" 408 " in answer(slow_body)
    assert answer(slow_head) == b"" and answer(idle) == b"", "closed without a word"
    half.close()


def test_a_prediction_that_takes_too_long_is_the_servers_problem() -> None:
    file = io.BytesIO()
    Image.new("RGB", (5000, 5000)).save(file, "PNG")
    with serving("--threads", "1", "--timeout", "1", "--max-images", "40") as server:
        files = [("files", (f"{i}.png", file.getvalue())) for i in range(40)]
        response = httpx.post(f"{server.url}/v1/predict", files=files, timeout=60)
    assert response.status_code == 503
    assert response.headers["Retry-After"] == "1"
    assert response.json()["reason"] == "busy" and "within 1 second" in response.json()["detail"]


def answer(connection: socket.socket) -> bytes:
    """Receive until the server closes."""
    connection.settimeout(30)
    with connection:
        received = b""
        while chunk := connection.recv(4096):
            received += chunk
    return received


@pytest.mark.parametrize(
    ("head", "more"),
    [
        (b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n", b"\r\n"),
        (b"POST /nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n", b"x"),
    ],
    ids=["empty line", "body"],
)
def test_idle_connections_are_closed(head: bytes, more: bytes) -> None:
    """Also those on which something came that is no request."""
    with serving("--idle", "1") as server:
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(head)
            time.sleep(0.3)
            connection.sendall(more)
            assert answer(connection).startswith(b"HTTP/1.1 ")
        used = HTTPConnection("127.0.0.1", server.port)
        for _ in range(4):
            used.request("GET", "/healthz")
            assert used.getresponse().read() == b"alive\n"
            time.sleep(0.5)
        used.close()


def test_headers_have_a_limit(server: Server, hopper: Path) -> None:
    get, long = b"GET /healthz HTTP/1.1\r\nHost: a\r\n", 100_000 * b"a"
    post = (
        b"POST /v1/predict HTTP/1.1\r\nHost: a\r\nContent-Type: image/jpeg\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n"
    )
    for request in (
        get + b"Cookie: " + long + b"\r\n\r\n",
        get + 20_000 * b"A: b\r\n" + b"\r\n",
        b"GET /" + long + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        post + b"Trailer: " + long + b"\r\n\r\n",
    ):
        with (
            suppress(ConnectionError),  # Closed while it was being sent.
            socket.create_connection(("127.0.0.1", server.port)) as connection,
        ):
            connection.sendall(request)
            assert answer(connection) == b""
    assert httpx.get(f"{server.url}/healthz", headers={"cookie": 50_000 * "a"}).status_code == 200
    large = predict(server, hopper.read_bytes() + bytes(2_000_000))
    assert large.status_code == 200


def test_clients_that_offer_http_2_or_websockets_are_answered(hopper: Path) -> None:
    """As curl --http2 and Java's client do."""
    image = hopper.read_bytes()
    head = b"POST /v1/predict HTTP/1.1\r\nHost: a\r\nContent-Type: image/jpeg\r\n"
    http2 = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAM\r\n"
    sized = b"Content-Length: %d\r\n\r\n%b" % (len(image), image)
    chunked = b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(image), image)
    last = (
        b"GET /healthz HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade, close\r\n"
    )
    with serving() as server:
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(head + http2 + sized + head + http2 + chunked + last + b"\r\n")
            received = answer(connection)
        _, log = server.stop()
    assert received.count(b"HTTP/1.1 200 OK") == 3
    assert received.count(b'"status":"ok"') == 2 and received.endswith(b"alive\n")
    assert log.count("\n") == 1


def test_keys_are_required(hopper: Path, tmp_path: Path) -> None:
    (tmp_path / "keys.txt").write_text("# ours\nopen-sesame\nsecond\n")
    with serving("--api-keys", tmp_path / "keys.txt") as server:
        for headers in ({}, {"x-api-key": "wrong"}, {"authorization": "Bearer # ours"}):
            response = httpx.get(f"{server.url}/v1/model", headers=headers)
            assert response.status_code == 401
            assert response.headers["www-authenticate"] == "Bearer"
        assert predict(server, hopper.read_bytes()).status_code == 401
        for headers in ({"x-api-key": "second"}, {"authorization": "bearer open-sesame"}):
            assert httpx.get(f"{server.url}/v1/model", headers=headers).status_code == 200
        assert httpx.get(f"{server.url}/healthz").status_code == 200


def test_a_key_file_of_windows_is_read(tmp_path: Path) -> None:
    keys = tmp_path / "keys.txt"
    keys.write_bytes("first\r\nsecond\r\n".encode("utf-8-sig"))
    with serving("--api-keys", keys) as server:
        for key in ("first", "second"):
            headers = {"x-api-key": key}
            assert httpx.get(f"{server.url}/v1/model", headers=headers).status_code == 200
        odd = {b"x-api-key": "schl\u00fcssel".encode()}
        assert httpx.get(f"{server.url}/v1/model", headers=odd).status_code == 401


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("first\n".encode("utf-16"), "is not UTF-8 text; save it as UTF-8"),
        ("first\n".encode("utf-16-le"), "the key in line 1 has characters outside printable ASCII"),
        ("# ours\nschl\u00fcssel\n".encode(), "the key in line 2 has characters outside"),
        (b"# none\n", "contains no key"),
    ],
)
def test_keys_that_cannot_fit_are_refused(content: bytes, message: str, tmp_path: Path) -> None:
    keys = tmp_path / "keys.txt"
    keys.write_bytes(content)
    command = [sys.executable, "-m", "happysad", "serve", "--api-keys", str(keys)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert f"error: {keys}: {message}" in done.stderr


def test_an_internal_error_is_a_problem_with_all_headers(tmp_path: Path) -> None:
    """The model's file is removed after the start, so it can no longer be downloaded."""
    model = tmp_path / "model.tflite"
    shutil.copy(FOLDER / MODEL, model)
    with serving("--model", model, "--cors", "https://friend.example") as server:
        model.unlink()
        origin = {"origin": "https://friend.example"}
        response = httpx.get(f"{server.url}/model.tflite", headers=origin)
        assert response.status_code == 500
        assert response.headers["content-type"] == "application/problem+json"
        assert response.json()["reason"] == "server error"
        assert "default-src 'none'" in response.headers["content-security-policy"]
        assert response.headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" in response.headers
        assert httpx.get(f"{server.url}/healthz").status_code == 200
        _, log = server.stop()
    assert "model.tflite" in log


@pytest.mark.parametrize("origin", ["https://friend.example", "https://Friend.example/"])
def test_other_sites_may_ask_where_that_is_allowed(origin: str) -> None:
    with serving("--cors", origin) as server:
        for asking, allowed in (("https://friend.example", True), ("https://evil.example", False)):
            headers = httpx.get(f"{server.url}/healthz", headers={"origin": asking}).headers
            assert ("access-control-allow-origin" in headers) == allowed


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("https://friend.example:443", "https://friend.example"),
        ("http://Friend.example:80/", "http://friend.example"),
        ("http://friend.example:443", "http://friend.example:443"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        ("*", "*"),
    ],
)
def test_an_origin_is_compared_as_browsers_send_it(given: str, sent: str) -> None:
    assert _parse_origin(given) == sent


@pytest.mark.parametrize(
    "origin",
    [
        *("friend.example", "ftp", "https://friend.example/page", "https://friend.example?a"),
        *("https://friend.example#a", "https://caf\u00e9.example", "https://me@friend.example"),
    ],
)
def test_what_is_no_origin_ends_the_start_with_one_line(origin: str) -> None:
    command = [sys.executable, "-m", "happysad", "serve", "--cors", origin]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: --cors {origin}: not an origin; give scheme and host")


def test_a_browser_on_an_allowed_site_may_post_with_a_key() -> None:
    with serving("--cors", "https://friend.example") as server:
        for origin, status in (("https://friend.example", 200), ("https://evil.example", 400)):
            preflight = httpx.options(
                f"{server.url}/v1/predict",
                headers={
                    "origin": origin,
                    "access-control-request-method": "POST",
                    "access-control-request-headers": "content-type,x-api-key",
                },
            )
            assert preflight.status_code == status, preflight.text


@pytest.mark.parametrize("workers", [1, 2])
def test_an_order_to_end_loses_no_request(workers: int, hopper: Path) -> None:
    image = hopper.read_bytes()
    statuses: Counter[int] = Counter()
    lost = []
    with serving("--workers", str(workers), "--queue", "100") as server:

        def ask() -> None:
            for _ in range(30):
                try:
                    statuses[predict(server, image).status_code] += 1
                except (httpx.ConnectError, httpx.ReadError):
                    return  # New connections are refused or reset by the kernel.
                except httpx.TransportError as error:
                    lost.append(error)

        clients = [threading.Thread(target=ask) for _ in range(4)]
        for client in clients:
            client.start()
        time.sleep(1)
        status, printed = server.stop()
        for client in clients:
            client.join()
    assert status == 0, printed
    assert "Traceback" not in printed
    assert set(statuses) == {200} and not lost


def test_a_short_time_limit_lets_requests_in_flight_end() -> None:
    with serving("--timeout", "0.9") as server:
        connection = socket.create_connection(("127.0.0.1", server.port))
        connection.sendall(
            b"POST /v1/predict HTTP/1.1\r\nHost: a\r\nContent-Type: image/png\r\n"
            b"Content-Length: 8\r\n\r\nsome"
        )
        time.sleep(0.1)
        server.process.terminate()
        time.sleep(0.6)
        connection.sendall(b"more")
        status = answer(connection).split(b" ")[1]
        _, printed = server.stop()
    # Not an image; on a slow machine, the time limit.
    assert status in (b"422", b"408", b"503"), printed


def test_workers_add_up_their_figures(hopper: Path) -> None:
    with serving("--workers", "2", "--threads", "1") as server:
        with ThreadPoolExecutor(4) as clients:
            list(clients.map(lambda _: predict(server, hopper.read_bytes()), range(20)))
        text = httpx.get(f"{server.url}/metrics").text
        assert 'happysad_images_total{status="ok"} 20.0' in text


@pytest.mark.skipif(sys.platform != "linux", reason="finds the worker in /proc")
def test_a_worker_that_is_killed_leaves_no_images_in_the_queue() -> None:
    file = io.BytesIO()
    Image.new("RGB", (5000, 5000)).save(file, "PNG")
    files = [("files", (f"{i}.png", file.getvalue())) for i in range(16)]
    with serving("--workers", "2", "--threads", "1") as server:

        def queue() -> float:
            text = httpx.get(f"{server.url}/metrics").text
            return float(text.partition("\nhappysad_queue ")[2].splitlines()[0])

        def send() -> None:
            with suppress(httpx.TransportError):
                httpx.post(f"{server.url}/v1/predict", files=files, timeout=60)

        client = threading.Thread(target=send)
        client.start()
        deadline = time.monotonic() + 30
        while not queue():
            assert time.monotonic() < deadline
        children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children")
        for pid in map(int, children.read_text().split()):
            if "spawn_main" in Path(f"/proc/{pid}/cmdline").read_text():
                os.kill(pid, signal.SIGKILL)
        client.join()
        while True:
            with suppress(httpx.TransportError):
                if not queue():
                    break
            assert time.monotonic() < deadline + 30, "images of a process that is gone"
            time.sleep(0.1)


def test_workers_end_when_their_parent_is_killed() -> None:
    with serving("--workers", "2") as server:
        server.process.kill()
        server.process.wait()
        deadline = time.monotonic() + 30
        while True:
            try:
                httpx.get(f"{server.url}/healthz")
            except httpx.TransportError:
                break
            assert time.monotonic() < deadline, "a worker still answers"
            time.sleep(0.1)


def test_a_missing_model_ends_the_start_with_one_line(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError) as failed, serving("--model", tmp_path / "none.tflite"):
        pass
    assert "none.tflite" in str(failed.value) and "Traceback" not in str(failed.value)


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("folder", ["", "@litertjs/core"])
def test_a_runtime_that_is_none_ends_the_start_with_one_line(
    workers: str, folder: str, tmp_path: Path
) -> None:
    """Also the folder of the package itself, which is one too deep."""
    (tmp_path / "@litertjs" / "core" / "dist").mkdir(parents=True)
    (tmp_path / "@litertjs" / "core" / "dist" / "index.js").touch()
    options = ("--workers", workers, "--runtime", tmp_path / folder)
    with pytest.raises(RuntimeError) as failed, serving(*options):
        pass
    assert "contains no core/dist/index.js" in str(failed.value)
    assert "node_modules/@litertjs" in str(failed.value) and "Traceback" not in str(failed.value)


def test_workers_share_the_cpus() -> None:
    assert share_of_cpus(1) == cores()
    assert share_of_cpus(cores()) == share_of_cpus(2 * cores()) == 1


def test_the_address_is_a_url_with_ipv6_too() -> None:
    port = str(free_port())
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", int(port)))
    except OSError:
        pytest.skip("no IPv6 here")
    command = [sys.executable, "-m", "happysad", "serve", "--host", "::1", "--port", port]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        lines = iter(process.stderr.readline, "")
        line = next(line for line in lines if line.startswith("happysad on "))
        process.terminate()
    assert httpx.URL(line.split()[2]).port == int(port)
    assert line.startswith(f"happysad on http://[::1]:{port}/ ")


def test_settings_come_from_the_environment_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "HAPPYSAD_MAX_BODY", "10")
    with serving() as server:
        assert predict(server, bytes(11)).status_code == 413


def test_a_server_refuses_the_models_that_predict_refuses() -> None:
    options = signature(serve).parameters
    same = [name for name in asdict(Settings()) if name in options]
    # Their defaults depend on the machine, or are written in another way.
    same = [name for name in same if name not in ("threads", "formats")]
    assert "max_pixels" in same
    assert {name: options[name].default for name in same} == {
        name: getattr(Settings(), name) for name in same
    }


def test_a_taken_port_is_an_error_and_nothing_is_announced(server: Server) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "happysad", "serve", "--port", str(server.port)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 2
    assert f"cannot listen on 127.0.0.1:{server.port}" in ended.stderr
    assert "--port" in ended.stderr
    assert "happysad on http" not in ended.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--timeout", "inf"), "--timeout inf: not a time limit; give seconds, such as 30"),
        (("--timeout", "nan"), "--timeout nan: not a time limit"),
        (("--idle", "inf"), "--idle inf: not a time limit"),
        (("--host", "ü..x"), "cannot listen on ü..x:8000 (not a host name); choose another --port"),
    ],
)
def test_options_that_cannot_be_end_the_start_with_one_line(
    options: tuple[str, ...], message: str
) -> None:
    command = [sys.executable, "-m", "happysad", "serve", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {message}") and done.stderr.count("\n") == 1


def test_workers_do_not_log_on_loading() -> None:
    with serving("--workers", "2") as server:
        _, log = server.stop()
    assert log.startswith("happysad on ") and "INFO" not in log
