"""What a video comes to: what changed when, and each person's share of labels."""

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
        kind: What happens.
        time: When, in seconds from the beginning; of one who leaves, when they were last seen.
        frame: The number of the frame, counted from 0.
        person: The person's number, from 1.
        prediction: The state then: of one who leaves, the last.
    """

    kind: Literal["appears", "changes", "leaves"]
    time: float
    frame: int
    person: int
    prediction: Prediction


@dataclass
class Person:
    """One person's part in a video.

    Attributes:
        first: When first seen, in seconds from the beginning.
        last: When last seen.
        looks: In how many of the frames that were looked at the person was seen, by label.
        total: The sum of the smoothed probabilities over these.
    """

    first: float
    last: float
    looks: Counter[Label] = field(default_factory=Counter)
    total: float = 0.0

    def share(self, label: Label) -> float:
        """In what part of the frames that show the person the label was this one, 0–1."""
        return self.looks[label] / self.looks.total()

    @property
    def probability(self) -> float:
        """The mean P(happy), 0–1."""
        return self.total / self.looks.total()


class Timeline:
    """Adds up moments.

    Attributes:
        persons: All that were seen, by number.
        time: Of the last moment, in seconds.
        frame: The number of its frame; -1 before the first.
    """

    def __init__(self) -> None:
        self.persons: dict[int, Person] = {}
        self.time = 0.0
        self.frame = -1
        self._present: dict[int, Event] = {}

    def add(self, moment: FrameResult) -> Iterator[Event]:
        """Take in the next moment, and yield what changed with it."""
        self.time, self.frame = moment.time, moment.frame
        for number in moment.left:
            yield self._leave(number)
        for number, prediction in moment.persons.items():
            person = self.persons.setdefault(number, Person(moment.time, moment.time))
            person.last = moment.time
            person.looks[prediction.label] += 1
            person.total += prediction.probability
            before = self._present.get(number)
            kind: Literal["appears", "changes"] = "changes" if before else "appears"
            event = Event(kind, moment.time, moment.frame, number, prediction)
            self._present[number] = event
            if before is None or before.prediction.label != prediction.label:
                yield event

    def end(self) -> Iterator[Event]:
        """Let everybody leave who is still there."""
        for number in list(self._present):
            yield self._leave(number)

    def _leave(self, number: int) -> Event:
        last = self._present.pop(number)
        return Event("leaves", last.time, last.frame, number, last.prediction)


class Curves:
    """Each person's probability over time, in a bounded number of points.

    What was seen within a step of time becomes one point, its mean. The step begins at a quarter
    of a second; when all persons together have over `LIMIT` points, it is doubled.
    """

    LIMIT: Final = 50_000

    def __init__(self) -> None:
        self._step = 0.25
        self._bins: dict[int, dict[int, tuple[float, int]]] = {}
        self._points = 0
        self._time: float | None = None
        self._longest = 0.0

    def add(self, moment: FrameResult) -> None:
        """Take in the next moment."""
        if self._time is not None:
            self._longest = max(self._longest, moment.time - self._time)
        self._time = moment.time
        for number, prediction in moment.persons.items():
            bins = self._bins.setdefault(number, {})
            index = int(moment.time / self._step)
            self._points += index not in bins
            total, count = bins.get(index, (0.0, 0))
            bins[index] = (total + prediction.probability, count + 1)
        while self._points > self.LIMIT and self._points > len(self._bins):
            self._halve()

    def _halve(self) -> None:
        self._step *= 2
        for number, bins in self._bins.items():
            coarse: dict[int, tuple[float, int]] = {}
            for index, (total, count) in bins.items():
                before = coarse.get(index // 2, (0.0, 0))
                coarse[index // 2] = (before[0] + total, before[1] + count)
            self._bins[number] = coarse
        self._points = sum(len(bins) for bins in self._bins.values())

    def persons(self, most: int) -> list[int]:
        """List the persons, at most so many: those seen longest, in the order of their numbers."""
        longest = sorted(self._bins, key=lambda number: len(self._bins[number]), reverse=True)
        return sorted(longest[:most])

    def __len__(self) -> int:
        return len(self._bins)

    def curve(self, person: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Draw one person's curve.

        Returns:
            Times in seconds and mean probabilities 0–1, ``float64 [N]`` each; a NaN among the
            latter stands where the person was not seen for a while.
        """
        bins = self._bins[person]
        times = [(index + 0.5) * self._step for index in bins]
        values = [total / count for total, count in bins.values()]
        # Looks that lie further apart than the steps leave no gap.
        gap = max(1.5 * self._step, 1.5 * self._longest)
        breaks = [i for i, (a, b) in enumerate(pairwise(times), start=1) if b - a > gap]
        return np.insert(times, breaks, np.nan), np.insert(values, breaks, np.nan)


def clock(seconds: float) -> str:
    """Write a time as a player shows it: ``1:05``, ``2:00:05``; ``0:01.5`` where it is no whole."""
    tenths = round(seconds * 10)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    head = f"{hours}:{minutes:02}" if hours else f"{minutes}"
    return f"{head}:{rest // 10:02}" + (f".{rest % 10}" if rest % 10 else "")
