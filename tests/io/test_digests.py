from __future__ import annotations

from pathlib import Path

from lungdet.io.digests import sha256_of


def test_digest_of_a_known_file(tmp_path: Path) -> None:
    (tmp_path / 'abc').write_bytes(b'abc')

    # FIPS 180-2, appendix B.1
    assert sha256_of(tmp_path / 'abc') == (
        'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'
    )
