"""Summary of a video: events, share of labels per person, and curves over time."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from happysad.prediction import Label, Prediction
from happysad.video.watch import FrameResult


@dataclass(frozen=True)
class Event:
    """A person appears, gets another label, or leaves.

    Attributes:
        kind: The kind of event.
        time: In seconds from the beginning; for ``"leaves"``, when the person was last seen.
        frame: Index of the frame, from 0.
        person: Number of the person, from 1.
        prediction: The prediction at that time.
    """

    kind: Literal["appears", "changes", "leaves"]
    time: float
    frame: int
    person: int
    prediction: Prediction


@dataclass
class Person:
    """Statistics of one person in a video.

    Attributes:
        first: When first seen, in seconds from the beginning.
        last: When last seen.
        frames: Number of processed frames that show the person, by label.
        total: Sum of the smoothed probabilities over these frames.
    """

    first: float
    last: float
    frames: Counter[Label] = field(default_factory=Counter)
    total: float = 0.0

    def share(self, label: Label) -> float:
        """Return the share of the person's frames that have a label, 0–1."""
        return self.frames[label] / self.frames.total()

    @property
    def probability(self) -> float:
        """Mean P(happy), 0–1."""
        return self.total / self.frames.total()


class Timeline:
    """Accumulates the results of frames.

    Attributes:
        persons: All persons seen so far: number → statistics.
        time: Timestamp of the last frame, in seconds.
        frame: Index of the last frame; -1 before the first.
    """

    def __init__(self) -> None:
        self.persons: dict[int, Person] = {}
        self.time = 0.0
        self.frame = -1
        self._present: dict[int, Event] = {}

    def add(self, result: FrameResult) -> Iterator[Event]:
        """Add the result of the next frame and yield the events in it."""
        self.time, self.frame = result.time, result.frame
        for number in result.left:
            yield self._leave(number)
        for number, prediction in result.persons.items():
            person = self.persons.setdefault(number, Person(result.time, result.time))
            person.last = result.time
            person.frames[prediction.label] += 1
            person.total += prediction.probability
            before = self._present.get(number)
            kind: Literal["appears", "changes"] = "changes" if before else "appears"
            event = Event(kind, result.time, result.frame, number, prediction)
            self._present[number] = event
            if before is None or before.prediction.label != prediction.label:
                yield event

    def end(self) -> Iterator[Event]:
        """End the video: everybody who is present leaves."""
        for number in list(self._present):
            yield self._leave(number)

    def _leave(self, number: int) -> Event:
        last = self._present.pop(number)
        return Event("leaves", last.time, last.frame, number, last.prediction)


_EMPTY: Final = (0.0, 0.0, 0)


class Curves:
    """Each person's probability over time, in a bounded number of points.

    Each point is the mean over the frames in one time step. The step starts at a quarter of a
    second and is doubled whenever all persons together have more than `LIMIT` points.
    """

    LIMIT: Final = 50_000

    def __init__(self) -> None:
        self._step = 0.25
        # Of each person and time step: the sums of the times and probabilities, and the count.
        self._bins: dict[int, dict[int, tuple[float, float, int]]] = {}
        self._points = 0
        self._time: float | None = None
        self._longest = 0.0

    def add(self, result: FrameResult) -> None:
        """Add the result of the next frame."""
        if self._time is not None:
            self._longest = max(self._longest, result.time - self._time)
        self._time = result.time
        for number, prediction in result.persons.items():
            bins = self._bins.setdefault(number, {})
            index = int(result.time / self._step)
            self._points += index not in bins
            times, total, count = bins.get(index, _EMPTY)
            bins[index] = (times + result.time, total + prediction.probability, count + 1)
        while self._points > self.LIMIT and self._points > len(self._bins):
            self._halve()

    def _halve(self) -> None:
        self._step *= 2
        for number, bins in self._bins.items():
            coarse: dict[int, tuple[float, float, int]] = {}
            for index, (times, total, count) in bins.items():
                before = coarse.get(index // 2, _EMPTY)
                coarse[index // 2] = (before[0] + times, before[1] + total, before[2] + count)
            self._bins[number] = coarse
        self._points = sum(len(bins) for bins in self._bins.values())

    def persons(self, most: int, shortest: float = 0.0) -> list[int]:
        """Return the numbers of the ``most`` persons seen longest, in ascending order.

        Args:
            most: Maximum number of persons.
            shortest: Persons seen for fewer seconds are omitted.
        """
        # Who is gone for long returns under another number. Bins between frames may be empty.
        seen = {
            number: (max(bins) - min(bins) + 1) * self._step for number, bins in self._bins.items()
        }
        longest = sorted(seen, key=lambda number: seen[number], reverse=True)
        return sorted(number for number in longest[:most] if seen[number] >= shortest)

    def __len__(self) -> int:
        return len(self._bins)

    def curve(self, person: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return one person's curve.

        Returns:
            Times in seconds and mean probabilities 0–1, ``float64 [N]`` each, with NaN where the
            person was not seen for a while.
        """
        bins = self._bins[person]
        times = [seconds / count for seconds, _, count in bins.values()]
        values = [total / count for _, total, count in bins.values()]
        # Frames further apart than a step do not make a gap.
        gap = max(1.5 * self._step, 1.5 * self._longest)
        breaks = [
            i for i, (a, b) in enumerate(pairwise(bins), start=1) if (b - a) * self._step > gap
        ]
        return np.insert(times, breaks, np.nan), np.insert(values, breaks, np.nan)


def clock(seconds: float) -> str:
    """Format a time like a video player: ``1:05``, ``2:00:05``, ``0:01.5``."""
    tenths = round(seconds * 10)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    head = f"{hours}:{minutes:02}" if hours else f"{minutes}"
    return f"{head}:{rest // 10:02}" + (f".{rest % 10}" if rest % 10 else "")
