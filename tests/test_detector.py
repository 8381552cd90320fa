import copy
import pickle
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from happysad import Detector, ImageError, ModelError
from happysad.classifier import Classifier, Precision
from happysad.dataset.synthetic import draw_scene
from happysad.image import LazyImage, RgbImage, Source, open_image, read_image
from happysad.prediction import ImageResult

Files = dict[Precision, Path]


@pytest.fixture(scope="module")
def hopper() -> Path:
    """Matplotlib's image of Grace Hopper: one face."""
    cbook = pytest.importorskip("matplotlib.cbook")
    return Path(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))


def tinted(image: RgbImage, red: float, blue: float) -> RgbImage:
    return (image * [red, 1, blue]).astype(np.uint8)


def test_each_face_gets_its_own_prediction(model_files: Files, hopper: Path) -> None:
    image = read_image(hopper)
    blue = np.asarray(Image.fromarray(tinted(image, 0.3, 1)).resize((400, 469)))
    both = np.zeros((600, 912, 3), np.uint8)
    both[:, :512], both[:469, 512:] = tinted(image, 1, 0.3), blue

    red, small = Detector(model_files["float32"]).predict(both)

    assert (red.label, small.label) == ("happy", "sad")
    assert red.face.box[0] < 512 < small.face.box[0]


def test_predictions_do_not_depend_on_the_kind_of_source(model_files: Files, hopper: Path) -> None:
    detector = Detector(model_files["float32"])
    (expected,) = detector.predict(hopper)
    with Image.open(hopper) as image, hopper.open("rb") as file:
        sources: list[Source | LazyImage] = [
            str(hopper),
            hopper.read_bytes(),
            BytesIO(hopper.read_bytes()),
            file,
            image,
            np.asarray(image),
            open_image(hopper),
        ]
        for source in sources:
            assert detector.predict(source) == [expected]


def test_a_list_gives_a_list_of_predictions(model_files: Files, hopper: Path) -> None:
    detector = Detector(model_files["float32"])
    empty = np.full((200, 300, 3), 90, np.uint8)
    answers = detector.predict([hopper, empty, hopper])
    assert answers == [detector.predict(hopper), [], detector.predict(hopper)]
    assert detector.predict((hopper,)) == answers[:1]
    assert detector.predict([]) == []


def test_with_whole_the_centred_square_is_the_face(model_files: Files) -> None:
    image = np.full((100, 300, 3), (0, 0, 255), np.uint8)
    image[:, 100:200] = (255, 0, 0)

    (prediction,) = Detector(model_files["float32"], crop="whole").predict(image)

    assert prediction.label == "happy"
    assert prediction.probability == pytest.approx(1 / (1 + np.exp(-4)), abs=0.01)
    assert prediction.face.box == (100, 0, 100, 100)
    assert prediction.face.landmarks == ()
    assert prediction.face.confidence == 1


def test_an_unreadable_image_raises_image_error(
    model_files: Files, tmp_path: Path, hopper: Path
) -> None:
    detector = Detector(model_files["float32"], max_pixels=1000)
    with pytest.raises(ImageError, match="no such file"):
        detector.predict(tmp_path / "gone.jpg")
    with pytest.raises(ImageError, match="limit"):
        detector.predict(hopper)
    cut = hopper.read_bytes()[:20_000]
    with pytest.raises(ImageError, match="truncated"):
        Detector(model_files["float32"]).predict([hopper, cut])


def test_a_model_that_is_missing_is_a_model_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"none\.tflite"):
        Detector(tmp_path / "none.tflite")


def test_sixteen_threads_share_a_detector(model_files: Files, hopper: Path) -> None:
    detector = Detector(model_files["int8"])
    image = read_image(hopper)
    images = [tinted(image, 0.3 + i / 50, 1 - i / 50)[:, : 512 - i] for i in range(32)]
    expected = [detector.predict(picture) for picture in images]

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(detector.predict, images)) == expected


def test_the_packaged_model_is_used_where_none_is_given(hopper: Path) -> None:
    (prediction,) = Detector().predict(hopper)
    assert prediction.label in ("happy", "sad", "uncertain")
    assert 0 < prediction.probability < 1


