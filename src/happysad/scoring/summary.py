"""The summary of a scoring job: counts, a histogram of P(happy), the first failures."""

import json
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from happysad.records import ImageRecord, Summary
from happysad.sources import SkippedFiles

BINS: Final = 10
"""Bins of the histogram of P(happy) between 0 and 1."""

_FIRST: Final = 10
_BAR: Final = 40
_TEXT: Final = 25


@dataclass
class ScoringSummary:
    """The summary of one or more chunks.

    Attributes:
        counts: Images by status, faces by label.
        histogram: Number of faces in each of `BINS` bins of P(happy).
        size: Total bytes of the images, including those that could not be decoded.
        seconds: Time that workers took, waiting included.
        failures: The first images that could not be read: chunk, URI, error.
        skipped: Members of tars that are not images.
    """

    counts: Summary = field(default_factory=Summary)
    histogram: list[int] = field(default_factory=lambda: [0] * BINS)
    size: int = 0
    seconds: float = 0.0
    failures: list[tuple[int, str, str]] = field(default_factory=list)
    skipped: SkippedFiles = field(default_factory=SkippedFiles)

    def add(self, chunk: int, record: ImageRecord, size: int) -> None:
        """Count one image of ``size`` bytes."""
        self.counts.add(record)
        self.size += size
        for face in record["faces"]:
            self.histogram[min(BINS - 1, int(face["probability"] * BINS))] += 1
        if "error" in record and len(self.failures) < _FIRST:
            self.failures.append((chunk, record["path"], record["error"]))

    def merge(self, other: "ScoringSummary") -> None:
        """Add another summary. The order of merging does not matter."""
        self.counts.statuses.update(other.counts.statuses)
        self.counts.labels.update(other.counts.labels)
        self.histogram = [a + b for a, b in zip(self.histogram, other.histogram, strict=True)]
        self.size += other.size
        self.seconds += other.seconds
        # A stable sort keeps the order of images within a chunk.
        self.failures = sorted(self.failures + other.failures, key=lambda f: f[0])[:_FIRST]
        self.skipped.merge(other.skipped)

    def to_dict(self) -> dict[str, Any]:
        """Convert to JSON values."""
        return {
            "images": self.counts.images,
            "statuses": {name: self.counts.statuses[name] for name in ("ok", "no face", "error")},
            "labels": {name: self.counts.labels[name] for name in ("happy", "sad", "uncertain")},
            "histogram": self.histogram,
            "bytes": self.size,
            "worker_seconds": round(self.seconds, 3),
            "failures": [
                {"chunk": chunk, "uri": uri, "error": error} for chunk, uri, error in self.failures
            ],
            "skipped": asdict(self.skipped),
        }

    @staticmethod
    def from_json(text: str | bytes) -> "ScoringSummary":
        """Convert from the JSON text of `to_dict`."""
        value = json.loads(text)
        counts = Summary()
        counts.statuses = Counter(value["statuses"])
        counts.labels = Counter(value["labels"])
        return ScoringSummary(
            counts,
            value["histogram"],
            value["bytes"],
            value["worker_seconds"],
            [(item["chunk"], item["uri"], item["error"]) for item in value["failures"]],
            SkippedFiles(**value["skipped"]),
        )

    def chart(self, width: int) -> str:
        """Draw the histogram as lines of text of at most so many characters."""
        longest = min(_BAR, max(1, width - _TEXT))
        most = max(1, *self.histogram)
        lines = [f"P(happy)  {'faces':>13}"]
        for number, faces in enumerate(self.histogram):
            bar = "█" * round(longest * faces / most)
            lines.append(f"{bin_name(number):<8}  {faces:>13,}  {bar}".rstrip())
        return "\n".join(lines)


def bin_name(number: int) -> str:
    """Return a bin's range of P(happy)."""
    return f"{number / BINS:.1f}–{(number + 1) / BINS:.1f}"
