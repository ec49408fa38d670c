"""Schemas of the responses, for the OpenAPI description."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from lungdet.serve.uploads import FIELD, TAKEN


class JobView(BaseModel):
    """An uploaded scan and the state of its processing."""

    id: str
    state: Literal['queued', 'running', 'done', 'failed']
    created: str = Field(description='UTC, ISO 8601; so are the next two')
    started: str | None
    ended: str | None
    starts: int = Field(description='number of starts')
    ahead: int | None = Field(description='jobs ahead of it, while queued')
    windows_done: int | None
    windows_total: int | None
    seconds_left: float | None = Field(description='estimate; null if unknown')
    error: str | None = Field(description='why it failed')
    detections: int | None = Field(description='number, once it is done')
    results: dict[str, str] = Field(description='addresses by format')


class Health(BaseModel):
    """Whether jobs can be run."""

    status: Literal['ok', 'failed']
    defect: str | None
    model: str | None
    version: str


class Session(BaseModel):
    """Whether the request has the token or the session cookie."""

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
    400: 'not a form with one file',
    408: 'the upload took too long',
    413: 'too large',
    415: 'unsupported kind of file',
    429: 'too many jobs',
    507: 'not enough disk space',
}
