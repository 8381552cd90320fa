"""Inputs of a scoring job, and chunks of inputs."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Input:
    """A unit that one worker reads sequentially.

    Attributes:
        uri: An image, a tar, or a Parquet file that holds images.
        kind: ``"rows"`` is one row group of a Parquet file; ``"problem"`` cannot be read.
        images: Number of images; 0 for a tar, where it is unknown.
        group: Number of the row group.
        column: Column of the Parquet file with the images' bytes.
        problem: Why it cannot be read.
    """

    uri: str
    kind: Literal["image", "tar", "rows", "problem"] = "image"
    images: int = 1
    group: int = 0
    column: str = ""
    problem: str = ""

    def to_json(self) -> str | dict[str, Any]:
        """Convert to a JSON value: the URI alone for an image."""
        return self.uri if self.kind == "image" else asdict(self)

    @staticmethod
    def from_json(value: Any) -> "Input":
        """Convert from a JSON value."""
        return Input(value) if isinstance(value, str) else Input(**value)


def chunks(inputs: Iterable[Input], size: int) -> Iterator[list[Input]]:
    """Group inputs into chunks of up to ``size`` images, but at least one input.

    A tar shares its chunk with no other images.
    """
    chunk: list[Input] = []
    images = 0
    for item in inputs:
        weight = size if item.kind == "tar" else item.images
        if chunk and images + weight > size:
            yield chunk
            chunk, images = [], 0
        chunk.append(item)
        images += weight
    if chunk:
        yield chunk
