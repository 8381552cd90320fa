"""Installation report: packages, models and a self-test."""

import os
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from happysad.cores import cores
from happysad.errors import HappysadError

LIGHT: Final = ("ai_edge_litert", "numpy", "PIL", "pi_heif", "rich", "typer")

EXTRAS: Final = {
    "cluster": ("ray", "jinja2", "pandas", "pyarrow"),
    "train": (
        "cv2",
        "tensorflow",
        "keras",
        "jinja2",
        "litert_quantizer",
        "matplotlib",
        "pyarrow",
        "sklearn",
        "scipy",
        "tomli_w",
    ),
    "plot": ("matplotlib",),
    "video": ("av",),
    "serve": (
        "fastapi",
        "httptools",
        "multipart",
        "prometheus_client",
        "starlette",
        "uvicorn",
    ),
}
"""The modules that each extra installs."""

# Drawn faces, by label and seed.
_DRAWN: Final = (("happy", 18), ("sad", 36))


@dataclass(frozen=True)
class Check:
    """The result of one check.

    Attributes:
        name: What was checked.
        ok: Whether the check passed; None if something optional is missing.
        found: What was found.
        advice: What to do; empty if nothing is to be done.
    """

    name: str
    ok: bool | None
    found: str
    advice: str = ""


def examine() -> list[Check]:
    """Run all checks, offline and without changing anything."""
    import platform

    system = f"Python {platform.python_version()}, {platform.platform()}, {cores()} cores"
    return [
        Check("system", True, system),
        _modules("happysad", LIGHT, "pip install happysad", needed=True),
        _model(),
        _self_test(),
        *(
            _modules(f"extra {extra}", modules, f"pip install 'happysad[{extra}]'", needed=False)
            for extra, modules in EXTRAS.items()
        ),
        _imagenet(),
    ]


def _modules(name: str, modules: tuple[str, ...], install: str, *, needed: bool) -> Check:
    # Imported here: the command line imports this module for every verb.
    from importlib.metadata import PackageNotFoundError, packages_distributions, version

    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        return Check(name, False if needed else None, f"without {', '.join(missing)}", install)
    owners = packages_distributions()
    found = []
    for module in modules:
        # Several packages may provide one module, such as OpenCV's.
        for package in sorted(set(owners.get(module, [module]))):
            try:
                found.append(f"{package} {version(package)}")
            except PackageNotFoundError:
                found.append(module)
    return Check(name, True, ", ".join(found))


def _model() -> Check:
    from happysad.released import FACES, MODEL, WEIGHTS, read_released

    names = (MODEL, FACES, WEIGHTS)
    try:
        sizes = [f"{name} {len(read_released(name)) / 1e6:.1f} MB" for name in names]
    except HappysadError as error:
        return Check("bundled models", False, str(error), "reinstall happysad")
    return Check("bundled models", True, ", ".join(sizes))


def _self_test() -> Check:
    name = "self-test"
    try:
        from happysad.dataset.synthetic import draw_scene
        from happysad.detector import Detector

        detector = Detector()
        answers = []
        seconds = 0.0
        for label, seed in _DRAWN:
            image = draw_scene([(int(label == "happy"), seed)])
            start = time.perf_counter()
            predictions = detector.predict(image)
            seconds = time.perf_counter() - start
            happy = [p.probability >= 0.5 for p in predictions]
            answers.append(happy == [label == "happy"])
    except (HappysadError, ImportError) as error:
        return Check(name, False, str(error), "reinstall happysad")
    if not all(answers):
        return Check(name, False, "drawn faces were classified wrongly", "reinstall happysad")
    return Check(name, True, f"drawn faces classified correctly, {1000 * seconds:.0f} ms per image")


def _imagenet() -> Check:
    name = "ImageNet weights"
    # Where Keras caches them; without a home folder, expanduser returns ~.
    keras = os.environ.get("KERAS_HOME") or os.path.expanduser("~/.keras")  # noqa: PTH111
    folder = Path(keras, "models")
    if any(folder.glob("mobilenet_v2_weights*no_top*")):
        return Check(name, True, "downloaded")
    return Check(
        name,
        None,
        "not downloaded yet",
        "happysad train downloads them; offline: --weights happysad, or --weights FILE",
    )
