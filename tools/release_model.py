"""Train the bundled model on FER2013, export it, place the files.

    python tools/release_model.py FER2013 [WEIGHTS] [OUT]

FER2013 is laid out as tools/release_data.py expects; WEIGHTS are the initial weights (default:
happysad, the bundled ones, which tools/distill.py makes on a GPU). OUT (build/release) gets the
data, the run and the exports. After an interruption, run the same command again; to
train from new weights, remove OUT/release. At the end src/happysad/models/ contains the new model,
weights and checksums.
"""

import shutil
import sys
from dataclasses import replace
from pathlib import Path

from release_data import lay_out

from happysad import released
from happysad.classifier import PRECISIONS
from happysad.export.export import export_run
from happysad.training.checkpoint import Epoch
from happysad.training.network import load_network, write_weights
from happysad.training.recipe import read_recipe
from happysad.training.train import train

RECIPE = Path(__file__).parent.parent / "recipes" / "release.toml"


def main() -> None:
    """Lay out the data, train, export, copy."""
    source, weights, out = [*sys.argv[1:], *["", "happysad", "build/release"][len(sys.argv) - 1 :]]
    data, run = Path(out, "data"), Path(out, "release")
    if not data.exists():
        lay_out(Path(source), data)
    recipe = replace(read_recipe(str(RECIPE)), weights=weights)
    train(data / "training", recipe, run, resume=True, on_epoch=_print_epoch)
    exports = {entry.precision: entry for entry in export_run(run, PRECISIONS).exports}
    for entry in exports.values():
        loss = entry.comparison.loss
        print(f"{entry.precision}: loses {loss:.2f} points, agreement {entry.agreement:.2%}")
    if not exports["int8"].kept:
        sys.exit("int8 loses accuracy; nothing was released")
    shutil.copyfile(exports["int8"].path, released.FOLDER / released.MODEL)
    write_weights(load_network(run / "model.keras"), released.FOLDER / released.WEIGHTS)
    released.write_sums()


def _print_epoch(row: Epoch) -> None:
    print(
        f"epoch {row.epoch}: val loss {row.val_loss:.4f}, val accuracy {row.val_accuracy:.4f}, "
        f"{row.seconds:.0f} s",
        flush=True,
    )


if __name__ == "__main__":
    main()
