"""NIfTI headers: voxels and grid, with checks for contradictions.

A header states its grid up to three times (pixdim, qform, sform). nibabel's
affine is used; if the others differ, there is a caveat or an error.
"""

from __future__ import annotations

import struct
from io import BufferedIOBase
from pathlib import Path
from typing import Any

import numpy as np

from lungdet.errors import GeometryError, SeriesError
from lungdet.geometry import Geometry
from lungdet.io.directions import orthonormal
from lungdet.io.limits import check_grid, check_origin

MAX_OFFSET = 1 << 26  # bytes before the voxels
MAX_RANK = 7
CODES = range(6)  # of qform and sform
LINE_ENDS = b'\r\n\x1a\n'  # altered where a file is copied as text
UNKNOWN_UNIT, MM = 0, 2
UNITS = {1: 'metres', 3: 'micrometres'}
STEP_TOL, MAX_STEP_TOL = 1e-3, 1e-2  # relative, pixdim against sform
FORMS_MM = 0.5  # how far qform and sform may differ without a caveat
NO_ORIENTATION = (
    'no orientation in the header (qform and sform are 0); taken as LPS with '
    'origin 0'
)


def read_header(path: Path, file: BufferedIOBase) -> Any:
    """nibabel's header, its values not yet checked.

    Raises:
        SeriesError: No NIfTI header, or one of a pair of files.
        EOFError: The header is cut.
    """
    from nibabel import Nifti1Header, Nifti2Header

    first = file.read(4)  # the header's length
    for kind in (Nifti1Header, Nifti2Header):
        length = kind.sizeof_hdr
        for order in ('<', '>'):
            if first == struct.pack(f'{order}i', length):
                block = first + file.read(length - len(first))
                if len(block) < length:
                    raise EOFError('the header is cut')
                header = kind(block, order, check=False)
                _check_magic(path, header)
                return header
    raise SeriesError(
        f'{path}: no NIfTI header at the start of the file; copy or export '
        'the image again.'
    )


def _check_magic(path: Path, header: Any) -> None:
    magic = header['magic'].item()
    if magic.startswith((b'ni1', b'ni2')):
        raise SeriesError(
            f'{path}: magic is {magic!r}; the voxels of a NIfTI pair are in '
            'another file, which is not read. Store header and voxels in one '
            'file.'
        )
    if magic != header.single_magic:
        raise SeriesError(
            f'{path}: magic is {magic!r}, not {header.single_magic!r}; the '
            'header is damaged. Export the image again.'
        )
    if 'eol_check' in header.keys():  # of NIfTI-2; old writers leave zeros
        ends = header['eol_check'].tobytes()
        if ends not in (LINE_ENDS, bytes(len(LINE_ENDS))):
            raise SeriesError(
                f'{path}: {ends!r} after the magic, not {LINE_ENDS!r}; the '
                'file was copied as text, which changes voxels too, or is '
                'damaged. Copy it again.'
            )


def layout(path: Path, header: Any) -> tuple[np.dtype, list[int]]:
    """Voxel type, and number of voxels along (x, y, z).

    Raises:
        SeriesError: An unsupported type, or invalid sizes.
    """
    from nibabel.spatialimages import HeaderDataError

    try:
        dtype = header.get_data_dtype()
    except (HeaderDataError, KeyError):  # KeyError: no code of a type
        dtype = np.dtype('V')
    if (
        dtype.kind not in 'iuf'
        or dtype.itemsize > 8
        or header['bitpix'] != dtype.itemsize * 8
    ):
        raise SeriesError(
            f'{path}: NIfTI datatype {header["datatype"]} of '
            f'{header["bitpix"]} bits is not supported; store integers or '
            'floats.'
        )
    rank = int(header['dim'][0])
    if not 1 <= rank <= MAX_RANK:
        raise SeriesError(
            f'{path}: dim[0] is {rank}, a number of axes from 1 to '
            f'{MAX_RANK}; the header is damaged. Export the image again.'
        )
    sizes = [int(n) for n in header['dim'][1 : rank + 1]]
    while len(sizes) > 3 and sizes[-1] == 1:
        sizes.pop()
    steps = [float(step) for step in header['pixdim'][1:4]]
    if header['sform_code'] > 0:  # the sform states them too
        steps = [abs(step) or 1.0 for step in steps]
    check_grid(str(path), sizes, steps, dtype.itemsize)
    return dtype, sizes


def first_byte(path: Path, header: Any) -> int:
    """Where the voxels begin.

    Raises:
        SeriesError: Inside the header, between bytes, or absurdly far.
    """
    start, least = float(header['vox_offset']), header.single_vox_offset
    if not least <= start < MAX_OFFSET or start != int(start):
        raise SeriesError(
            f'{path}: vox_offset is {start:g}, where no voxels of a single '
            f'file begin ({least} at least); the header is damaged. Export '
            'the image again.'
        )
    return int(start)


def check_extensions(
    path: Path, header: Any, file: BufferedIOBase, start: int
) -> None:
    """Refuse voxels that would begin inside an extension of the header.

    Args:
        path: For the message.
        header: Already read from ``file``.
        file: Positioned after the header.
        start: Where the voxels begin.
    """
    at = header.sizeof_hdr + 4
    more = file.read(4)[:1] not in (b'', b'\0')
    while more and at + 8 <= start:
        block = file.read(4)
        if len(block) < 4:
            return  # truncated; reported when the voxels are read
        (size,) = struct.unpack(f'{header.endianness}i', block)
        if size == 0:
            return
        if size < 8 or at + size > start:
            raise SeriesError(
                f'{path}: vox_offset is {start}, inside an extension of the '
                f'header ({size} bytes from {at}); the header is damaged. '
                'Export the image again.'
            )
        file.seek(at + size)
        at += size


