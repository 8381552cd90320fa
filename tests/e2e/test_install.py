"""The built distributions, installed with and without extras into a clean environment."""

import json
import os
import re
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from email import message_from_bytes
from importlib.util import find_spec
from pathlib import Path

import httpx
import pytest
from running import serving
from typed import GRACE_HOPPER, ROOT
from web import chromium

from happysad.cli import VERBS

if not all(find_spec(module) for module in ("twine", "uv")):
    pytest.skip("the group build is not installed", allow_module_level=True)

RUNTIME = ROOT / "node_modules" / "@litertjs"

# The environment must not see this checkout.
ENVIRON = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def run(*command: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    words = [str(word) for word in command]
    return subprocess.run(words, cwd=cwd, env=ENVIRON, capture_output=True, text=True)


def uv(*arguments: str | Path) -> None:
    done = run(sys.executable, "-m", "uv", *arguments)
    assert done.returncode == 0, done.stderr


@dataclass(frozen=True)
class Install:
    """A clean environment with the wheel in it, and a folder to work in."""

    wheel: Path
    folder: Path
    python: Path

    def happysad(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return run(self.python.with_name("happysad"), *arguments, cwd=self.folder)

    def extras(self) -> dict[str, bool]:
        """Return which extras `happysad doctor` finds."""
        done = self.happysad("doctor", "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        checks = {check["name"]: check for check in json.loads(done.stdout)}
        assert checks["self-test"]["ok"]
        extras = {name.removeprefix("extra "): c for name, c in checks.items() if "extra " in name}
        for extra, check in extras.items():
            assert check["ok"] or check["advice"] == f"pip install 'happysad[{extra}]'"
        return {extra: bool(check["ok"]) for extra, check in extras.items()}


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The sdist, and the wheel that is built from it."""
    folder = tmp_path_factory.mktemp("dist")
    (folder / "one.in").write_text("hatchling")
    probe = run(sys.executable, "-m", "uv", "pip", "compile", folder / "one.in")
    if probe.returncode:
        pytest.skip(f"no package index is reachable: {probe.stderr.strip()}")
    uv("build", "--python", sys.executable, "--out-dir", folder, ROOT)
    files = sorted(path for path in folder.iterdir() if path.suffix in (".gz", ".whl"))
    assert [path.suffix for path in files] == [".whl", ".gz"]
    return files


@pytest.fixture(scope="module")
def light(distributions: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Install:
    """An environment with the wheel and no extras."""
    return install(distributions[0], tmp_path_factory.mktemp("install"))


def install(wheel: Path, folder: Path, extras: str = "") -> Install:
    uv("venv", "--python", sys.executable, folder / "env")
    made = Install(wheel, folder, folder / "env" / "bin" / "python")
    uv("pip", "install", "--python", made.python, f"{wheel}{extras}")
    return made


def test_the_distributions_can_be_published(distributions: list[Path]) -> None:
    done = run(sys.executable, "-m", "twine", "check", "--strict", *distributions)
    assert done.returncode == 0, done.stdout
    wheel = zipfile.ZipFile(distributions[0])
    (name,) = (name for name in wheel.namelist() if name.endswith("/METADATA"))
    metadata = message_from_bytes(wheel.read(name))
    urls = dict(line.split(", ") for line in metadata.get_all("Project-URL", []))
    assert set(urls) == {"Homepage", "Documentation", "Repository", "Issues", "Changelog"}
    # On the package index, README's links lead to files of the repository.
    links = re.findall(r"\]\((.*?)\)", str(metadata.get_payload()))
    assert f"{urls['Repository']}/blob/main/CHANGELOG.md" in links
    for link in links:
        path = link.removeprefix(f"{urls['Repository']}/blob/main/")
        assert (ROOT / path).is_file() or link.startswith("https://"), link
        assert link.startswith("https://"), link


def test_a_light_install_predicts(light: Install) -> None:
    done = light.happysad("predict", GRACE_HOPPER, "--json")
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["faces"]) == 1
    assert set(light.extras().values()) == {False}
    done = run(light.python, "-c", "import happysad; print(happysad.__file__)", cwd=light.folder)
    assert done.stdout.startswith(str(light.folder))


def test_a_light_install_draws_and_crops_faces(light: Install) -> None:
    for command in ("draw --out faces --count 4", "crop faces --out crops"):
        done = light.happysad("dataset", *command.split())
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("command", "extra"),
    [
        ("train faces --out run", "train"),
        ("evaluate run faces", "train"),
        ("evaluate model.tflite faces", "train"),
        ("export run", "train"),
        ("dataset import faces.csv --out faces", "train"),
        ("dataset check faces", "train"),
        ("demo", "train"),
        ("predict talk.mp4", "video"),
        ("score faces --out scores", "cluster"),
        ("score faces --out scores --report scores.html", "cluster"),
        ("tune faces --out tune", "train,cluster"),
        ("serve", "serve"),
    ],
)
def test_a_verb_names_the_extra_that_it_needs(light: Install, command: str, extra: str) -> None:
    done = light.happysad(*command.split())
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: ")
    assert done.stderr.endswith(f"pip install 'happysad[{extra}]'\n")
    assert extra in ("video", VERBS[command.split()[0]])


def expect_an_answer_on_the_device(url: str) -> None:
    """Open the page in a browser, predict on the device, and check that nothing was sent."""
    with chromium() as browser:
        from playwright.sync_api import expect

        page = browser.new_page()
        sent: list[str] = []
        page.on("request", lambda r: sent.append(r.url) if r.method == "POST" else None)
        page.goto(url)
        page.get_by_label("this device").check()
        page.get_by_role("button", name="a group").click()
        status = page.locator("#status")
        expect(status).to_have_text("3 faces in 1 photo", timeout=60_000)
    assert not sent


def test_the_extra_serve_serves(distributions: list[Path], tmp_path: Path) -> None:
    made = install(distributions[0], tmp_path, "[serve]")
    assert {extra for extra, found in made.extras().items() if found} == {"serve"}
    with serving(python=made.python) as server:
        page = httpx.get(server.url)
        assert page.status_code == 200 and "<title>" in page.text
        if RUNTIME.is_dir():
            expect_an_answer_on_the_device(server.url)
        record = httpx.post(
            f"{server.url}/v1/predict",
            content=Path(GRACE_HOPPER).read_bytes(),
            headers={"content-type": "image/jpeg"},
        ).json()
        assert len(record["faces"]) == 1
        assert server.stop()[0] == 0
