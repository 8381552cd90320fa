"""Draw the page as people see it: docs/page-desktop.png and docs/page-phone.png.

    python tools/screenshots.py [FOLDER]

Each shows, side by side, the empty page, answers, the camera and an error; the phone's in dark
colours. All faces are drawn. Needs Chromium and playwright (the group dev).
"""

import io
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright
from running import serving

from happysad.dataset.synthetic import draw_face

SCREENS: Final[dict[str, dict[str, Any]]] = {
    "desktop": {"viewport": {"width": 1000, "height": 760}, "color_scheme": "light"},
    "phone": {"viewport": {"width": 390, "height": 900}, "color_scheme": "dark"},
}


def draw_group(path: Path) -> None:
    """Draw three people."""
    image = Image.new("RGB", (900, 340), (214, 221, 208))
    for i, (label, seed) in enumerate(((1, 21), (0, 28), (1, 42))):
        face = Image.fromarray(draw_face(label, np.random.default_rng(seed), 280))
        image.paste(face, (15 + 295 * i, 30))
    image.save(path)


def film(path: Path) -> None:
    """Film somebody whose mood changes every second."""
    content = b""
    for label, seed in ((1, 18), (0, 36), (1, 42), (0, 28)):
        frame, jpeg = np.full((480, 640, 3), (200, 210, 220), np.uint8), io.BytesIO()
        frame[60:420, 140:500] = draw_face(label, np.random.default_rng(seed), 360)
        Image.fromarray(frame).save(jpeg, "JPEG", quality=90)
        content += jpeg.getvalue() * 30
    path.write_bytes(content)


def shots(page: Page, url: str, folder: Path) -> list[Image.Image]:
    """Take the page empty, with answers, with the camera on, and with an error."""
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


def main() -> None:
    """Take all screenshots."""
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else Path("docs")
    with tempfile.TemporaryDirectory() as name, serving() as server, sync_playwright() as driver:
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
            taken = shots(browser.new_page(**options), server.url, folder)
            width, height = taken[0].size
            columns = 2 if screen == "desktop" else len(taken)
            rows = len(taken) // columns
            size = ((width + 20) * columns - 20, (height + 20) * rows - 20)
            sheet = Image.new("RGB", size, "grey")
            for i, image in enumerate(taken):
                place = (i % columns * (width + 20), i // columns * (height + 20))
                sheet.paste(image, place)
            sheet.quantize(128).save(out / f"page-{screen}.png", optimize=True)
        browser.close()


if __name__ == "__main__":
    main()
