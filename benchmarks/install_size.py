"""How large is an install? happysad's light one, and other packages by name.

python benchmarks/install_size.py [PACKAGE ...]

Each goes into a fresh virtual environment of its own in a temporary folder: the sizes of the files
that pip added, and how many packages. For example with the peers: fer deepface py-feat (several
gigabytes each, and some of them download more when they first run).
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]
ROOM = 20e9


def size(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())


def install(package: str, folder: Path) -> tuple[int, int] | None:
    """Install a package afresh; returns the bytes and the packages added, None where pip fails."""
    venv.create(folder, with_pip=True)
    (packages,) = folder.glob("[lL]ib/**/site-packages")
    before, had = size(folder), len(list(packages.glob("*.dist-info")))
    python = next(path for path in folder.glob("*/python*") if path.stem == "python")
    done = subprocess.run(
        [str(python), "-m", "pip", "install", "--quiet", package], capture_output=True, text=True
    )
    if done.returncode:
        print(f"{package}: pip failed: {done.stderr.strip()[-300:]}", file=sys.stderr)
        return None
    return size(folder) - before, len(list(packages.glob("*.dist-info"))) - had


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("package", nargs="*")
    print("| install | MB | packages | ratio |\n" + "| --- " * 4 + "|")
    own = None
    for package in [str(ROOT), *parser.parse_args().package]:
        with tempfile.TemporaryDirectory() as name:
            if shutil.disk_usage(name).free < ROOM:
                sys.exit(f"{name}: less than {ROOM / 1e9:g} GB free; make room, or set TMPDIR")
            added = install(package, Path(name))
        if added:
            own = own or added[0]
            what = "happysad" if package == str(ROOT) else package
            print(
                f"| {what} | {added[0] / 1e6:,.0f} | {added[1]} | {added[0] / own:.1f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
