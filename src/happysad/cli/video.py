"""One video, camera or stream of `happysad predict`."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from happysad.detector import Detector
    from happysad.video.frames import Video
    from happysad.video.timeline import Event, Timeline
    from happysad.video.watch import Frame, FrameResult


def predict_video(
    source: str,
    detector: "Detector",
    *,
    as_json: bool,
    csv_file: Path | None,
    annotate: Path | None,
    plot: Path | None,
    every: int,
) -> bool:
    """Predict one video and write the requested outputs. Ctrl-C ends a camera or stream.

    Args:
        source: See `happysad.video.frames.Video`.
        detector: Detects and classifies the faces.
        as_json: Print one line per event instead of a table at the end.
        csv_file: CSV file to write, with a row per person and frame.
        annotate: Annotated copy to write: a name ending in .mp4 or .webm, or a folder.
        plot: Plot to write, of each person's probability over time.
        every: Process only every Nth frame.

    Returns:
        Whether the source was read completely; outputs are written in any case.

    Raises:
        ImageError: The source cannot be read.
        HappysadError: An output cannot be written.
        typer.Exit: Status 130: Ctrl-C stopped a file; outputs up to there are written.
    """
    from happysad.files import convert_os_errors
    from happysad.records import printable
    from happysad.video.frames import Video
    from happysad.video.outputs import annotated_path, annotated_video, timeline_rows
    from happysad.video.timeline import Curves, Timeline, clock
    from happysad.video.watch import Watcher

    if plot is not None:
        # Before the work: Matplotlib may be missing.
        from happysad.video.plot import check_plot_path, plot_timeline

        with convert_os_errors(plot):
            check_plot_path(plot)
    timeline, curves = Timeline(), Curves()
    stopped = False
    with ExitStack() as stack:
        video = stack.enter_context(Video(source))
        show = _json_line(source) if as_json else _text_line if video.live else _print_nothing
        outputs: list[Callable[[FrameResult], None]] = []
        draw = None
        if annotate is not None:
            draw = stack.enter_context(annotated_video(annotated_path(annotate, source), video))
        if csv_file is not None:
            outputs.append(stack.enter_context(timeline_rows(csv_file)))
        if plot is not None:
            outputs.append(curves.add)
        watcher, due, result = Watcher(detector), 0, None
        frames = video.frames(every if draw is None else 1)
        try:
            for frame in frames if as_json or video.live else _with_bar(frames, video):
                if frame.number >= due:
                    due = frame.number + every
                    result = watcher.look(frame)
                    for event in timeline.add(result):
                        show(event)
                    for output in outputs:
                        output(result)
                if draw and result:
                    draw(frame, result)
        except KeyboardInterrupt:
            stopped = True
    for event in timeline.end():
        show(event)
    if plot is not None:
        title = printable(Path(source).name)
        info = detector.classifier.info
        # With a softmax, P(happy) alone does not decide whether a label is uncertain.
        band = (1 - info.threshold, info.threshold) if info.output == "sigmoid" else None
        plot_timeline(curves, plot, title=title, band=band, end=timeline.time)
    damaged = video.broken or video.damaged or video.sound_damaged
    whole = not damaged and (video.live or not stopped)
    if as_json:
        persons = len(timeline.persons)
        values = {"frame": timeline.frame, "persons": persons, "whole": whole}
        _print_json(source, "end", timeline.time, values)
    else:
        _print_table(timeline, printable(source))
    if video.broken:
        where = f"{printable(source)}: breaks off after {clock(timeline.time)}"
        message = f"error: {where}; what was seen before is kept"
        typer.secho(message, fg=typer.colors.RED, err=True)
    if video.damaged:
        frames_were = "damaged frame was" if video.damaged == 1 else "damaged frames were"
        message = f"error: {printable(source)}: {video.damaged} {frames_were} skipped"
        typer.secho(message, fg=typer.colors.RED, err=True)
    if video.sound_damaged:
        message = f"error: {printable(source)}: damaged sound is missing from the annotated copy"
        typer.secho(message, fg=typer.colors.RED, err=True)
    if not whole and stopped:
        typer.echo(f"stopped after {clock(timeline.time)}; what was seen before is kept", err=True)
        raise typer.Exit(130)
    return whole


def _with_bar(frames: "Iterator[Frame]", video: "Video") -> "Iterator[Frame]":
    from rich.progress import TextColumn

    from happysad.progress import progress_bar
    from happysad.records import printable

    begin = time.perf_counter()
    with progress_bar(TextColumn("{task.fields[rate]}")) as bar:
        task = bar.add_task(printable(Path(video.name).name), total=video.duration, rate="")
        for frame in frames:
            yield frame
            rate = (frame.number + 1) / (time.perf_counter() - begin)
            bar.update(task, completed=frame.time, rate=f"{rate:.0f} frames/s")


def _json_line(source: str) -> "Callable[[Event], None]":
    from happysad.records import face_record

    def show(event: "Event") -> None:
        values = {
            "frame": event.frame,
            "person": event.person,
            "label": event.prediction.label,
            "scores": face_record(event.prediction)["scores"],
            "probability": round(event.prediction.probability, 6),
            "box": [round(value, 1) for value in event.prediction.face.box],
        }
        _print_json(source, event.kind, event.time, values)

    return show


def _print_json(source: str, event: str, seconds: float, values: dict[str, Any]) -> None:
    from happysad.records import SCHEMA

    line = {"schema": SCHEMA, "path": source, "event": event, "time": round(seconds, 3), **values}
    print(json.dumps(line), flush=True)


def _text_line(event: "Event") -> None:
    from happysad.video.timeline import clock

    what = f"{event.prediction.label}  {event.prediction.probability:.2f}"
    if event.kind == "leaves":
        what = "leaves"
    print(f"{clock(event.time):>8}  person {event.person}  {what}", flush=True)


def _print_nothing(_: "Event") -> None:
    """Files get a table at the end instead."""


def _print_table(timeline: "Timeline", name: str) -> None:
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from happysad.video.timeline import clock

    console = Console(emoji=False)
    if not timeline.persons:
        console.print(f"{escape(name)}: no face was found", highlight=False, soft_wrap=True)
        return
    table = Table(box=box.SIMPLE_HEAD, title=escape(name), title_justify="left")
    for heading in ("person", "from", "to", "happy", "uncertain", "sad", "mean P(happy)"):
        table.add_column(heading, justify="right", no_wrap=True)
    for number, person in timeline.persons.items():
        shares = (f"{person.share(label):.0%}" for label in ("happy", "uncertain", "sad"))
        times = (clock(person.first), clock(person.last))
        table.add_row(str(number), *times, *shares, f"{person.probability:.2f}")
    console.print(table)
