"""Schemas of the answers, for the OpenAPI description."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from lungdet.serve.uploads import FIELD, TAKEN


class JobView(BaseModel):
    """One scan, and its state."""

    id: str
    state: Literal['queued', 'running', 'done', 'failed']
    created: str = Field(description='UTC, ISO 8601, as the next two')
    started: str | None
    ended: str | None
    starts: int = Field(description='how often it was begun')
    ahead: int | None = Field(description='jobs before it; None if it began')
    windows_done: int | None
    windows_total: int | None
    seconds_left: float | None = Field(description='a guess; None without one')
    error: str | None = Field(description='why it failed')
    detections: int | None = Field(description='how many, once it is done')
    results: dict[str, str] = Field(description='addresses by format')


class Health(BaseModel):
    """Whether jobs can be run."""

    status: Literal['ok', 'failed']
    defect: str | None
    model: str | None
    version: str


class Session(BaseModel):
    """Whether the request has the token or its cookie."""

    unlocked: bool


class Problem(BaseModel):
    """A request that was refused (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str


UPLOAD_SCHEMA = {
    'requestBody': {
        'required': True,
        'content': {
            'multipart/form-data': {
                'schema': {
                    'type': 'object',
                    'required': [FIELD],
                    'properties': {
                        FIELD: {
                            'type': 'string',
                            'format': 'binary',
                            'description': f'{", ".join(TAKEN)}; DICOM '
                            'slices, or .mhd and .raw, as a zip',
                        }
                    },
                }
            }
        },
    }
}
REFUSALS = {
    400: 'no form of one scan',
    408: 'it took too long to arrive',
    413: 'too large',
    415: 'not a kind of file that is taken',
    429: 'too many jobs wait',
    507: 'no room',
}
