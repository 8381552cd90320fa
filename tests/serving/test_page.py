"""The page in a real browser: images, the camera, both modes."""

import csv
import io
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from running import Server, serving
from web import QuietHandler, accessibility_violations, web

from happysad import Detector, read_image
from happysad.errors import ImageError
from happysad.records import COLUMNS, csv_rows

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
from playwright.sync_api import Browser, Page, Route, expect, sync_playwright  # noqa: E402

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or ""
RUNTIME = Path(__file__).parents[2] / "node_modules" / "@litertjs"

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no Chromium here: apt install chromium")
needs_runtime = pytest.mark.skipif(
    not RUNTIME.is_dir(), reason="no LiteRT.js here: npm install @litertjs/core"
)


@pytest.fixture(scope="module")
def site() -> Iterator[Server]:
    runtime = ("--runtime", RUNTIME) if RUNTIME.is_dir() else ()
    with serving(*runtime) as running:
        yield running


@pytest.fixture(scope="module")
def plain() -> Iterator[Server]:
    """A server without the runtime for the device."""
    with serving() as running:
        yield running


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory, hopper: Path) -> Iterator[Browser]:
    """A browser whose camera shows Grace Hopper."""
    film = tmp_path_factory.mktemp("camera") / "film.mjpeg"
    frame = io.BytesIO()
    Image.open(hopper).convert("RGB").crop((0, 60, 512, 444)).resize((640, 480)).save(frame, "JPEG")
    film.write_bytes(frame.getvalue() * 10)
    camera = [
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-video-capture={film}",
    ]
    with sync_playwright() as p:
        launched = p.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *camera])
        yield launched
        launched.close()


@pytest.fixture
def page(browser: Browser, site: Server) -> Iterator[Page]:
    """The page; errors in its log and requests to other sites fail the test."""
    opened = browser.new_page()
    wrong: list[str] = []
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on(
        "console",
        lambda m: (
            wrong.append(m.text) if m.type == "error" and "Content Security" in m.text else None
        ),
    )
    opened.on(
        "request",
        lambda r: wrong.append(r.url) if site.url not in r.url.replace("blob:", "") else None,
    )
    opened.goto(site.url)
    yield opened
    opened.close()
    assert not wrong


def run_on(page: Page, where: str) -> None:
    page.get_by_label(f"this {where}").check()


def expect_summary(page: Page, text: str) -> None:
    expect(page.locator("#status")).to_have_text(text, timeout=60_000)


FIGURES = r"happy \d+ %, neither \d+ %, sad \d+ %"
SHOWN = re.compile(rf"^Face 1: ((happy|sad) \d+ %|uncertain, happy \d+ %, sad \d+ %){FIGURES}$")

needs_device = pytest.param("device", marks=needs_runtime)


@pytest.mark.parametrize("where", ["server", needs_device])
def test_a_photo_is_answered(
    plain: Server, site: Server, browser: Browser, where: str, hopper: Path
) -> None:
    page = browser.new_page()
    page.goto((site if where == "device" else plain).url)
    page.set_input_files("#files", [Path(__file__), hopper])
    expect_summary(page, "1 face in 1 photo; 1 without an answer")
    expect(page.locator("#headline")).to_have_text(re.compile("^1 face: (happy|sad|uncertain)$"))
    expect(page.locator(".face")).to_have_text(SHOWN)
    expect(page.locator("#photos li")).to_have_count(2)
    page.locator("#photos button").last.click()
    expect(page.locator("#headline.error")).to_be_visible()
    expect(page.locator("#problem")).to_have_text(
        re.compile("^(Cannot be read|This browser cannot)")
    )
    page.close()


def test_a_sample_needs_one_click(page: Page) -> None:
    page.get_by_role("button", name="a group").click()
    expect_summary(page, "3 faces in 1 photo")
    expect(page.locator("#headline")).to_have_text("3 faces: 2 happy, 1 sad")


@pytest.mark.parametrize("failure", ["no answer", "status 502"])
def test_a_sample_that_cannot_be_loaded_is_reported(page: Page, failure: str) -> None:
    page.route(
        "**/samples/*",
        lambda route: route.abort() if failure == "no answer" else route.fulfill(status=502),
    )
    page.get_by_role("button", name="a group").click()
    expect(page.locator("#status.error")).to_have_text(
        "The sample cannot be loaded from the server."
    )
    expect(page.locator("#strip")).to_be_hidden()


