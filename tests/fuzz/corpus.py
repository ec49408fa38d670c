"""Inputs that once failed, by target and name; each is tried in every run.

Add a line for each new failure: a change of the intact file's bytes.
"""

from __future__ import annotations

import gzip
import io
import re
import struct
import zipfile
import zlib
from collections.abc import Callable

import numpy as np

Change = Callable[[bytes], bytes]


def at(start: int, form: str, *numbers: object) -> Change:
    """Numbers at a byte."""

    def change(content: bytes) -> bytes:
        changed = bytearray(content)
        struct.pack_into(form, changed, start, *numbers)
        return bytes(changed)

    return change


def instead(old: bytes, new: bytes) -> Change:
    """Other bytes for the first match of a pattern."""

    def change(content: bytes) -> bytes:
        changed, count = re.subn(old, lambda _: new, content, count=1)
        assert count, old
        return changed

    return change


def before(mark: bytes, new: bytes) -> Change:
    return instead(re.escape(mark), new + mark)


def of(content: bytes) -> Change:
    return lambda _: content


def bomb() -> bytes:
    """A gzip file of 400 MB of blank lines."""
    packer = zlib.compressobj(9, wbits=31)
    block = b'\n' * (1 << 22)
    parts = [packer.compress(block) for _ in range(100)]
    return b''.join([*parts, packer.flush()])


def nested(depth: int) -> bytes:
    """DICOM sequences in sequences, of undefined lengths."""
    item = b'\xfe\xff\x00\xe0\xff\xff\xff\xff'
    return (b'\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff' + item) * depth


