import signal
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings
from PIL import Image

from happysad.dataset.synthetic import make_dataset

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    import numpy.typing as npt

    from happysad.classifier import Precision


# A shell ignores SIGINT in background jobs, and programs started by tests would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# No deadline: a busy machine is not a failure.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With several test processes, keep the tests of each file together, and all that use Ray."""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return "ray" if Path(file).parent.name in ("scoring", "tuning") else file

    return Scheduling(config, log)


@pytest.fixture(scope="session")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of 60 drawn faces, 64 pixels; read only."""
    folder = tmp_path_factory.mktemp("faces")
    make_dataset(folder, 60, seed=0, size=64)
    return folder


@pytest.fixture(scope="session")
def red_is_happy() -> Any:
    """A network that calls red crops happy and blue ones sad, so that its outputs are known.

    The logit is ``4 * (red - blue)``, of the crop's mean colour scaled to [-1, 1].
    """
    keras = pytest.importorskip("keras", reason="the extra train is not installed")
    import numpy as np

    pixels = keras.Input((32, 32, 3))
    features = keras.layers.Conv2D(2, 1, name="red_and_blue")(pixels)
    backbone = keras.Model(pixels, features, name="backbone")
    image = keras.Input((32, 32, 3), dtype="uint8", name="image")
    x = backbone(keras.layers.Rescaling(1 / 127.5, offset=-1, name="scale")(image))
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    x = keras.layers.Dense(1, name="logit")(x)
    network = keras.Model(image, keras.layers.Activation("sigmoid", name="scores")(x))
    backbone.get_layer("red_and_blue").set_weights(
        [np.array([[[[1, 0], [0, 0], [0, 1]]]], np.float32), np.zeros(2, np.float32)]
    )
    network.get_layer("logit").set_weights([np.array([[4], [-4]], np.float32), np.zeros(1)])
    return network


@pytest.fixture(scope="session")
def coloured_crops() -> "npt.NDArray[np.uint8]":
    """``uint8 [80, 32, 32, 3]``: crops of one random colour each, with noise."""
    import numpy as np

    rng = np.random.default_rng(5)
    colours = rng.integers(0, 256, (80, 1, 1, 3))
    noise = rng.integers(-30, 31, (80, 32, 32, 3))
    return (colours + noise).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def model_files(
    tmp_path_factory: pytest.TempPathFactory,
    red_is_happy: Any,
    coloured_crops: "npt.NDArray[np.uint8]",
) -> "dict[Precision, Path]":
    """`red_is_happy` as model files, at every precision, temperature 2, threshold 0.55."""
    from happysad.classifier import PRECISIONS, ModelInfo
    from happysad.export.convert import float32_graph, quantise
    from happysad.export.metadata import add_metadata

    folder = tmp_path_factory.mktemp("models")
    graph = float32_graph(red_is_happy, temperature=2.0)
    files = {}
    for precision in PRECISIONS:
        info = ModelInfo(
            input_size=32,
            crop_margin=1.0,
            crop_level=True,
            output="sigmoid",
            threshold=0.55,
            temperature=2.0,
            precision=precision,
            recipe="colours",
            data_fingerprint="0" * 64,
            happysad="0.1.0",
            created="2025-01-01",
        )
        content = quantise(graph, precision, coloured_crops[:40])
        files[precision] = folder / f"model-{precision}.tflite"
        files[precision].write_bytes(add_metadata(content, info, {"name": "colours"}))
    return files


@pytest.fixture(scope="session")
def coloured_run(tmp_path_factory: pytest.TempPathFactory, red_is_happy: Any) -> Path:
    """A finished run of 40 drawn faces, by `red_is_happy`; read only."""
    from happysad.dataset.load import load
    from happysad.dataset.split import split, write_manifest
    from happysad.training.recipe import read_recipe
    from happysad.training.run import Run

    faces = tmp_path_factory.mktemp("faces")
    make_dataset(faces, 40, seed=1, size=48)
    dataset = load(faces, 32)
    run = Run(tmp_path_factory.mktemp("runs") / "first")
    recipe = replace(read_recipe("seed"), weights="/home/somebody/mobilenet.weights.h5")
    run.begin(recipe, faces, resume=False)
    run.note(fingerprint=dataset.fingerprint)
    write_manifest(run.manifest, dataset, split(dataset, 0.5))
    red_is_happy.save(run.model)
    return run.path


@pytest.fixture
def as_stored() -> "Callable[[Image.Image, int], Image.Image]":
    """Return the pixels that a camera would store for an EXIF orientation."""
    turns = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    return lambda upright, orientation: (
        upright.transpose(turns[orientation]) if orientation > 1 else upright.copy()
    )
