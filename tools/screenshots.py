"""Screenshots for the documentation: docs/page-desktop.png, page-phone.png and report.png.

    python tools/screenshots.py [FOLDER]

The first two show the web page, side by side: empty, with results, with the camera and with an
error; the phone's in dark colours. The third shows the report of an evaluation. All faces are
drawn. Needs Chromium and playwright (the group dev).
"""

import io
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import numpy as np
from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

from happysad.dataset.synthetic import draw_face

SCREENS: Final[dict[str, dict[str, Any]]] = {
    "desktop": {"viewport": {"width": 1000, "height": 760}, "color_scheme": "light"},
    "phone": {"viewport": {"width": 390, "height": 900}, "color_scheme": "dark"},
}


HAPPYSAD: Final = (sys.executable, "-m", "happysad")


@contextmanager
def serving() -> Iterator[str]:
    """Run a server; yields its URL."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    process = subprocess.Popen([*HAPPYSAD, "serve", "--port", str(port)])  # noqa: S603
    try:
        for _ in range(100):
            try:
                if httpx.get(f"{url}/readyz").status_code == 200:
                    break
            except httpx.TransportError:
                pass
            time.sleep(0.2)
        yield url
    finally:
        process.terminate()
        process.wait()


def draw_group(path: Path) -> None:
    """Draw three people."""
    image = Image.new("RGB", (900, 340), (214, 221, 208))
    for i, (label, seed) in enumerate(((1, 21), (0, 28), (1, 42))):
        face = Image.fromarray(draw_face(label, np.random.default_rng(seed), 280))
        image.paste(face, (15 + 295 * i, 30))
    image.save(path)


def film(path: Path) -> None:
    """Write a video of a person whose expression changes every second."""
    content = b""
    for label, seed in ((1, 18), (0, 36), (1, 42), (0, 28)):
        frame, jpeg = np.full((480, 640, 3), (200, 210, 220), np.uint8), io.BytesIO()
        frame[60:420, 140:500] = draw_face(label, np.random.default_rng(seed), 360)
        Image.fromarray(frame).save(jpeg, "JPEG", quality=90)
        content += jpeg.getvalue() * 30
    path.write_bytes(content)


def shots(page: Page, url: str, folder: Path) -> list[Image.Image]:
    """Take the page empty, with results, with the camera on, and with an error."""
    taken: list[Image.Image] = []

    def take() -> None:
        taken.append(Image.open(io.BytesIO(page.screenshot())))

    page.goto(url)
    expect(page.locator("#promise")).to_contain_text("sent to this server")
    page.wait_for_timeout(500)
    take()
    page.set_input_files("#files", folder / "group.png")
    expect(page.locator("#status")).to_contain_text("faces in 1 photo")
    take()
    page.reload()
    page.get_by_role("button", name="Use the camera").click()
    page.wait_for_timeout(9000)
    take()
    page.reload()
    page.set_input_files("#files", [folder / "group.png", folder / "notes.txt"])
    expect(page.locator("#status")).to_contain_text("1 without an answer")
    take()
    return taken


def report_shot(browser: Browser, folder: Path, out: Path) -> None:
    """Follow the tutorial, and take the upper part of its report."""
    for command in (
        "dataset draw --out faces --count 500",
        "dataset draw --out faces-test --count 200 --seed 1",
        "train faces --recipe drawings --out runs/first",
        "evaluate runs/first faces-test",
    ):
        subprocess.run([*HAPPYSAD, *command.split()], cwd=folder, check=True)  # noqa: S603
    page = browser.new_page(viewport={"width": 1100, "height": 1080})
    page.goto((folder / "runs/first/evaluation-faces-test/report.html").as_uri())
    image = Image.open(io.BytesIO(page.screenshot()))
    image.quantize(128).save(out / "report.png", optimize=True)


def main() -> None:
    """Take all screenshots."""
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else Path("docs")
    with tempfile.TemporaryDirectory() as name, serving() as url, sync_playwright() as driver:
        folder = Path(name)
        draw_group(folder / "group.png")
        film(folder / "film.mjpeg")
        (folder / "notes.txt").write_text("not an image")
        browser = driver.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=[
                "--no-sandbox",
                "--use-fake-ui-for-media-stream",
                "--use-fake-device-for-media-stream",
                f"--use-file-for-fake-video-capture={folder / 'film.mjpeg'}",
            ],
        )
        for screen, options in SCREENS.items():
            taken = shots(browser.new_page(**options), url, folder)
            width, height = taken[0].size
            columns = 2 if screen == "desktop" else len(taken)
            rows = len(taken) // columns
            size = ((width + 20) * columns - 20, (height + 20) * rows - 20)
            sheet = Image.new("RGB", size, "grey")
            for i, image in enumerate(taken):
                place = (i % columns * (width + 20), i // columns * (height + 20))
                sheet.paste(image, place)
            sheet.quantize(128).save(out / f"page-{screen}.png", optimize=True)
        report_shot(browser, folder, out)
        browser.close()


if __name__ == "__main__":
    main()
