"""Milliseconds a frame in the browser: the model on the device (LiteRT.js), and the server beside.

python benchmarks/browser.py [--frames 200]

Headless Chromium opens the page and asks both modes about one 640×480 frame again and again, as the
camera does. Needs Chromium, playwright (the group dev) and LiteRT.js (make litert).
"""

import argparse
import base64
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright
from serving import happysad, make_images, running

RUNTIME = Path(__file__).parents[1] / "node_modules" / "@litertjs"

TIME_FRAMES = """
async ([url, frames]) => {
  const { openDevice } = await import("/static/device.js");
  const { openFaceDetector } = await import("/static/faces.js");
  const { readPixels } = await import("/static/pixels.js");
  const { askServer } = await import("/static/server.js");
  const image = await createImageBitmap(await (await fetch(url)).blob());
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [image.width, image.height];
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  const started = performance.now();
  const onDevice = await openDevice();
  const load = performance.now() - started;
  const runtime = await import("/litert/core/dist/index.js");
  const detect = await openFaceDetector(runtime, "/faces.tflite");
  const jpeg = () => new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.85));
  const ways = {
    "on the device": () => onDevice(canvas),
    "of it, detecting the face": () => detect(readPixels(canvas)),
    "on the server": async () => askServer(await jpeg()),
  };
  const times = { "loading runtime and model": [load] };
  const heap = () => { globalThis.gc(); return performance.memory.usedJSHeapSize / 1e6; };
  const memory = [];
  for (const [name, way] of Object.entries(ways)) {
    for (let i = 0; i < 10; i++) await way();
    if (name === "on the device") memory.push(heap());
    times[name] = [];
    for (let i = 0; i < frames; i++) {
      const start = performance.now();
      await way();
      times[name].push(performance.now() - start);
    }
    if (name === "on the device") memory.push(heap());
  }
  return [times, memory];
}
"""


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--frames", type=int, default=200)
    arguments = parser.parse_args()
    if not RUNTIME.is_dir():
        sys.exit("no LiteRT.js here: make litert")
    with tempfile.TemporaryDirectory() as name, sync_playwright() as driver:
        _, scene = make_images(Path(name))
        image = "data:image/jpeg;base64," + base64.b64encode(scene.read_bytes()).decode()
        chromium = driver.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=["--no-sandbox", "--enable-precise-memory-info", "--js-flags=--expose-gc"],
        )
        with running(*happysad("--runtime", str(RUNTIME))) as (_, url):
            # The page's policy forbids data: addresses; the measurement needs one.
            page = chromium.new_context(bypass_csp=True).new_page()
            page.goto(url)
            times, memory = page.evaluate(TIME_FRAMES, [image, arguments.frames])
        chromium.close()
    print("| 640×480 | median | 95 % |\n| --- | --- | --- |")
    for way, values in times.items():
        high = sorted(values)[int(0.95 * len(values))]
        print(f"| {way} | {statistics.median(values):.1f} ms | {high:.1f} ms |")
    before, after = memory
    print(
        f"JavaScript heap after 10 frames {before:.1f} MB, {arguments.frames} later {after:.1f} MB"
    )


if __name__ == "__main__":
    main()
