"""The page in a real browser: images, the camera, both modes."""

import io
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from PIL import Image
from running import Server, serving

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
from playwright.sync_api import Browser, Page, expect, sync_playwright  # noqa: E402

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
def browser(tmp_path_factory: pytest.TempPathFactory, hopper: Path) -> Iterator[Browser]:
    """With a camera that films Grace Hopper."""
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
    """The page; whatever it logs as an error, or asks of another site, fails the test."""
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


def choose_device(page: Page) -> None:
    page.get_by_label("on this device").check()
    expect(page.locator("#status")).to_have_text(re.compile("on this device now"), timeout=60_000)


def test_a_chosen_picture_shows_its_face(page: Page, hopper: Path) -> None:
    page.set_input_files("#files", [hopper, Path(__file__)])
    expect(page.locator("#status")).to_have_text("1 face in 1 image; 1 without an answer")
    expect(page.locator("figcaption").first).to_contain_text("cannot read the image")
    answer = page.locator("figcaption").last
    expect(answer).to_contain_text(
        re.compile(r"face 1: ((happy|sad) \d+ %|uncertain, happy \d+ %, sad \d+ %)")
    )


def test_the_keyboard_reaches_everything(page: Page) -> None:
    reached = []
    for _ in range(4):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.value"))
    assert reached[:3] == ["server", "files", "camera"]


@pytest.mark.parametrize("where", ["server", pytest.param("device", marks=needs_runtime)])
def test_the_camera_is_watched(page: Page, where: str) -> None:
    sent: list[str] = []
    if where == "device":
        choose_device(page)
    page.on("request", lambda request: sent.append(request.method))
    page.get_by_role("button", name="start the camera").click()
    expect(page.locator("#status")).to_have_text(
        re.compile(r"^((happy|sad) \d+ %|uncertain, happy \d+ %, sad \d+ %)$"), timeout=20_000
    )
    expect(page.locator("#view")).to_be_visible()
    assert ("POST" in sent) == (where == "server"), "on the device, no image is sent"
    page.get_by_role("button", name="stop the camera").click()
    expect(page.locator("#view")).not_to_be_visible()


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


# What the page does with an image, without showing it.
ASK_DEVICE = """
async (bytes) => {
  const { openDevice } = await import("/static/device.js");
  const { describeModel } = await import("/static/server.js");
  globalThis.device ??= await openDevice(await describeModel());
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
            assert face["scores"] == pytest.approx(other["scores"], abs=0.03), name


def test_it_says_where_pictures_go(page: Page) -> None:
    expect(page.locator("#promise")).to_contain_text("sent to this server")
    page.get_by_label("on this device").check()
    expect(page.locator("#promise")).to_contain_text("No image leaves this device")


@pytest.mark.parametrize("width", [360, 1280])
def test_it_fits_the_screen(page: Page, width: int, hopper: Path) -> None:
    page.set_viewport_size({"width": width, "height": 700})
    page.set_input_files("#files", hopper)
    expect(page.locator("#status")).to_have_text("1 face in 1 image")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
