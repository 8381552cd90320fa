"""Time of imports and help, the best of several processes.

python benchmarks/imports.py
"""

import subprocess
import sys
import time
from pathlib import Path

HEAVY = ("tensorflow", "keras", "matplotlib", "sklearn", "scipy", "cv2", "pyarrow", "ray")
HAPPYSAD = str(Path(sys.executable).with_name("happysad"))


def best(command: list[str], repeats: int = 7) -> float:
    """Seconds of the fastest run."""

    def once() -> float:
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        return time.perf_counter() - start

    return min(once() for _ in range(repeats))


def main() -> None:
    """Print a row for each command."""
    rows = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "import happysad": [sys.executable, "-c", "import happysad"],
        "Classifier, read_image": [
            sys.executable,
            "-c",
            "from happysad import Classifier, read_image",
        ],
        "happysad predict --help": [HAPPYSAD, "predict", "--help"],
        "import tensorflow": [sys.executable, "-c", "import tensorflow"],
    }
    for name, command in rows.items():
        print(f"{name:<26} {best(command, 2 if 'tensorflow' in name else 7):6.2f} s")
    found = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, happysad.cli.predict, happysad.classifier, happysad.image; "
            f"print(*sorted(set({HEAVY}) & set(sys.modules)))",
        ],
        check=True,
        capture_output=True,
        text=True,
    )
    print(f"heavy modules that predicting imports: {found.stdout.strip() or 'none'}")


if __name__ == "__main__":
    main()
