"""Train the bundled model on FER2013 three times, average the weights, place the files.

    python tools/release_model.py FER2013 [WEIGHTS] [OUT]

FER2013 is laid out as tools/release_data.py expects; WEIGHTS are the initial weights (default:
happysad, the bundled ones). OUT (build/release) gets the data, the runs and the exports. After an
interruption, run the same command again. At the end src/happysad/models/ contains the new model,
weights and checksums.

The trainings differ in their seed and start from the same weights, so the mean of their weights is
a better network than each of them: Wortsman et al. 2022, "Model soups". An image that one of them
held back, the others trained on: the average's validation metrics are optimistic, and only the test
set measures it.
"""

import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from release_data import lay_out

from happysad import released
from happysad.classifier import PRECISIONS
from happysad.export.export import export_run
from happysad.training.checkpoint import Epoch
from happysad.training.network import load_network, write_weights
from happysad.training.recipe import read_recipe
from happysad.training.train import train

SEEDS = (0, 1, 2)
RECIPE = Path(__file__).parent.parent / "recipes" / "release.toml"


def main() -> None:
    """Lay out the data, train, export, copy."""
    source, weights, out = [*sys.argv[1:], *["", "happysad", "build/release"][len(sys.argv) - 1 :]]
    data, run = Path(out, "data"), Path(out, "release")
    if not data.exists():
        lay_out(Path(source), data)
    runs = [Path(out, f"seed-{seed}") for seed in SEEDS]
    for seed, each in zip(SEEDS, runs, strict=True):
        recipe = replace(read_recipe(str(RECIPE)), weights=weights, seed=seed)
        train(data / "training", recipe, each, resume=True, on_epoch=_print_epoch)
    average(runs, run)
    exports = {entry.precision: entry for entry in export_run(run, PRECISIONS).exports}
    for entry in exports.values():
        loss = entry.comparison.loss
        print(f"{entry.precision}: loses {loss:.2f} points, agreement {entry.agreement:.2%}")
    if not exports["int8"].kept:
        sys.exit("int8 loses accuracy; nothing was released")
    shutil.copyfile(exports["int8"].path, released.FOLDER / released.MODEL)
    write_weights(load_network(run / "model.keras"), released.FOLDER / released.WEIGHTS)
    released.write_sums()


def average(runs: list[Path], out: Path) -> None:
    """Make a run directory with the mean of the weights, otherwise a copy of the first run."""
    networks = [load_network(run / "model.keras") for run in runs]
    weights = zip(*(network.get_weights() for network in networks), strict=True)
    networks[0].set_weights([np.mean(arrays, axis=0, dtype=np.float64) for arrays in weights])
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(runs[0], out)
    networks[0].save(out / "model.keras")


def _print_epoch(row: Epoch) -> None:
    print(
        f"epoch {row.epoch}: val loss {row.val_loss:.4f}, val accuracy {row.val_accuracy:.4f}, "
        f"{row.seconds:.0f} s",
        flush=True,
    )


if __name__ == "__main__":
    main()
