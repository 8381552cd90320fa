"""Run the demo with several seeds while emulating other processors.

oneDNN and Eigen take other code paths on other processors, round differently, and a training ends
elsewhere. Each run is the command ``happysad demo`` in a process of its own; the table shows its
exit status, its accuracy on the 200 test faces, and its wall-clock and CPU time.

    python benchmarks/demo.py --seeds 10 --csv build/demo.csv
"""

import argparse
import csv
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

EMULATIONS: Final = {
    "default": {},
    "no oneDNN": {"TF_ENABLE_ONEDNN_OPTS": "0"},
    "AVX2": {"ONEDNN_MAX_CPU_ISA": "AVX2"},
    "SSE4.1": {"ONEDNN_MAX_CPU_ISA": "SSE41"},
}
"""Environment variables that make TensorFlow compute as on another processor."""


def run_demo(environment: dict[str, str], seed: int) -> dict[str, float]:
    """Run the demo once; the accuracy is NaN where it failed before evaluation."""
    with TemporaryDirectory() as folder:
        out = Path(folder, "demo")
        command = [sys.executable, "-m", "happysad", "demo", "--out", str(out), "--seed", str(seed)]
        cpu, start = _cpu_seconds(), time.perf_counter()
        done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True)
        seconds, cpu = time.perf_counter() - start, _cpu_seconds() - cpu
        metrics = out / "run" / "evaluation-faces-test" / "metrics.json"
        accuracy = float("nan")
        if metrics.is_file():
            accuracy = json.loads(metrics.read_text("utf-8"))["figures"]["accuracy"]["value"]
        if done.returncode:
            print(done.stdout[-2000:], done.stderr[-2000:], sep="\n", file=sys.stderr)
    return {"status": done.returncode, "accuracy": accuracy, "seconds": seconds, "cpu": cpu}


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    """Print a row per run, then a summary per emulation."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=3, help="seeds 0 to N-1 (default: 3)")
    parser.add_argument("--csv", type=Path, help="also write the rows to this file")
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for seed in range(arguments.seeds):
        for name, environment in EMULATIONS.items():
            row = {"emulation": name, "seed": seed, **run_demo(environment, seed)}
            rows.append(row)
            print(
                f"{name:<10} seed {seed}  status {row['status']}  accuracy {row['accuracy']:.4f}  "
                f"{row['seconds']:5.1f} s  {row['cpu']:5.1f} s of CPU time",
                flush=True,
            )
            if arguments.csv:
                arguments.csv.parent.mkdir(parents=True, exist_ok=True)
                with arguments.csv.open("w", newline="", encoding="utf-8") as file:
                    writer = csv.DictWriter(file, list(row))
                    writer.writeheader()
                    writer.writerows(rows)
    for name in EMULATIONS:
        own = [row for row in rows if row["emulation"] == name]
        accuracies = sorted(float(row["accuracy"]) for row in own)
        print(
            f"{name:<10} {sum(row['status'] == 0 for row in own)} of {len(own)} succeeded, "
            f"accuracy {accuracies[0]:.4f} to {accuracies[-1]:.4f}"
        )


if __name__ == "__main__":
    main()
