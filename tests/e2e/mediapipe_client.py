"""Classify crops with MediaPipe, in an environment of its own: it brings another OpenCV.

python mediapipe_client.py MODEL FOLDER

Prints a JSON object: name of each PNG file → P(sad) and P(happy).
"""

import json
import os
import sys
from pathlib import Path

import mediapipe
from mediapipe.tasks.python import BaseOptions, vision


def main() -> None:
    model, folder = sys.argv[1:]
    options = vision.ImageClassifierOptions(BaseOptions(model_asset_path=model))
    found = {}
    with vision.ImageClassifier.create_from_options(options) as classifier:
        for file in sorted(Path(folder).glob("*.png")):
            result = classifier.classify(mediapipe.Image.create_from_file(str(file)))
            scores = {c.category_name: c.score for c in result.classifications[0].categories}
            found[file.name] = [scores["sad"], scores["happy"]]
        print(json.dumps(found), flush=True)
        # Closing waits for a report to Google, for seconds where no network answers.
        os._exit(0)


if __name__ == "__main__":
    main()
