"""Small image files; each test makes its own defect."""

from __future__ import annotations

from pathlib import Path

import numpy as np

SHAPE = (16, 17, 18)
FIELDS = {
    'ObjectType': 'Image',
    'NDims': '3',
    'BinaryData': 'True',
    'BinaryDataByteOrderMSB': 'False',
    'CompressedData': 'False',
    'TransformMatrix': '1 0 0 0 1 0 0 0 1',
    'Offset': '-10 20 -30',
    'ElementSpacing': '3.5 4 5',
    'DimSize': '18 17 16',
    'ElementType': 'MET_SHORT',
    'ElementDataFile': 'x.raw',
}


def hu(rng: np.random.Generator) -> np.ndarray:
    array = rng.integers(-1000, 400, SHAPE).astype(np.int16)
    array[0] = -1000
    return array


def write_meta(folder: Path, payload: bytes, **changes: str | None) -> Path:
    fields = {**FIELDS, **changes}
    lines = [f'{k} = {v}' for k, v in fields.items() if v is not None]
    lines.sort(key=lambda line: line.startswith('ElementDataFile'))
    path = folder / 'x.mhd'
    path.write_text('\n'.join(lines) + '\n')
    (folder / 'x.raw').write_bytes(payload)
    return path


NRRD = {
    'type': 'short',
    'dimension': '3',
    'space': 'left-posterior-superior',
    'sizes': '18 17 16',
    'space directions': '(3.5,0,0) (0,4,0) (0,0,5)',
    'space origin': '(-10,20,-30)',
    'endian': 'little',
    'encoding': 'raw',
}


def write_nrrd(folder: Path, payload: bytes, **changes: str | None) -> Path:
    named = {k.replace('_', ' '): v for k, v in changes.items()}
    lines = ['NRRD0004', '# a comment', 'name:=a: value']
    lines += [f'{k}: {v}' for k, v in {**NRRD, **named}.items() if v]
    path = folder / 'x.nrrd'
    path.write_bytes('\n'.join(lines).encode() + b'\n\n' + payload)
    return path