def bit_in(part: str) -> Change:
    """One bit in the middle of the largest member of an archive."""

    def change(content: bytes) -> bytes:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = [m for m in archive.infolist() if part in m.filename]
        member = max(members, key=lambda m: m.file_size)
        lengths = struct.unpack_from('<HH', content, member.header_offset + 26)
        start = member.header_offset + 30 + sum(lengths)
        changed = bytearray(content)
        changed[start + member.file_size // 2] ^= 4
        return bytes(changed)

    return change


def array_claims(name: str, shape: tuple[int, ...]) -> Change:
    """A numpy archive in which one array claims another shape."""

    def change(content: bytes) -> bytes:
        packed = io.BytesIO()
        with (
            zipfile.ZipFile(io.BytesIO(content)) as archive,
            zipfile.ZipFile(packed, 'w') as other,
        ):
            for member in archive.namelist():
                inside = archive.read(member)
                if member == f'{name}.npy':
                    file = io.BytesIO()
                    header = {'descr': '<i2', 'fortran_order': False}
                    np.lib.format.write_array_header_1_0(
                        file, {**header, 'shape': shape}
                    )
                    inside = file.getvalue() + inside[128:]
                other.writestr(member, inside)
        return packed.getvalue()

    return change


def twice(content: bytes) -> bytes:
    """A JSON list whose first entry comes again."""
    text = content.strip()
    return text[:-1] + b', ' + text[1:]


def many_keys(count: int) -> bytes:
    """A JSON object of many keys, the last of them twice."""
    keys = ''.join(f'"{k}": 0, ' for k in range(count))
    return f'{{{keys}"{count - 1}": 1}}'.encode()


SERIES = b'\x20\x00\x0e\x00UI'
LONG = b'9' * 5000
EDGE = b'<edgeMap><xCoord>3</xCoord><yCoord>4</yCoord></edgeMap>'

CORPUS: dict[str, dict[str, Change]] = {
    'nifti-header': {
        'sform of infinity': at(280, '<4f', *[float('inf')] * 4),
        'sform entry of infinity': at(284, '<f', float('inf')),
        'dim[0] of 512': at(40, '<h', 512),
        'fewer slices than stored': at(46, '<h', 8),
        'fewer columns than stored': at(42, '<h', 9),
        'vox_offset in the header': at(108, '<f', 100.0),
        'damaged magic': at(344, '4s', b'n+3'),
        'negative sform_code': at(254, '<h', -3),
        'metres': at(123, 'B', 1),
        'pixdim half the sform': at(80, '<f', 1.75),
        'qform 40 mm away': at(268, '<f', 50.0),
        'sheared': at(284, '<f', 0.7),
        'rounded directions': at(284, '<f', 0.004),
        'terminal escapes in a text': at(148, '6s', b'\x1b[2J\x07'),
    },
    'nifti2-header': {'copied as text': at(8, '4s', b'\n\n\x1a\n')},
    'nifti-gz': {
        'more behind the end': lambda content: content + content[:40],
        'claims more than it can hold': lambda content: gzip.compress(
            at(42, '<3h', 2000, 2000, 300)(gzip.decompress(content))[:400]
        ),
    },
    'mhd': {
        'NUL in the file name': instead(b'x.raw', b'x.raw\0'),
        'another folder': instead(b'x.raw', b'../x.raw'),
        'Offset 1e308': instead(b'-10 20', b'1e308 20'),
        'two offsets': before(b'DimSize', b'Position = 1 2 3\n'),
        'Offset twice': before(b'DimSize', b'Offset = 1 2 3\n'),
        'two directions': before(
            b'DimSize', b'Rotation = 1 0 0 0 0 1 0 1 0\n'
        ),
        'other units': before(b'DimSize', b'DistanceUnits = cm\n'),
        'underscores': instead(b'18 17', b'1_8 17'),
        '3 GB': instead(b'18 17 16', b'1400 1000 1000'),
        'escapes': instead(b'MET_SHORT', b'\x1b[2J\x07'),
        'long field': instead(b'MET_SHORT', LONG),
    },
    'zraw': {'empty stream': of(zlib.compress(b''))},
    'nrrd-header': {
        'long field': instead(b'short', LONG),
        'long number': instead(b'3.5', LONG),
        'long unknown field': before(b'sizes', b'x' * 5000 + b': 1\n'),
        'byte skip': before(b'sizes', b'byte skip: 100\n'),
        'left anterior superior': instead(b'posterior', b'anterior'),
        'fewer slices than stored': instead(b'17 16', b'17 8'),
        'other units': before(b'sizes', b'space units: "cm" "cm" "cm"\n'),
        'other file': before(b'sizes', b'data file: /etc/passwd\n'),
    },
    'nrrd-gz': {
        'bit in the middle': lambda c: (
            c[:2000] + bytes([c[2000] ^ 4]) + c[2001:]
        )
    },
    'dicom': {
        '500 sequences in each other': before(SERIES, nested(500)),
        'unknown type of value': instead(SERIES, SERIES[:4] + b'ZZ'),
        'NUL in a uid': instead(b'1\\.2\\.3\0', b'1\x003\0\0\0'),
        'slope of NaN': instead(b'DS\x04\x001\\.0 ', b'DS\x04\x00nan '),
        'intercept of infinity': instead(b'-1024\\.0 ', b'inf     '),
        'negative slope': instead(b'DS\x04\x001\\.0 ', b'DS\x04\x00-1.0'),
        'escapes in a patient': before(
            b'\x18\x00\x50\x00', b'\x10\x00\x20\x00LO\x06\x00\x1b[2J\x07 '
        ),
    },
    'lidc-xml': {
        'entities': before(
            b'<LidcReadMessage', b'<!DOCTYPE a [<!ENTITY b "c">]>'
        ),
        'unknown encoding': instead(b'UTF-8', b'foo'),
        'inclusion yes': instead(b'TRUE', b'yes'),
        '100,000 points': before(EDGE, EDGE * 100_000),
        'huge pixel': instead(b'>3<', b'>' + b'9' * 25 + b'<'),
        'deep': lambda content: b'<a>' * 100_000,
    },
    'submission-gz': {'blank lines': of(bomb())},
    'index-json': {
        'no JSON': of(b'{'),
        'a list': of(b'[]'),
        'deep': of(b'[' * 100_000),
        'a key twice': instead(rb'"format"', b'"format": 1, "format"'),
        'one of many keys twice': of(many_keys(100_000)),
        'no cases': of(b'{"format": "lungdet.store/1"}'),
        'binary': of(bytes(range(256))),
    },
    'case-json': {
        'no JSON': of(b'{'),
        'a list': of(b'[]'),
        'deep': of(b'[' * 100_000),
        'binary': of(bytes(range(256))),
    },
    'scan-result': {
        'Dice of text': instead(rb'"dice": [0-9.]+', b'"dice": "x"'),
        'no JSON': of(b'{'),
        'a list': of(b'[]'),
        'binary': of(bytes(range(256))),
    },
    'run-manifest': {
        'no JSON': of(b'{'),
        'a list': of(b'[]'),
        'cost of 400 digits': instead(rb'12\.5', b'9' * 400),
        'CPM as text': instead(rb'"froc/cpm": 0\.5', b'"froc/cpm": "0.5"'),
    },
    'detections-json': {
        'deep': of(b'[' * 100_000),
        'the same series again': twice,
    },
    'scan-list': {
        'a billion parts': instead(
            rb'"num_parts": 2', b'"num_parts": 1000000000'
        )
    },
    'froc-json': {'deep': of(b'[' * 100_000)},
    'training-log': {'no JSON': of(b'{'), 'a list': of(b'[]')},
    'last-checkpoint': {
        'binary': of(bytes(range(256))),
        'another folder': of(b'../../x.pth'),
        'nothing': of(b'epoch_9.pth'),
    },
    'checkpoint': {
        'text': of(b'x' * 100),
        'cut': lambda c: c[: len(c) // 2],
        'bit in a weight': bit_in('data/'),
        'a name that is not UTF-8': at(30, 'B', 255),
    },
    'ensemble': {'bit in a weight': bit_in('data/')},
    'backbone': {
        'bit in a weight': lambda c: c[:-3] + bytes([c[-3] ^ 4]) + c[-2:],
        'another method': instead(b'genesis', b'genesiz'),
    },
    'nodule-crops': {
        'an array of 20 GB': array_claims('hu', (10**10,)),
        'fewer voxels than its shapes say': array_claims('hu', (7,)),
        'an array of no axis': array_claims('shape_zyx', ()),
    },
    'nodule-library': {'an array of 20 GB': array_claims('hu', (10**10,))},
    'qido-series': {
        'count of 5,000 digits': instead(rb'\[26\]', b'["' + LONG + b'"]')
    },
    'jobs': {'text': of(b'no table, but long enough ' * 400)},
}
