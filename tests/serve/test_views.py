from __future__ import annotations

import pytest

from lungdet.serve.service import Service
from lungdet.serve.uploads import TAKEN
from lungdet.serve.views import REFUSALS, UPLOAD_SCHEMA, Health, JobView
from tests.serve.scene import client_of, make_service, send, service

__all__ = ['make_service', 'service']


def test_a_job_is_what_is_described(service: Service) -> None:
    sent = send(client_of(service)).json()

    assert JobView(**sent).model_dump() == sent
    assert Health(**service.health()).status == 'ok'


@pytest.mark.parametrize('suffix', TAKEN)
def test_the_description_names_what_is_taken(suffix: str) -> None:
    assert suffix in str(UPLOAD_SCHEMA)


def test_each_refusal_is_described() -> None:
    assert {400, 408, 413, 415, 429, 507} == {*REFUSALS}
