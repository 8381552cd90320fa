"""The npm package, packed, installed with its dependency, and used as in its README."""

import json
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import matplotlib.cbook
import numpy as np
import pytest
from web import chromium, web_folder

import happysad
from happysad import Detector

ROOT = Path(__file__).parents[2]
LITERT = ROOT / "node_modules" / "@litertjs"
HOPPER = Path(matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))

pytestmark = [
    pytest.mark.skipif(not shutil.which("npm"), reason="needs npm"),
    pytest.mark.skipif(not LITERT.is_dir(), reason="needs LiteRT.js: make litert"),
]

PAGE = """<!doctype html>
<script type="importmap">{"imports": {
  "happysad": "/node_modules/happysad/index.js",
  "@litertjs/core": "/node_modules/@litertjs/core/dist/index.js",
  "@litertjs/wasm-utils": "/node_modules/@litertjs/wasm-utils/dist/bundle.js"
}}</script>
<img src="photo.jpg" width="10">
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a page, and in node_modules what npm would install."""
    work = tmp_path_factory.mktemp("npm")
    # Packing writes into the package's folder.
    for name in ("js", "src/happysad/serving/static", "src/happysad/models"):
        shutil.copytree(ROOT / name, work / name)
    shutil.copy(ROOT / "LICENSE", work)
    subprocess.run(
        ["npm", "pack", "--silent", "--pack-destination", str(work)], cwd=work / "js", check=True
    )
    modules = work / "site" / "node_modules"
    with tarfile.open(next(work.glob("happysad-*.tgz"))) as archive:
        archive.extractall(work / "packed", filter="data")
    shutil.move(work / "packed" / "package", modules / "happysad")
    (modules / "@litertjs").symlink_to(LITERT)
    (work / "site" / "index.html").write_text(PAGE)
    shutil.copy(HOPPER, work / "site" / "photo.jpg")
    return work / "site"


@pytest.fixture(scope="module")
def address(installed: Path) -> Iterator[str]:
    with web_folder(installed) as url:
        yield url


def test_the_package_holds_all_it_needs(installed: Path) -> None:
    package = installed / "node_modules" / "happysad"
    described = json.loads((package / "package.json").read_text())

    assert described["version"] == happysad.__version__
    names = {str(path.relative_to(package)) for path in package.rglob("*") if path.is_file()}
    modules = {name for name in names if name.endswith(".js")}
    for name in modules:
        for imported in re.findall(r'from "\./(.*)"', (package / name).read_text()):
            assert imported in modules, f"{name} imports {imported}"
    assert names - modules == {
        *("package.json", "README.md", "LICENSE", "index.d.ts"),
        *("models/happysad.tflite", "models/faces.tflite"),
    }


def test_the_readme_s_example_gives_the_answers_of_python(address: str) -> None:
    example = next(iter(re.findall(r"```js\n(.*?)```", (ROOT / "js/README.md").read_text(), re.S)))
    with chromium() as browser:
        page = browser.new_page()
        lines: list[list[object]] = []
        page.on("console", lambda message: lines.append([a.json_value() for a in message.args]))
        page.goto(f"{address}/")
        page.evaluate(
            """async (code) => {
                const url = URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
                await import(url);
            }""",
            example,
        )
        faces = page.evaluate("""async () => {
            const { openDetector } = await import("happysad");
            const detector = await openDetector({ wasm: "/node_modules/@litertjs/core/wasm/" });
            const image = document.querySelector("img");
            const blob = await (await fetch(image.src)).blob();
            const canvas = new OffscreenCanvas(image.naturalWidth, image.naturalHeight);
            const context = canvas.getContext("2d");
            context.drawImage(image, 0, 0);
            const data = context.getImageData(0, 0, canvas.width, canvas.height);
            const answers = [];
            const frame = new VideoFrame(canvas, { timestamp: 0 });
            const bitmap = await createImageBitmap(blob);
            for (const source of [image, blob, canvas, data, bitmap, frame]) {
                answers.push(await detector.detect(source));
            }
            frame.close();
            return answers;
        }""")
        early = page.evaluate("""async () => {
            const { openDetector } = await import("happysad");
            return (await openDetector()).detect(new Image()).catch((error) => error.message);
        }""")

    assert len(faces) == 6
    assert early == "The image has no pixels yet; wait until it is loaded."
    (expected,) = Detector().predict(HOPPER)
    logged = [line for line in lines if line and line[0] in ("happy", "sad", "uncertain")]
    scores, box = faces[0][0]["scores"], faces[0][0]["box"]
    assert logged == [[expected.label, scores["happy"], scores["sad"], box]]
    for (face,) in faces:
        assert face["box"] == pytest.approx(expected.face.box, abs=3)
        assert face["scores"]["happy"] == pytest.approx(expected.scores.happy, abs=0.03)
        assert np.array(face["landmarks"]) == pytest.approx(
            np.array(expected.face.landmarks), abs=3
        )


def type_errors(code: str, installed: Path) -> str:
    """Return what TypeScript reports of a module that uses the package."""
    compiler = ROOT / "node_modules" / "typescript" / "bin" / "tsc"
    if not compiler.is_file():
        pytest.skip("needs TypeScript: make litert")
    source = installed / "app.ts"
    source.write_text(code)
    options = (
        "--noEmit --strict --module esnext --target es2022 --moduleResolution bundler "
        "--lib es2022,dom,dom.iterable"
    )
    done = subprocess.run(
        ["node", str(compiler), *options.split(), str(source)],
        capture_output=True,
        text=True,
        cwd=installed,
    )
    return done.stdout + done.stderr


def test_the_types_fit_the_readme(installed: Path) -> None:
    code = "\n".join(re.findall(r"```js\n(.*?)```", (ROOT / "js/README.md").read_text(), re.S))
    code = code.replace('document.querySelector("img")', 'document.querySelector("img")!')
    # Each example has a detector of its own.
    code = code.replace("const detector", "let detector", 1).replace("const detector", "detector")
    assert type_errors(code, installed) == ""


def test_the_types_promise_what_the_module_has(installed: Path) -> None:
    index = (installed / "node_modules" / "happysad" / "index.js").read_text()
    exported = re.findall(r"^export (?:const|class|function) (\w+)", index, re.M)
    typed = " | ".join(f'"{name}"' for name in exported)
    code = f"""
        import * as happysad from "happysad";
        import type {{ Detector, Face, ImageSource }} from "happysad";
        type Same<A, B> = [A] extends [B] ? ([B] extends [A] ? true : false) : false;
        export const same: Same<keyof typeof happysad, {typed}> = true;
        export const detect = (detector: Detector, frame: VideoFrame): Promise<Face[]> =>
            detector.detect(frame);
        // @ts-expect-error A canvas draws it, but its size is no number.
        export const source: ImageSource = document.createElementNS("", "image") as SVGImageElement;
    """
    assert type_errors(code, installed) == ""