def geometry_of(
    path: Path, header: Any, sizes: list[int]
) -> tuple[Geometry, list[str]]:
    """Grid of nibabel's affine, and caveats.

    From the voxel sizes alone if the header has neither qform nor sform.

    Raises:
        SeriesError: Contradictions, or no grid.
    """
    _check_codes(path, header)
    qform, sform = _form(header, 'qform'), _form(header, 'sform')
    if sform is None and qform is None:
        steps = [float(step) for step in header['pixdim'][1:4]]
        check_grid(str(path), sizes, steps, 1)
        return (
            Geometry.from_itk(sizes, spacing=steps, origin=(0, 0, 0)),
            [NO_ORIENTATION],
        )
    affine = qform if sform is None else sform
    assert affine is not None
    if isinstance(affine, str):
        raise SeriesError(
            f'{path}: no orientation follows from the header ({affine}); '
            'export the image again.'
        )
    geometry, caveats = _grid(path, sizes, affine)
    if sform is not None:
        caveats += _steps_differ(path, header, geometry)
        caveats += _forms_differ(geometry, qform)
    return geometry, caveats


def _check_codes(path: Path, header: Any) -> None:
    for name in ('qform_code', 'sform_code'):
        code = int(header[name])
        if code not in CODES:
            raise SeriesError(
                f'{path}: {name} is {code}, not 0 to {CODES[-1]}; the header '
                'is damaged. Export the image again.'
            )
    units = int(header['xyzt_units'])
    space = units & 7
    if space not in (UNKNOWN_UNIT, MM) or units > 63:
        unit = UNITS.get(space, f'code {units}')
        raise SeriesError(
            f'{path}: xyzt_units says {unit}, and only mm are read; correct '
            'the header, or export the image in mm.'
        )


def _form(header: Any, name: str) -> np.ndarray | str | None:
    """qform or sform (4, 4), None without a code; or text about an error."""
    from nibabel.spatialimages import HeaderDataError

    if not header[f'{name}_code']:
        return None
    if name == 'qform' and header['pixdim'][0] == 0:  # as the standard demands
        header = header.copy()
        header['pixdim'][0] = 1
    try:
        with np.errstate(all='ignore'):  # NaN is reported here
            affine = getattr(header, f'get_{name}')()
    except (HeaderDataError, ValueError) as error:
        return str(error)
    if not np.isfinite(affine).all():
        return f'{name} {affine[:3].tolist()} is not finite'
    return np.asarray(affine, dtype=np.float64)


def _grid(
    path: Path, sizes: list[int], affine: np.ndarray
) -> tuple[Geometry, list[str]]:
    lps = np.diag([-1.0, -1.0, 1.0]) @ affine[:3]
    spacing = np.linalg.norm(lps[:, :3], axis=0)
    check_grid(str(path), sizes, spacing.tolist(), 1)
    check_origin(str(path), lps[:, 3].tolist())
    direction, caveats = orthonormal(str(path), lps[:, :3] / spacing)
    try:
        if not caveats:
            return Geometry.from_ras(sizes, affine), []
        return (
            Geometry.from_itk(
                sizes,
                spacing=spacing.tolist(),
                origin=(lps[:, 3] + 0.0).tolist(),
                direction=direction,
            ),
            caveats,
        )
    except GeometryError as error:
        raise SeriesError(f'{path}: {error}') from error


def _steps_differ(path: Path, header: Any, geometry: Geometry) -> list[str]:
    """A caveat or an error if pixdim and sform state different sizes."""
    stated = [abs(float(step)) for step in header['pixdim'][1:4]]
    if stated == [1, 1, 1] and not header['qform_code']:
        return []  # they are not set
    of_sform = geometry.spacing_xyz
    if not all(stated):
        return ['pixdim states no voxel size; that of the sform was taken']
    gap = float(np.abs(np.array(stated) / of_sform - 1).max())
    if gap <= STEP_TOL:
        return []
    text = f'pixdim says voxels of {_mm(stated)}, the sform of {_mm(of_sform)}'
    if gap > MAX_STEP_TOL:
        raise SeriesError(
            f'{path}: {text}; it is unclear which is right. Correct the '
            'header, or export the image again.'
        )
    return [f'{text}, which was taken']


def _forms_differ(
    geometry: Geometry, qform: np.ndarray | str | None
) -> list[str]:
    """A caveat if qform and sform place the image differently."""
    if qform is None:
        return []
    if isinstance(qform, str):
        return [f'the qform cannot be read ({qform}); the sform was taken']
    last = np.array(geometry.shape) - 1
    corners = np.array(np.meshgrid(*([0, n] for n in last))).reshape(3, -1).T
    ras = corners[:, ::-1] @ qform[:3, :3].T + qform[:3, 3]
    gaps = ras * (-1, -1, 1) - geometry.to_world(corners)
    apart = float(np.linalg.norm(gaps, axis=1).max())
    if apart <= FORMS_MM:
        return []
    return [
        f'qform and sform lie up to {apart:.4g} mm apart; the sform was '
        'taken. Check positions that come from another program'
    ]


def _mm(steps: Any) -> str:
    return ' x '.join(f'{step:.5g}' for step in steps) + ' mm'