def test_a_laughing_astronaut_is_happy() -> None:
    data = pytest.importorskip("skimage.data")
    predictions = Detector().predict(data.astronaut())
    assert predictions[0].label == "happy"


@pytest.mark.parametrize("drawn", [(0, 21), (1, 21)])
def test_what_may_not_be_a_photographed_face_gets_no_label(drawn: tuple[int, int]) -> None:
    scene = draw_scene([drawn])
    detector = Detector()
    (large,) = detector.predict(scene)

    assert large.face.confidence < 0.75
    assert max(large.scores.happy, large.scores.sad) > 0.7
    assert large.label == "uncertain"
    # Photographed faces of this size are detected with as little confidence.
    small = np.asarray(Image.fromarray(scene).resize((180, 135)))
    canvas = np.full((600, 800, 3), 200, np.uint8)
    canvas[100:235, 100:280] = small
    labels = {p.label for p in detector.predict(canvas) if p.face.confidence < 0.79}
    assert labels <= {"happy", "sad"}


def test_many_images_give_results_in_order_and_errors_in_place(
    hopper: Path, tmp_path: Path
) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff no more")
    sources: list[Path | bytes] = [
        hopper,
        tmp_path / "broken.jpg",
        hopper.read_bytes(),
        tmp_path / "missing.jpg",
    ]
    opened: list[str] = []

    results = list(
        Detector().predict_many(sources, threads=3, on_image=lambda _, r: opened.append(r.source))
    )

    assert [result.source for result in results] == [
        *map(str, sources[:2]),
        "image",
        str(sources[3]),
    ]
    first, broken, third, missing = results
    assert first.predictions == third.predictions == tuple(Detector().predict(hopper))
    assert broken.error and missing.error
    assert broken.error.reason.startswith("cannot be read")
    assert (missing.error.reason, missing.error.source) == ("no such file", str(sources[3]))
    assert sorted(opened) == sorted([str(hopper), "image"])


def test_a_detector_can_be_pickled_and_copied(hopper: Path) -> None:
    detector = Detector()
    expected = detector.predict(hopper)

    for other in (pickle.loads(pickle.dumps(detector)), copy.deepcopy(detector)):
        assert other.predict(hopper) == expected


def test_an_image_error_survives_pickling() -> None:
    error = pickle.loads(pickle.dumps(ImageError("no such file", "a.jpg")))

    assert (str(error), error.reason, error.source) == (
        "a.jpg: no such file",
        "no such file",
        "a.jpg",
    )


def test_arguments_out_of_range_are_refused() -> None:
    for arguments, says in (
        ({"crop": "Face"}, 'must be "face" or "whole"'),
        ({"formats": "JPEG"}, "formats must be some of JPEG, PNG"),
        ({"formats": ("JPG",)}, "formats must be some of"),
        ({"threads": 0}, "at least 1"),
        ({"model": Classifier(), "threads": 4}, "a classifier has its own threads; omit threads"),
    ):
        with pytest.raises(ValueError, match=says):
            Detector(**arguments)


def test_one_image_is_no_list_of_images() -> None:
    for image in ("party.jpg", b"\xff\xd8", Path("party.jpg")):
        with pytest.raises(TypeError, match="give one image to predict"):
            Detector().predict_many(image)  # type: ignore[arg-type]


def test_an_image_without_pixels_is_an_error() -> None:
    with pytest.raises(ImageError, match="no pixels"):
        Detector().predict(Image.new("RGB", (0, 5)))


def test_an_image_that_vanishes_while_its_copy_is_made_ends_no_batch(tmp_path: Path) -> None:
    paths = [tmp_path / f"{name}.png" for name in "abc"]
    for path in paths:
        Image.new("RGB", (40, 40)).save(path)

    def decode(image: LazyImage, _: ImageResult) -> None:
        raise ImageError("no such file", "image")

    results = Detector().predict_many(paths, 1, decode)
    assert [result.error and result.error.reason for result in results] == ["no such file"] * 3
