"""What a job comes to, for people and for programs: counts, P(happy), the first failures."""

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

from happysad.records import ImageRecord, Summary

BINS: Final = 10
"""P(happy) is counted in so many steps between 0 and 1."""

_FIRST: Final = 10
_BAR: Final = 40


@dataclass
class Scores:
    """The sum of some parts.

    Attributes:
        counts: Images by status, faces by label.
        histogram: How many faces have P(happy) in each of `BINS` steps.
        size: Bytes of the images that could be read.
        seconds: That workers took, waiting included.
        failures: The first images that could not be read: part, URI, error.
    """

    counts: Summary = field(default_factory=Summary)
    histogram: list[int] = field(default_factory=lambda: [0] * BINS)
    size: int = 0
    seconds: float = 0.0
    failures: list[tuple[int, str, str]] = field(default_factory=list)

    def add(self, part: int, record: ImageRecord, size: int) -> None:
        """Count one image."""
        self.counts.add(record)
        self.size += size
        for face in record["faces"]:
            self.histogram[min(BINS - 1, int(face["probability"] * BINS))] += 1
        if "error" in record and len(self.failures) < _FIRST:
            self.failures.append((part, record["path"], record["error"]))

    def merge(self, other: "Scores") -> None:
        """Add another sum; in which order, makes no difference."""
        self.counts.statuses.update(other.counts.statuses)
        self.counts.labels.update(other.counts.labels)
        self.histogram = [a + b for a, b in zip(self.histogram, other.histogram, strict=True)]
        self.size += other.size
        self.seconds += other.seconds
        # Stable: within a part they keep the order of its images.
        self.failures = sorted(self.failures + other.failures, key=lambda f: f[0])[:_FIRST]

    def to_dict(self) -> dict[str, Any]:
        """Write it down for `json`."""
        return {
            "images": self.counts.images,
            "statuses": {name: self.counts.statuses[name] for name in ("ok", "no face", "error")},
            "labels": {name: self.counts.labels[name] for name in ("happy", "sad", "uncertain")},
            "histogram": self.histogram,
            "bytes": self.size,
            "worker_seconds": round(self.seconds, 3),
            "failures": [
                {"part": part, "uri": uri, "error": error} for part, uri, error in self.failures
            ],
        }

    @staticmethod
    def from_json(text: str | bytes) -> "Scores":
        """Read what `to_dict` wrote."""
        value = json.loads(text)
        counts = Summary()
        counts.statuses = Counter(value["statuses"])
        counts.labels = Counter(value["labels"])
        failures = [(item["part"], item["uri"], item["error"]) for item in value["failures"]]
        return Scores(counts, value["histogram"], value["bytes"], value["worker_seconds"], failures)

    def chart(self) -> str:
        """Draw the histogram as lines of text."""
        most = max(1, *self.histogram)
        lines = [f"P(happy)  {'faces':>13}"]
        for number, faces in enumerate(self.histogram):
            bar = "█" * round(_BAR * faces / most)
            lines.append(f"{step(number):<8}  {faces:>13,}  {bar}".rstrip())
        return "\n".join(lines)


def step(number: int) -> str:
    """Name one of the steps of P(happy)."""
    return f"{number / BINS:.1f}–{(number + 1) / BINS:.1f}"
