"""What the API takes and gives, for its OpenAPI description; docs/predict-output.md explains it."""

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, Field


class ScoresRecord(BaseModel):
    """Shares of people who would call the face so; they add up to 1."""

    happy: float = Field(ge=0, le=1)
    sad: float = Field(ge=0, le=1)
    neither: float = Field(ge=0, le=1)


class FaceRecord(BaseModel):
    """One face: where it is, and the answer."""

    box: list[float] = Field(
        min_length=4, max_length=4, description="Left, top, width, height, pixels."
    )
    landmarks: list[Annotated[list[float], Field(min_length=2, max_length=2)]] = Field(
        description="Right eye, left eye, nose, right and left corner of the mouth."
    )
    confidence: float = Field(ge=0, le=1, description="How sure the face detector is of the face.")
    label: Literal["happy", "sad", "uncertain"]
    scores: ScoresRecord
    probability: float = Field(ge=0, le=1, description="P(happy) among happy and sad.")


class ImageRecord(BaseModel):
    """One image: a line of what `happysad predict --json` prints."""

    schema_: Literal[2] = Field(alias="schema")
    path: str = Field(description='The file\'s name in the form; "-" for a whole body.')
    status: Literal["ok", "no face", "error"]
    width: int | None
    height: int | None
    faces: list[FaceRecord]
    error: str | None = Field(default=None, description="Only where status is error.")


class ProblemRecord(BaseModel):
    """An error, after RFC 9457."""

    type: Literal["about:blank"]
    title: str
    status: int
    reason: str = Field(description="A few fixed words, for programs.")
    detail: str = Field(description="What was wrong, and what to do.")


class ModelRecord(BaseModel):
    """The model that answers."""

    happysad: str = Field(description="The server's version.")
    labels: list[str]
    sha256: str = Field(description="Of the model file.")
    input_size: int
    crop_margin: float = Field(description="Side of a crop, in sides of the face's box.")
    crop_level: bool = Field(description="Whether crops are rotated so that the eyes are level.")
    output: Literal["sigmoid", "softmax"]
    threshold: float = Field(description='Below it, the label is "uncertain".')
    temperature: float
    precision: str
    recipe: str
    data_fingerprint: str
    exported_by: str
    created: str
    figures: dict[str, Any] | None = Field(description="Of the released model: its test.")
    card: str | None = Field(description="Of the released model: its card, Markdown.")


_REASONS: Final = {
    400: "The body is empty or malformed.",
    401: "No API key, or a wrong one.",
    408: "It took too long.",
    413: "The body is too large.",
    415: "The body is neither an image nor a form.",
    422: "The one image cannot be read.",
    503: "Too busy now: try again after Retry-After seconds.",
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe the errors of a route."""
    content = {"application/problem+json": {"schema": ProblemRecord.model_json_schema()}}
    return {status: {"description": _REASONS[status], "content": content} for status in statuses}


def images(most: int) -> dict[str, Any]:
    """Describe the body of a request that brings images, at most so many in a form."""
    file = {"type": "string", "format": "binary"}
    form = {
        "type": "object",
        "properties": {"files": {"type": "array", "minItems": 1, "maxItems": most, "items": file}},
        "required": ["files"],
    }
    content = {"multipart/form-data": {"schema": form}, "image/*": {"schema": file}}
    return {"requestBody": {"required": True, "content": content}}
