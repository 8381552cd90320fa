"""Make the released model anew, from FER2013 to the files that come with the package.

    python tools/release_model.py FER2013 WEIGHTS [OUT]

FER2013 is laid out as tools/release_data.py says; WEIGHTS is "imagenet", which Keras downloads, or
a file with them. OUT (build/release) gets the data, the run and the exports. Interrupted, the same
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

RECIPE = Path(__file__).parent.parent / "recipes" / "release.toml"


def main() -> None:
    """Lay out, train, export, copy."""
    source, weights = Path(sys.argv[1]), sys.argv[2]
    out = Path(sys.argv[3]) if len(sys.argv) > 3 else Path("build/release")
    if not (out / "data").exists():
        lay_out(source, out / "data")
    recipe = replace(read_recipe(str(RECIPE)), weights=weights)
    run = out / "run"
    train(
        out / "data" / "training",
        recipe,
        run,
        resume=True,
        on_epoch=lambda row: print(
            f"epoch {row.epoch}: val loss {row.val_loss:.4f}, val accuracy {row.val_accuracy:.4f}, "
            f"{row.seconds:.0f} s",
            flush=True,
        ),
    )
    exports = {entry.precision: entry for entry in export_run(run, PRECISIONS)}
    for entry in exports.values():
        print(f"{entry.precision}: {entry.change:+.2f} points, agreement {entry.agreement:.2%}")
    if not exports["int8"].kept:
        sys.exit("int8 loses too much: nothing was released")
    shutil.copyfile(exports["int8"].path, released.FOLDER / released.MODEL)
    write_weights(load_network(run / "model.keras"), released.FOLDER / released.WEIGHTS)
    released.write_sums()


if __name__ == "__main__":
    main()
