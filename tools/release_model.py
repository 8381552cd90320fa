"""Make the released model anew, from FER2013 to the files that come with the package.

    python tools/release_model.py FER2013 WEIGHTS [OUT]

FER2013 is laid out as tools/release_data.py says; WEIGHTS is "imagenet", which Keras downloads, or
a file with them. OUT (build/release) gets the data, the runs and the exports. Interrupted, the same
command goes on. At the end src/happysad/models/ holds the new model, weights and sums.
"""

import shutil
import sys
from dataclasses import replace
from pathlib import Path

from release_data import lay_out

from happysad import released
from happysad.classifier import PRECISIONS
from happysad.export.export import export_run
from happysad.training.network import load_network, write_weights
from happysad.training.recipe import read_recipe
from happysad.training.train import train

RECIPES = Path(__file__).parent.parent / "recipes"
PARTS = ("release-96", "release")
"""Recipes, each of which goes on from the network of the one before."""


def main() -> None:
    """Lay out, train, export, copy."""
    source, weights = Path(sys.argv[1]), sys.argv[2]
    out = Path(sys.argv[3]) if len(sys.argv) > 3 else Path("build/release")
    if not (out / "data").exists():
        lay_out(source, out / "data")
    for part in PARTS:
        run = out / part
        train(
            out / "data" / "training",
            replace(read_recipe(str(RECIPES / f"{part}.toml")), weights=weights),
            run,
            resume=True,
            on_epoch=lambda row: print(
                f"epoch {row.epoch}: val loss {row.val_loss:.4f}, "
                f"val accuracy {row.val_accuracy:.4f}, {row.seconds:.0f} s",
                flush=True,
            ),
        )
        weights = str(run / "model.keras")
    exports = {entry.precision: entry for entry in export_run(run, PRECISIONS).exports}
    for entry in exports.values():
        loss = entry.comparison.loss
        print(f"{entry.precision}: loses {loss:.2f} points, agreement {entry.agreement:.2%}")
    if not exports["int8"].kept:
        sys.exit("int8 loses too much: nothing was released")
    shutil.copyfile(exports["int8"].path, released.FOLDER / released.MODEL)
    write_weights(load_network(run / "model.keras"), released.FOLDER / released.WEIGHTS)
    released.write_sums()


if __name__ == "__main__":
    main()
