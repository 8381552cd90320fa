"""Requests and responses as OpenAPI describes them; docs/predict-output.md explains the fields."""

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, Field


class ScoresRecord(BaseModel):
    """Shares of people who would call the face so; they add up to 1."""

    happy: float = Field(ge=0, le=1)
    sad: float = Field(ge=0, le=1)
    neither: float = Field(ge=0, le=1)


class FaceRecord(BaseModel):
    """One face: its position, scores and label."""

    box: list[float] = Field(
        min_length=4, max_length=4, description="Left, top, width, height, pixels."
    )
    landmarks: list[Annotated[list[float], Field(min_length=2, max_length=2)]] = Field(
        description="Right eye, left eye, nose, right and left corner of the mouth."
    )
    confidence: float = Field(ge=0, le=1, description="The face detector's score.")
    label: Literal["happy", "sad", "uncertain"]
    scores: ScoresRecord
    probability: float = Field(ge=0, le=1, description="P(happy) among happy and sad.")


class ImageRecord(BaseModel):
    """One image: a line of `happysad predict --json`."""

    schema_: Literal[2] = Field(alias="schema")
    path: str = Field(description='The file name in the form; "-" where the body is the image.')
    status: Literal["ok", "no face", "error"]
    width: int | None
    height: int | None
    faces: list[FaceRecord]
    error: str | None = Field(default=None, description="Only if the status is error.")


class ProblemRecord(BaseModel):
    """An error, after RFC 9457."""

    type: Literal["about:blank"]
    title: str
    status: int
    reason: str = Field(description="A fixed short text, for programs.")
    detail: str = Field(description="What is wrong and what to do.")


class ModelRecord(BaseModel):
    """The model in use."""

    happysad: str = Field(description="The server's version.")
    labels: list[str]
    sha256: str = Field(description="Of the model file.")
    input_size: int
    crop_margin: float = Field(description="Side of a crop divided by the side of the face's box.")
    crop_level: bool = Field(description="Whether crops are rotated so that the eyes are level.")
    output: Literal["sigmoid", "softmax"]
    threshold: float = Field(description='Below it, the label is "uncertain".')
    temperature: float
    precision: str
    recipe: str
    data_fingerprint: str
    exported_by: str
    created: str
    figures: dict[str, Any] | None = Field(description="Test metrics of the bundled model.")
    card: str | None = Field(description="Model card of the bundled model, Markdown.")


_REASONS: Final = {
    400: "The body is empty or malformed.",
    401: "No API key, or a wrong one.",
    408: "The upload took too long.",
    413: "The body is too large.",
    415: "The body is neither an image nor a form.",
    422: "The image cannot be read.",
    503: "The server is busy; try again after Retry-After seconds.",
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe a route's error responses."""
    content = {"application/problem+json": {"schema": ProblemRecord.model_json_schema()}}
    return {status: {"description": _REASONS[status], "content": content} for status in statuses}


def images(max_images: int) -> dict[str, Any]:
    """Describe the body of a request with images, at most ``max_images`` in a form."""
    file = {"type": "string", "format": "binary"}
    form = {
        "type": "object",
        "properties": {
            "files": {"type": "array", "minItems": 1, "maxItems": max_images, "items": file}
        },
        "required": ["files"],
    }
    content = {"multipart/form-data": {"schema": form}, "image/*": {"schema": file}}
    return {"requestBody": {"required": True, "content": content}}