@pytest.fixture
def proxied(site: Server) -> Iterator[str]:
    """The address of the page behind a reverse proxy that strips the prefix /faces."""

    class Proxy(QuietHandler):
        def do_GET(self) -> None:  # noqa: N802 (the name that http.server calls)
            path = self.path.removeprefix("/faces")
            if path == self.path:
                self.send_error(404)
                return
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            kept = {"content-type": kind} if (kind := self.headers["content-type"]) else {}
            answer = httpx.request(
                self.command, site.url + path, content=body, headers=kept, timeout=60
            )
            self.send_response(answer.status_code)
            for name, value in answer.headers.items():
                if name not in ("content-length", "content-encoding", "transfer-encoding"):
                    self.send_header(name, value)
            self.send_header("content-length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        do_POST = do_GET  # noqa: N815 (the name that http.server calls)

    with web(Proxy) as address:
        yield f"{address}/faces/"


@pytest.mark.parametrize("where", ["server", needs_device])
def test_the_page_works_behind_a_path_prefix(proxied: str, browser: Browser, where: str) -> None:
    page = browser.new_page()
    missing: list[str] = []
    page.on("response", lambda r: missing.append(r.url) if r.status >= 400 else None)
    page.goto(proxied)
    if RUNTIME.is_dir():
        run_on(page, where)
    page.get_by_role("button", name="a group").click()
    expect_summary(page, "3 faces in 1 photo")
    expect(page.locator("#curl")).to_contain_text(f"{proxied}v1/predict")
    page.close()
    assert not missing


@pytest.mark.parametrize(("score", "text"), [(0.0, "1 %"), (0.5, "50 %"), (0.9999, "99 %")])
def test_no_score_is_shown_as_certain(page: Page, score: float, text: str) -> None:
    percent = "async (score) => (await import('/static/result.js')).percent(score)"
    assert page.evaluate(percent, score) == text


def test_a_meter_says_its_figures_in_words(page: Page, hopper: Path) -> None:
    page.set_input_files("#files", hopper)
    expect_summary(page, "1 face in 1 photo")
    expect(page.locator(".meter + small")).to_have_text(re.compile(f"^{FIGURES}$"))
    shares = page.eval_on_selector_all(".meter span", "all => all.map(each => each.clientWidth)")
    assert len(shares) == 3 and sum(shares) > 0


def test_long_lists_are_folded(page: Page, hopper: Path, tmp_path: Path) -> None:
    face, group = Image.open(hopper).convert("RGB").crop((100, 60, 430, 390)), tmp_path / "g.png"
    sheet = Image.new("RGB", (1200, 600), (90, 110, 120))
    for i in range(8):
        sheet.paste(face.resize((220, 220)), (40 + 290 * (i % 4), 40 + 280 * (i // 4)))
    sheet.save(group)
    page.set_input_files("#files", group)
    expect_summary(page, "8 faces in 1 photo")
    expect(page.locator(".face")).to_have_count(5)
    page.get_by_role("button", name="Show all 8 faces").press("Enter")
    expect(page.locator(".face")).to_have_count(8)
    expect(page.locator(".face").nth(5)).to_be_focused()


def test_a_face_and_its_box_are_highlighted_together(page: Page) -> None:
    page.get_by_role("button", name="a group").click()
    expect_summary(page, "3 faces in 1 photo")
    plain = page.locator("#image").screenshot()
    page.locator(".face").nth(1).focus()
    assert page.locator("#image").screenshot() != plain
    page.locator("#image").hover(position={"x": 5, "y": 5})
    expect(page.locator(".face.lit")).to_have_count(0)


@pytest.mark.parametrize(
    ("kind", "suffix"), [("CSV", ".csv"), ("JSON", ".json"), ("image", ".faces.jpg")]
)
def test_answers_can_be_downloaded(page: Page, hopper: Path, kind: str, suffix: str) -> None:
    page.set_input_files("#files", hopper)
    expect_summary(page, "1 face in 1 photo")
    with page.expect_download() as download:
        page.get_by_role("button", name=kind, exact=True).click()
    assert download.value.suggested_filename == f"{hopper.stem}{suffix}"
    content = download.value.path().read_bytes()
    if kind == "JSON":
        record = json.loads(content)
        assert record["path"] == hopper.name
        assert len(record["faces"]) == 1
    elif kind == "CSV":
        assert len(content.decode().splitlines()) == 2
    else:
        assert Image.open(io.BytesIO(content)).format == "JPEG"


def test_clear_removes_all_photos(page: Page, hopper: Path) -> None:
    page.set_input_files("#files", [hopper, hopper])
    expect_summary(page, "2 faces in 2 photos")
    page.get_by_role("button", name="Clear").click()
    expect(page.locator("#result")).to_be_hidden()
    expect(page.locator("#photos button")).to_have_count(0)
    expect(page.locator("#strip")).to_be_hidden()
    expect(page.get_by_role("button", name="a group")).to_be_visible()


# Holds what the page sends to v1/predict; goOn() lets it pass.
HOLD_PREDICTIONS = """
() => {
const send = globalThis.fetch;
const held = new Promise((done) => { globalThis.goOn = done; });
globalThis.sent = 0;
globalThis.fetch = async (url, options) => {
  if (String(url).endsWith("v1/predict")) {
    globalThis.sent += 1;
    await held;
  }
  return send(url, options);
};
}
"""


@pytest.fixture
def held(plain: Server, browser: Browser) -> Iterator[Page]:
    """The page of a server that answers no photo before goOn()."""
    opened = browser.new_page()
    opened.goto(plain.url)
    opened.evaluate(HOLD_PREDICTIONS)
    yield opened
    opened.close()


def test_clear_ends_a_running_batch(held: Page, hopper: Path) -> None:
    held.set_input_files("#files", [hopper, hopper, hopper])
    expect_summary(held, "Looking at photo 1 of 3 …")
    held.wait_for_function("globalThis.sent === 1")
    held.get_by_role("button", name="Clear").click()
    with held.expect_response("**/v1/predict"):
        held.evaluate("globalThis.goOn()")
    held.wait_for_timeout(500)
    assert held.evaluate("globalThis.sent") == 1, "the other photos are not sent"
    expect(held.locator("#strip")).to_be_hidden()
    expect(held.locator("#result")).to_be_hidden()
    expect_summary(held, "")


def test_photos_added_to_a_running_batch_follow_it(held: Page, hopper: Path) -> None:
    held.set_input_files("#files", [hopper, hopper])
    expect_summary(held, "Looking at photo 1 of 2 …")
    held.wait_for_function("globalThis.sent === 1")
    held.set_input_files("#files", hopper)
    held.wait_for_timeout(500)
    assert held.evaluate("globalThis.sent") == 1, "one photo at a time"
    held.evaluate("globalThis.goOn()")
    expect_summary(held, "3 faces in 3 photos")


def test_a_photo_in_progress_is_not_announced_as_without_a_face(held: Page, hopper: Path) -> None:
    held.set_input_files("#files", hopper)
    held.wait_for_function("globalThis.sent === 1")
    expect(held.get_by_role("button", name=f"{hopper.name}: Looking …")).to_be_visible()
    held.evaluate("globalThis.goOn()")
    expect(held.get_by_role("button", name=f"{hopper.name}: 1 face")).to_be_visible()


def test_a_thumbnail_keeps_the_keyboard_s_focus(page: Page, hopper: Path) -> None:
    page.set_input_files("#files", [hopper, hopper])
    expect_summary(page, "2 faces in 2 photos")
    page.locator("#photos button").last.press("Enter")
    expect(page.locator("#photos button").last).to_have_attribute("aria-current", "true")
    expect(page.locator("#photos button").last).to_be_focused()


def test_refused_files_are_sent_as_a_reduced_jpeg(
    browser: Browser, tmp_path: Path, hopper: Path
) -> None:
    """A file over the server's limit that the browser can show."""
    large = tmp_path / "large.bmp"
    Image.open(hopper).convert("RGB").resize((2560, 3000)).save(large)
    with serving("--max-body", "2000000") as server:
        page = browser.new_page()
        page.goto(server.url)
        page.set_input_files("#files", large)
        expect_summary(page, "1 face in 1 photo")
        record = json.loads(downloaded(page, "JSON"))
        assert (record["width"], record["height"]) == (2560, 3000)
        (expected,) = Detector().predict(large)
        assert record["faces"][0]["box"] == pytest.approx(expected.face.box, abs=40)
        page.close()


def test_an_extremely_wide_image_does_not_stop_the_others(
    page: Page, tmp_path: Path, hopper: Path
) -> None:
    wide = tmp_path / "wide.png"
    wide.write_bytes(as_png(Image.new("RGB", (3000, 1))))
    if page.locator("#modes").is_visible():
        run_on(page, "server")
    page.set_input_files("#files", [wide, hopper])
    expect_summary(page, "1 face in 2 photos")


def test_the_server_answers_images_the_browser_cannot_show(
    page: Page, tmp_path: Path, hopper: Path
) -> None:
    tiff = tmp_path / "scan.tif"
    Image.open(hopper).convert("RGB").save(tiff)
    if page.locator("#modes").is_visible():
        run_on(page, "server")
    page.set_input_files("#files", tiff)
    expect_summary(page, "1 face in 1 photo")
    expect(page.locator("#headline")).to_have_text(re.compile("^1 face: "))


def test_a_pasted_image_is_answered(page: Page, hopper: Path) -> None:
    page.evaluate(
        """async (bytes) => {
          const data = new DataTransfer();
          data.items.add(new File([new Uint8Array(bytes)], "image.jpg", { type: "image/jpeg" }));
          document.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data }));
        }""",
        list(hopper.read_bytes()),
    )
    expect_summary(page, "1 face in 1 photo")


def test_the_whole_drop_zone_can_be_clicked(page: Page) -> None:
    with page.expect_file_chooser():
        page.locator("#hint").click()


def test_the_keyboard_reaches_everything(page: Page) -> None:
    reached = []
    for _ in range(7):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate("document.activeElement.dataset.sample || document.activeElement.id")
        )
    start = reached.index("files")
    assert reached[start : start + 5] == ["files", "camera", "happy", "sad", "group"]


def test_the_focus_stays_when_what_has_it_is_hidden(page: Page) -> None:
    page.get_by_role("button", name="a group").press("Enter")
    expect(page.locator("#samples")).to_be_hidden()
    expect(page.locator("#files")).to_be_focused()
    expect_summary(page, "3 faces in 1 photo")
    page.get_by_role("button", name="Clear").press("Enter")
    expect(page.locator("#strip")).to_be_hidden()
    expect(page.locator("#files")).to_be_focused()


@pytest.fixture
def locked(browser: Browser, tmp_path: Path) -> Iterator[Page]:
    """The page of a server that requires an API key."""
    keys = tmp_path / "keys"
    keys.write_text("s3cret-s3cret-s3cret\n")
    with serving("--api-keys", keys) as server:
        page = browser.new_page()
        page.goto(server.url)
        yield page
        page.close()


def test_a_wrong_key_can_be_corrected(locked: Page, hopper: Path) -> None:
    locked.set_input_files("#files", hopper)
    expect_summary(locked, "0 faces in 0 photos; 1 without an answer")
    locked.get_by_role("textbox", name="API key").fill("s3cret-s3cret-s3cret")
    locked.keyboard.press("Enter")
    expect(locked.locator("#headline")).to_have_text(re.compile("^1 face: "))


@pytest.mark.parametrize("wrong", ["wrong", "s€cret"])
def test_the_key_s_form_stays_until_the_key_is_right(locked: Page, wrong: str) -> None:
    field = locked.get_by_role("textbox", name="API key")
    field.fill(wrong)
    field.press("Enter")
    expect(locked.locator("#status.error")).to_contain_text("API key")
    expect(field).to_be_focused()
    field.fill("s3cret-s3cret-s3cret")
    field.press("Enter")
    expect(field).to_be_hidden()
    expect_summary(locked, "")
    expect(locked.locator("#files")).to_be_focused()


def test_a_late_key_answers_every_refused_photo(locked: Page, hopper: Path) -> None:
    locked.set_input_files("#files", [hopper, hopper, hopper])
    expect_summary(locked, "0 faces in 0 photos; 3 without an answer")
    expect(locked.locator("#photos .failed")).to_have_count(3)
    locked.get_by_role("textbox", name="API key").fill("s3cret-s3cret-s3cret")
    locked.keyboard.press("Enter")
    expect_summary(locked, "3 faces in 3 photos")
    expect(locked.locator("#photos .failed")).to_have_count(0)
    expect(locked.locator("#photos li")).to_have_count(3)


@pytest.mark.parametrize("where", ["server", needs_device])
def test_the_camera_is_watched(page: Page, where: str) -> None:
    sent: list[str] = []
    if page.locator("#modes").is_visible():
        run_on(page, where)
    page.on("request", lambda request: sent.append(request.method))
    page.get_by_role("button", name="Use the camera").click()
    expect(page.locator("#people")).to_have_text(
        re.compile(r"^1: ((happy|sad) \d+ %|uncertain, happy \d+ %, sad \d+ %)$"), timeout=60_000
    )
    expect(page.locator("#view")).to_be_visible()
    expect(page.locator("#rate")).to_have_text(re.compile("frames/s"))
    assert ("POST" in sent) == (where == "server"), "on the device, no image is sent"
    page.get_by_role("button", name="Take a photo").click()
    expect(page.locator("#photos li")).to_have_count(1)
    page.get_by_role("button", name="Stop the camera").click()
    expect(page.locator("#view")).not_to_be_visible()


def test_the_camera_leaves_a_photo_s_summary(page: Page, hopper: Path) -> None:
    page.get_by_role("button", name="Use the camera").click()
    expect(page.locator("#rate")).to_have_text(re.compile("frames/s"), timeout=60_000)
    page.set_input_files("#files", hopper)
    expect_summary(page, "1 face in 1 photo")
    page.wait_for_timeout(2500)  # What the camera shows is read aloud every two seconds.
    expect_summary(page, "1 face in 1 photo")
    expect(page.locator("#people")).to_have_text(re.compile(r"^\d+: "))


# Remembers every stream that the page opens.
COUNT_STREAMS = """
() => {
globalThis.streams = [];
const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
navigator.mediaDevices.getUserMedia = async (wanted) => {
  const stream = await open(wanted);
  globalThis.streams.push(stream);
  return stream;
};
}
"""
LIVE = "streams.flatMap((s) => s.getTracks()).filter((t) => t.readyState === 'live').length"


def test_a_double_click_leaves_no_camera_on(page: Page) -> None:
    page.evaluate(COUNT_STREAMS)
    page.locator("#camera").dblclick()
    page.wait_for_timeout(1500)
    assert page.evaluate(LIVE) == 0
    expect(page.get_by_role("button", name="Use the camera")).to_be_visible()
    page.locator("#camera").click()
    expect(page.locator("#rate")).to_have_text(re.compile("frames/s"), timeout=60_000)
    assert page.evaluate(LIVE) == 1
    page.locator("#camera").click()
    assert page.evaluate(LIVE) == 0


def test_a_camera_stopped_while_it_starts_stays_off(plain: Server, browser: Browser) -> None:
    page = browser.new_page()
    page.goto(plain.url)
    page.evaluate(
        """() => {
          const list = navigator.mediaDevices.enumerateDevices.bind(navigator.mediaDevices);
          navigator.mediaDevices.enumerateDevices = async () => {
            document.documentElement.dataset.listing = "yes";
            await new Promise((done) => { globalThis.goOn = done; });
            return list();
          };
        }"""
    )
    page.locator("#camera").click()
    expect(page.locator("html[data-listing]")).to_have_count(1)
    page.get_by_role("button", name="Stop the camera").click()
    page.evaluate("globalThis.goOn()")
    page.wait_for_timeout(1000)
    expect(page.locator("#trouble")).to_have_text("")
    expect(page.get_by_role("button", name="Use the camera")).to_be_visible()
    page.close()


def test_no_photo_is_taken_before_the_camera_shows_an_image(page: Page) -> None:
    page.evaluate(
        """() => {
          const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
          const allowed = new Promise((done) => { globalThis.allow = done; });
          navigator.mediaDevices.getUserMedia = async (wanted) => {
            await allowed;
            return open(wanted);
          };
        }"""
    )
    page.locator("#camera").click()
    page.get_by_role("button", name="Take a photo").click()
    expect(page.locator("#status.error")).to_have_text("The camera shows no image yet.")
    expect(page.locator("#strip")).to_be_hidden()
    page.evaluate("globalThis.allow()")
    expect(page.locator("#rate")).to_have_text(re.compile("frames/s"), timeout=60_000)
    page.get_by_role("button", name="Take a photo").click()
    expect(page.locator("#photos li")).to_have_count(1)


def test_a_camera_needs_a_secure_address(page: Page) -> None:
    """Over plain HTTP from another host, browsers offer no cameras."""
    page.evaluate("Object.defineProperty(navigator, 'mediaDevices', { value: undefined })")
    page.locator("#camera").click()
    expect(page.locator("#status.error")).to_have_text(
        "The camera cannot be used: browsers allow it only over HTTPS or on localhost."
    )


def test_a_busy_server_does_not_end_the_camera(plain: Server, browser: Browser) -> None:
    """The server answers 503 where a frame took too long, and the next may not."""
    page = browser.new_page()
    page.goto(plain.url)
    problem = {"status": 503, "detail": "the prediction was not completed within 30 seconds"}
    page.route("**/v1/predict", lambda route: route.fulfill(status=503, json=problem))
    page.locator("#camera").click()
    expect(page.locator("#trouble")).to_have_text(re.compile(r"within 30 seconds\. Trying again\."))
    page.unroute("**/v1/predict")
    expect(page.locator("#rate")).to_have_text(re.compile("frames/s"), timeout=60_000)
    page.close()


def test_an_unplugged_camera_is_noticed(page: Page) -> None:
    page.evaluate(COUNT_STREAMS)
    page.locator("#camera").click()
    expect(page.locator("#rate")).to_have_text(re.compile("frames/s"), timeout=60_000)
    page.evaluate("streams[0].getTracks()[0].onended(new Event('ended'))")
    expect(page.locator("#status")).to_have_text("The camera was disconnected.")
    expect(page.get_by_role("button", name="Use the camera")).to_be_visible()


def test_a_lost_server_is_reported_and_recovered_from(plain: Server, browser: Browser) -> None:
    page = browser.new_page()
    page.goto(plain.url)
    page.locator("#camera").click()
    expect(page.locator("#rate")).to_have_text(re.compile("frames/s"), timeout=60_000)
    page.context.set_offline(True)
    expect(page.locator("#trouble")).to_have_text(re.compile("The server cannot be reached"))
    page.context.set_offline(False)
    expect(page.locator("#trouble")).to_be_hidden(timeout=30_000)
    page.close()


def test_a_doubtful_detection_says_why_it_is_uncertain(page: Page) -> None:
    describe = "async (face) => (await import('/static/result.js')).describeFace(face, 0.5)"
    face = {"label": "uncertain", "scores": {"happy": 0.06, "sad": 0.8, "neither": 0.14}}
    assert "perhaps no photographed face" in page.evaluate(describe, face)
    face["scores"] = {"happy": 0.2, "sad": 0.4, "neither": 0.4}
    assert page.evaluate(describe, face) == "uncertain, happy 20 %, sad 40 %"


def test_a_photo_can_be_enlarged(page: Page, hopper: Path) -> None:
    page.set_viewport_size({"width": 390, "height": 700})
    page.set_input_files("#files", hopper)
    expect_summary(page, "1 face in 1 photo")
    small = page.locator("#image").bounding_box()
    page.get_by_role("button", name="Enlarge").click()
    large = page.get_by_role("img", name=hopper.name, exact=True).bounding_box()
    assert small and large and large["width"] == 512 > small["width"]
    page.keyboard.press("Escape")
    expect(page.locator("#large")).to_be_hidden()


@pytest.mark.parametrize("kind", ["drop", "paste"])
def test_text_is_no_image(page: Page, kind: str) -> None:
    page.evaluate(
        """(kind) => {
          const data = new DataTransfer();
          data.setData("text/plain", "a link");
          const event = kind === "drop"
            ? new DragEvent("drop", { dataTransfer: data })
            : new ClipboardEvent("paste", { clipboardData: data });
          document.dispatchEvent(event);
        }""",
        kind,
    )
    expect(page.locator("#status.error")).to_have_text(re.compile("image"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_on_the_page(page: Page, scheme: str, hopper: Path) -> None:
    page.emulate_media(color_scheme="light" if scheme == "light" else "dark")
    assert not accessibility_violations(page)
    page.get_by_role("button", name="a group").click()
    expect_summary(page, "3 faces in 1 photo")
    page.set_input_files("#files", Path(__file__))
    expect_summary(page, "0 faces in 0 photos; 1 without an answer")
    assert not accessibility_violations(page)
    page.locator("#photos button").last.click()
    page.get_by_text("Use this server from a program").click()
    assert not accessibility_violations(page)
    page.get_by_role("button", name="Enlarge").click()
    assert not accessibility_violations(page)
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Use the camera").click()
    expect(page.locator("#rate")).to_have_text(re.compile("frames/s"), timeout=60_000)
    assert not accessibility_violations(page)


def test_a_person_keeps_the_number(page: Page) -> None:
    """Two moving faces in varying order, and one that leaves."""
    numbers = page.evaluate(
        """async () => {
          const { Tracker } = await import("/static/camera.js");
          const tracker = new Tracker();
          const face = (x, happy) =>
            ({ box: [x, 50, 100, 100], label: "x", scores: { happy, sad: 1 - happy, neither: 0 } });
          const frames = [
            [face(0, 0.9), face(300, 0.1)], [face(310, 0.1), face(10, 0.9)], [face(20, 0.1)],
            [face(330, 0.1), face(25, 0.9)],
          ];
          return frames.map((faces, i) => tracker.update(faces, 0.4, 100 * i)
            .map(({ person, label, box }) => [person, label, box[0]]));
        }"""
    )
    by_place = [sorted(frame, key=lambda face: face[2]) for frame in numbers]
    assert [[person for person, *_ in frame] for frame in by_place] == [[1, 2], [1, 2], [1], [1, 2]]
    # One frame does not change a label.
    assert numbers[2][0][1] == "happy"


def photos(hopper: Path) -> dict[str, Image.Image]:
    """One face, three faces, a tilted one, one that fills the frame, one cut by the border."""
    portrait = Image.open(hopper).convert("RGB")
    group = Image.new("RGB", (1000, 700), (90, 110, 120))
    for x, y, height in ((20, 30, 600), (500, 60, 300), (780, 400, 200)):
        group.paste(portrait.resize((height * 512 // 600, height)), (x, y))
    return {
        "one": portrait,
        "group": group,
        "tilted": portrait.rotate(35, Image.Resampling.BICUBIC, expand=True),
        "full": portrait.crop((165, 110, 360, 330)).resize((780, 880)),
        "cut": portrait.crop((240, 0, 512, 600)),
    }


# Processes an image as the page does, without showing it.
ASK_DEVICE = """
async (bytes) => {
  const { openDevice } = await import("/static/device.js");
  globalThis.device ??= await openDevice();
  const image = await createImageBitmap(new Blob([new Uint8Array(bytes)]));
  return (await globalThis.device(image)).faces;
}
"""


@needs_runtime
def test_the_device_answers_as_the_server_does(page: Page, site: Server, hopper: Path) -> None:
    for name, photo in photos(hopper).items():
        file = io.BytesIO()
        photo.save(file, "PNG")
        expected = httpx.post(
            f"{site.url}/v1/predict", content=file.getvalue(), headers={"content-type": "image/png"}
        ).json()["faces"]
        faces = page.evaluate(ASK_DEVICE, list(file.getvalue()))
        assert len(faces) == len(expected) == (3 if name == "group" else 1), name
        for face, other in zip(faces, expected, strict=True):
            side = max(other["box"][2:])
            assert face["box"] == pytest.approx(other["box"], abs=max(3, 0.04 * side)), name
            # A rotated face is detected twice, and resampled in between.
            tolerance = 0.06 if name == "tilted" else 0.03
            assert face["scores"] == pytest.approx(other["scores"], abs=tolerance), name


def as_png(photo: Image.Image) -> bytes:
    file = io.BytesIO()
    photo.save(file, "PNG")
    return file.getvalue()


def ask_server(site: Server, content: bytes) -> dict[str, Any]:
    kind = {"content-type": "image/unknown"}
    record: dict[str, Any] = httpx.post(
        f"{site.url}/v1/predict", content=content, headers=kind, timeout=60
    ).json()
    return record


def downloaded(page: Page, kind: str) -> str:
    with page.expect_download() as download:
        page.get_by_role("button", name=kind, exact=True).click()
    return download.value.path().read_text("utf-8")


def expect_same_record(record: dict[str, Any], expected: dict[str, Any]) -> None:
    """The same keys, and values within what another resampling changes."""
    assert list(record) == list(expected)
    assert {k: v for k, v in record.items() if k not in ("path", "faces")} == {
        k: v for k, v in expected.items() if k not in ("path", "faces")
    }
    for face, other in zip(record["faces"], expected["faces"], strict=True):
        assert list(face) == list(other)
        near = max(3, 0.04 * max(other["box"][2:]))
        assert face["box"] == pytest.approx(other["box"], abs=near)
        points, others = np.array(face["landmarks"]), np.array(other["landmarks"])
        assert points == pytest.approx(others, abs=near)
        assert face["scores"] == pytest.approx(other["scores"], abs=0.03)


@needs_runtime
def test_the_device_answers_in_pixels_of_the_upright_photo(
    page: Page, site: Server, hopper: Path, tmp_path: Path
) -> None:
    """A photo of 12 megapixels that lies on its side, with two faces."""
    portrait = Image.open(hopper).convert("RGB")
    upright = Image.new("RGB", (3000, 4000), (90, 110, 120))
    upright.paste(portrait.resize((1536, 1800)), (200, 300))
    upright.paste(portrait.resize((1024, 1200)), (1900, 2600))
    exif = Image.Exif()
    exif[0x0112] = 6
    lying = tmp_path / "lying.jpg"
    upright.transpose(Image.Transpose.ROTATE_90).save(lying, exif=exif, quality=95)
    expected = ask_server(site, lying.read_bytes())
    assert (expected["width"], expected["height"]) == (3000, 4000)
    run_on(page, "device")
    page.set_input_files("#files", lying)
    expect_summary(page, "2 faces in 1 photo")
    expect_same_record(json.loads(downloaded(page, "JSON")), expected)


@pytest.mark.parametrize("where", ["server", needs_device])
def test_downloads_hold_what_predict_writes(
    page: Page, site: Server, where: str, hopper: Path, tmp_path: Path
) -> None:
    """The keys of --json and the rows of --csv, for a face, for none, and for an error."""
    photo, wall, text = (tmp_path / name for name in ('a "b", c.jpg', "wall.png", "text.txt"))
    shutil.copy(hopper, photo)
    wall.write_bytes(as_png(Image.new("RGB", (300, 200), (90, 110, 120))))
    text.write_text("milk")
    if page.locator("#modes").is_visible():
        run_on(page, where)
    for path in (photo, wall, text):
        page.set_input_files("#files", path)
        expect(page.locator("#headline:not(:text('Looking'))")).to_be_visible(timeout=60_000)
        expect(page.locator("#name")).to_have_text(path.name)
        record = json.loads(downloaded(page, "JSON"))
        assert record["path"] == path.name
        if path == text:
            with pytest.raises(ImageError) as failed:
                read_image(path)
            expected = {"schema": 2, "path": path.name, "status": "error", "width": None}
            expected |= {"height": None, "faces": [], "error": record["error"]}
            assert record == expected
            if where == "server":
                assert record["error"] == failed.value.reason
        else:
            expect_same_record(record, ask_server(site, path.read_bytes()))
        table = csv.DictReader(io.StringIO(downloaded(page, "CSV"), newline=""))
        rows = [{name: str(row.get(name, "")) for name in COLUMNS} for row in csv_rows(record)]
        assert tuple(table.fieldnames or ()) == COLUMNS
        assert [as_numbers(row) for row in table] == [as_numbers(row) for row in rows]


def as_numbers(row: dict[str, str]) -> dict[str, str | float]:
    """Cells as numbers where they are: 1 and 1.0 are the same."""
    return {
        k: v if k in ("path", "error") or not v[:1].isdigit() else float(v) for k, v in row.items()
    }


@needs_runtime
def test_the_device_says_that_there_is_no_face_as_the_server_does(
    page: Page, site: Server, tmp_path: Path
) -> None:
    wall = tmp_path / "wall.png"
    wall.write_bytes(as_png(Image.new("RGB", (300, 200), (90, 110, 120))))
    run_on(page, "device")
    page.set_input_files("#files", wall)
    expect_summary(page, "0 faces in 1 photo")
    expected = ask_server(site, wall.read_bytes()) | {"path": "wall.png"}
    assert json.loads(downloaded(page, "JSON")) == expected
    assert expected["status"] == "no face"


@needs_runtime
def test_the_device_finds_a_face_at_the_border_beside_a_clear_one(
    page: Page, site: Server, hopper: Path
) -> None:
    """At 320 pixels the sides of this photo end a fraction of a pixel before its border."""
    portrait = Image.open(hopper).convert("RGB")
    photo = Image.new("RGB", (1280, 853), (90, 110, 120))
    photo.paste(portrait.resize((512, 600)), (40, 20))
    photo.paste(portrait.resize((342, 400)).crop((0, 0, 342, 215)), (800, 853 - 215))
    content = as_png(photo)
    expected = ask_server(site, content)["faces"]
    assert len(expected) == 2 and sum(expected[1]["box"][1::2]) > 852
    faces = page.evaluate(ASK_DEVICE, list(content))
    assert len(faces) == 2
    for face, other in zip(faces, expected, strict=True):
        assert face["box"] == pytest.approx(other["box"], abs=max(3, 0.04 * max(other["box"][2:])))


READ_PIXELS = """
async (bytes) => {
  const { readPixels } = await import("/static/pixels.js");
  const image = await createImageBitmap(new Blob([new Uint8Array(bytes)]));
  return [...readPixels(image).data];
}
"""


def test_transparent_images_lie_on_white_as_on_the_server(page: Page, tmp_path: Path) -> None:
    """More rows than the page reads at once."""
    levels = np.zeros((300, 2, 4), np.uint8)
    levels[..., 0], levels[..., 1:3] = 200, 10
    levels[100:200, :, 3], levels[200:, :, 3] = 128, 255
    content = as_png(Image.fromarray(levels))
    pixels = np.reshape(page.evaluate(READ_PIXELS, list(content)), (300, 2, 3))
    assert np.abs(pixels - read_image(content).astype(int)).max() <= 1

    # What is shown, downloaded, and sent to a server that does not read the file.
    shown = tmp_path / "transparent.png"
    shown.write_bytes(as_png(Image.new("RGBA", (200, 100))))
    page.set_input_files("#files", shown)
    expect_summary(page, "0 faces in 1 photo")
    with page.expect_download() as download:
        page.get_by_role("button", name="image", exact=True).click()
    assert read_image(download.value.path()).min() > 250


def test_the_page_says_where_photos_go(page: Page, plain: Server, browser: Browser) -> None:
    other = browser.new_page()
    other.goto(plain.url)
    expect(other.locator("#modes")).to_be_hidden()
    expect(other.locator("#promise")).to_contain_text("sent to this server")
    other.close()
    if page.locator("#modes").is_visible():
        expect(page.locator("#promise")).to_contain_text("stay on this device")
        run_on(page, "server")
        page.reload()
        expect(page.locator("#promise")).to_contain_text("sent to this server")


def test_blocked_storage_does_not_stop_the_page(page: Page) -> None:
    blocked = """Object.defineProperty(window, "localStorage", {
      get() { throw new DOMException("Access is denied for this document.", "SecurityError"); },
    })"""
    page.add_init_script(blocked)
    page.reload()
    expect(page.locator("#model")).to_have_text(re.compile("^happysad"))
    where = "device" if page.locator("#modes").is_visible() else "server"
    expect(page.locator("#promise")).to_contain_text(f"this {where}")
    if where == "device":
        run_on(page, "server")
        expect(page.locator("#promise")).to_contain_text("sent to this server")


@needs_runtime
def test_only_a_chosen_mode_is_remembered(page: Page, site: Server) -> None:
    """A server that gets the runtime between two visits."""

    def without_runtime(route: Route) -> None:
        answer = route.fetch()
        text = re.sub('data-runtime="[^"]*"', 'data-runtime=""', answer.text())
        route.fulfill(response=answer, body=text)

    page.route(f"{site.url}/", without_runtime)
    page.reload()
    expect(page.locator("#promise")).to_contain_text("sent to this server")
    page.unroute(f"{site.url}/")
    page.reload()
    expect(page.locator("#promise")).to_contain_text("stay on this device")


def test_browsers_ask_for_changed_files(site: Server) -> None:
    for path in ("/", "/static/app.js", "/faces.tflite", "/samples/happy.jpg"):
        assert httpx.get(site.url + path).headers["cache-control"] == "no-cache"
    assert httpx.get(f"{site.url}/samples/other.jpg").status_code == 404


@pytest.mark.parametrize("width", [360, 1280])
def test_the_page_fits_the_screen(page: Page, width: int, hopper: Path) -> None:
    page.set_viewport_size({"width": width, "height": 700})
    page.set_input_files("#files", hopper)
    expect_summary(page, "1 face in 1 photo")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
