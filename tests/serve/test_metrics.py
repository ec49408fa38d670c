from __future__ import annotations

import re

from lungdet.serve.metrics import Counts, family
from lungdet.serve.service import Service
from tests.serve.scene import client_of, make_service, send, service

__all__ = ['make_service', 'service']
SAMPLE = re.compile(
    r'lungdet_[a-z_]+(\{[a-z]+="[^"]*"(,[a-z]+="[^"]*")*\})? -?[0-9.e+-]+'
)


def test_labels_are_escaped() -> None:
    text = family('x', 'gauge', 'An x.', [({'a': 'q"\\\n'}, 0.5)])

    assert text.splitlines() == [
        '# HELP lungdet_x An x.',
        '# TYPE lungdet_x gauge',
        r'lungdet_x{a="q\"\\\n"} 0.5',
    ]


def test_counts() -> None:
    counts = Counts()
    counts.receive(10)
    counts.receive(5)
    counts.refuse(413)

    assert (counts.received, counts.received_bytes) == (2, 15)
    assert counts.refused == {413: 1}


def test_a_server_tells_its_numbers(service: Service) -> None:
    client = client_of(service)
    send(client, b'12345')
    send(client, b'', name='a.exe')

    answer = client.get('/metrics')

    assert answer.headers['content-type'].startswith('text/plain; version=0.0')
    lines = answer.text.splitlines()
    for line in lines:
        assert line.startswith(('# HELP ', '# TYPE ')) or SAMPLE.fullmatch(
            line
        )
    assert {
        'lungdet_jobs{state="queued"} 1',
        'lungdet_scans_received_total 1',
        'lungdet_scans_received_bytes_total 5',
        'lungdet_stored_bytes 5',
        'lungdet_refused_requests_total{status="415"} 1',
    } <= {*lines}
    names = [line.split()[2] for line in lines if line.startswith('# TYPE')]
    assert len(names) == len(set(names))
