"""`happysad dataset`: import datasets, check them, crop photographs, draw practice faces."""

import json
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from happysad.quiet import start_litert

if TYPE_CHECKING:
    from happysad.dataset.check import CheckResult


def register(app: typer.Typer) -> None:
    """Add the sub-commands of ``happysad dataset``."""
    dataset = typer.Typer(
        no_args_is_help=True,
        help="""Import datasets, check them, crop photographs, draw practice faces.

        A dataset is a folder with happy/ and sad/ in it: images of one face each.

        Examples:
          happysad dataset crop photos/ --out faces
          happysad dataset check faces/ --report check.html
        """,
    )
    dataset.command("import")(import_)
    dataset.command("check")(check)
    dataset.command("crop")(crop)
    dataset.command("draw")(draw)
    app.add_typer(dataset, name="dataset")


def import_(
    source: Annotated[
        Path,
        typer.Argument(
            help="fer2013.csv, a Parquet file or folder from Hugging Face, a CSV with the columns "
            "path,label (optionally group,split), or a folder with a subfolder of images for each "
            "label. The content decides."
        ),
    ],
    out: Annotated[Path, typer.Option(help="The folder to create; it must not exist.")],
    labels: Annotated[
        str | None,
        typer.Option(
            metavar="sad=0,happy=1",
            help="The source's labels for sad and happy, if they have other names.",
        ),
    ] = None,
    others: Annotated[
        bool,
        typer.Option("--others", help="Also import other emotions, into other/EMOTION."),
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Stop at the first row that cannot be used.")
    ] = False,
    votes: Annotated[
        Path | None,
        typer.Option(
            metavar="TABLE",
            help="CSV of what several people said: FER+'s fer2013new.csv, a column of counts per "
            "answer, or rows of path,annotator,label.",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the counts as JSON instead of a table.")
    ] = False,
) -> None:
    """Import a known format into a dataset: folders happy and sad in OUT/training.

    Images of other emotions are counted and skipped unless --others is given.
    Splits of the source (train, validation, test) become folders; images without
    a split go to training. Votes are written to votes.csv in these folders.

    Examples:
      happysad dataset import fer2013.csv --out fer2013
      happysad dataset import train.parquet --out faces --labels sad=4,happy=3
      happysad dataset import caras --out faces --labels sad=triste,happy=feliz
      happysad dataset import fer2013.csv --out fer --votes fer2013new.csv
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from happysad.dataset.importers import import_dataset, parse_labels
    from happysad.records import printable

    done = import_dataset(
        source,
        out,
        labels=parse_labels(labels) if labels is not None else None,
        others=others,
        strict=strict,
        votes=votes,
    )
    found = ["happy", "sad", *sorted({label for _, label in done.counts} - {"happy", "sad"})]
    splits = {
        split: {label: done.counts[split, label] for label in found}
        for split in sorted({split for split, _ in done.counts})
    }
    if as_json:
        typer.echo(
            json.dumps(
                {"splits": splits, "left_out": done.left_out, "bad": done.bad, "voted": done.voted}
            )
        )
    else:
        table = Table("folder", *map(escape, found))
        for split, counts in splits.items():
            table.add_row(
                escape(printable(str(out / split))), *(f"{count:,}" for count in counts.values())
            )
        Console(emoji=False).print(table)
    if done.left_out and not as_json:
        left_out = ", ".join(f"{label} {count:,}" for label, count in done.left_out.most_common())
        typer.echo(f"skipped, neither happy nor sad: {left_out}")
    if done.voted and not as_json:
        typer.echo(f"images with votes: {done.voted:,} of {done.counts.total():,}")
    for problem in done.bad:
        typer.echo(f"skipped: {problem}", err=True)
    if done.bad:
        typer.echo(f"{len(done.bad):,} rows could not be used", err=True)
        raise typer.Exit(1)


def check(
    folder: Annotated[Path, typer.Argument(help="A folder with happy/ and sad/ in it.")],
    against: Annotated[
        Path | None,
        typer.Option(
            help="Another dataset, such as the test set, that must share no image with it."
        ),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(
            help="A .tflite file to find doubtful labels with; default: the bundled model."
        ),
    ] = None,
    report: Annotated[Path | None, typer.Option(help="HTML report to write, with images.")] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print every finding as JSON instead of a table.")
    ] = False,
) -> None:
    """Check a dataset before training on it.

    Finds images that are unreadable, duplicate or nearly so, under two labels,
    probably mislabelled, without a face or with several, tiny or blurred, and
    counts the classes, other/ included. Nothing is changed. The exit status is 1 if an image
    cannot be read.

    Examples:
      happysad dataset check faces/
      happysad dataset check faces/ --against faces-test/ --report check.html
    """
    from dataclasses import asdict

    from happysad.dataset.check import check as run_check

    start_litert()
    checked = run_check(folder, against=against, model=model)
    if report:
        from happysad.dataset.gallery import write_gallery

        write_gallery(report, checked)
    if as_json:
        facts = {"images": checked.images, "shorter_sides": checked.sides}
        found = [asdict(finding) for finding in checked.findings]
        typer.echo(json.dumps(facts | {"counts": checked.counts, "findings": found}, indent=1))
    else:
        _print_checked(checked)
        if report:
            typer.echo(f"Images: {report}")
    if checked.counts["unreadable"]:
        raise typer.Exit(1)


def _print_checked(checked: "CheckResult") -> None:
    from itertools import islice

    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from happysad.dataset.check import ADVICE, KINDS
    from happysad.prediction import LABELS
    from happysad.records import printable

    console = Console(emoji=False)
    counts = ", ".join(
        f"{count:,} {escape(printable(label))}" for label, count in checked.images.items()
    )
    short, middle, long = checked.sides
    console.print(f"{counts} images; shorter sides {short} to {long} pixels, median {middle}")
    happy_and_sad = [checked.images[label] for label in LABELS]
    if max(happy_and_sad) > 3 * min(happy_and_sad):
        console.print("[yellow]One class is over three times the other: add to the smaller one.[/]")
    table = Table(box=box.SIMPLE_HEAD)
    for column in ("found", "images", "for example"):
        table.add_column(column, justify="right" if column == "images" else "left")
    for kind in KINDS:
        found = (finding for finding in checked.findings if finding.kind == kind)
        examples = [f"{finding.path}: {finding.detail}" for finding in islice(found, 2)]
        if examples:
            lines = "\n".join(escape(printable(example)) for example in examples)
            table.add_row(kind, f"{checked.counts[kind]:,}", f"{lines}\n[dim]{ADVICE[kind]}[/dim]")
    console.print(table if table.row_count else "No problems found.")


def crop(
    source: Annotated[Path, typer.Argument(help="A folder of photographs, searched recursively.")],
    out: Annotated[Path, typer.Option(help="The folder to create; it must not exist.")],
    size: Annotated[int, typer.Option(min=16, max=1024, help="Side of the crops in pixels.")] = 224,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the counts as JSON instead of lines.")
    ] = False,
) -> None:
    """Crop faces out of photographs for training, framed as predict does.

    Of each image the largest face, as a PNG file in the same place in OUT. What
    has no face or cannot be read is skipped and listed in OUT/skipped.csv; what
    has several faces is listed in OUT/several.csv.

    Examples:
      happysad dataset crop photos/ --out faces
      happysad dataset crop photos/ --out faces --size 160 --json
    """
    from happysad.dataset.crop import SEVERAL_FILE, SKIPPED_FILE, crop_folder
    from happysad.records import printable

    start_litert()
    done = crop_folder(source, out, size)
    if as_json:
        counts = {
            "crops": len(done.crops),
            "several_faces": len(done.several),
            "no_face": len(done.no_face),
            "unreadable": done.unreadable,
        }
        typer.echo(json.dumps(counts))
    else:
        typer.echo(f"{len(done.crops):,} faces in {out}")
        if done.several:
            typer.echo(f"{_count(done.several)} several, see {out / SEVERAL_FILE}")
        if done.no_face:
            typer.echo(f"{_count(done.no_face)} none, see {out / SKIPPED_FILE}")
    for name, problem in done.unreadable.items():
        typer.echo(f"skipped: {printable(name)}: {printable(problem)}", err=True)
    if done.unreadable:
        typer.echo(f"{len(done.unreadable):,} images could not be read", err=True)
        raise typer.Exit(1)


def _count(images: Collection[object]) -> str:
    return "1 image has" if len(images) == 1 else f"{len(images):,} images have"


def draw(
    out: Annotated[Path, typer.Option(help="The folder to create; it must not exist.")],
    count: Annotated[int, typer.Option(min=2, help="Number of faces, half of them happy.")] = 400,
    seed: Annotated[int, typer.Option(min=0, help="Random seed.")] = 0,
) -> None:
    """Draw a practice dataset of cartoon faces: OUT/happy/*.png and OUT/sad/*.png.

    For trying things out: a model trained on drawings does not work on photographs.

    Examples:
      happysad dataset draw --out faces --count 500
      happysad dataset draw --out faces-test --count 200 --seed 1
    """
    from happysad.dataset.synthetic import make_dataset

    make_dataset(out, count, seed)
    typer.echo(f"{count:,} faces in {out}")
