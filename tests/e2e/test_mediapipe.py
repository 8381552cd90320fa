"""The bundled model in MediaPipe, a client that is not part of this project."""

import json
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest

from happysad.classifier import Classifier
from happysad.dataset.synthetic import draw_face
from happysad.released import FOLDER, MODEL

PYTHON = Path(__file__).parents[2] / ".venv-mediapipe" / "bin" / "python"


@pytest.mark.skipif(not PYTHON.exists(), reason="MediaPipe is not installed; run: make mediapipe")
def test_mediapipe_gives_the_same_scores_as_happysad(tmp_path: Path) -> None:
    classifier = Classifier()
    size = classifier.info.input_size
    crops = [draw_face(i % 2, np.random.default_rng(i), size) for i in range(200)]
    for i, crop in enumerate(crops):
        cv2.imwrite(str(tmp_path / f"{i:03}.png"), cv2.cvtColor(crop, cv2.COLOR_RGB2BGR))
    client = Path(__file__).with_name("mediapipe_client.py")
    command = [PYTHON, client, FOLDER / MODEL, tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    theirs = json.loads(done.stdout.splitlines()[-1])
    ours = classifier.scores(np.stack(crops))
    assert len(theirs) == 200 and np.ptp(ours) > 0.5
    # MediaPipe's integer kernels round differently.
    difference = np.abs(np.array(list(theirs.values())) - ours)
    assert difference.mean() < 0.02 and difference.max() < 0.25
