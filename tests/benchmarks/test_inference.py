from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks import inference
from benchmarks.monai_retinanet import image_of, num_windows
from lungdet.io.image import write_image
from lungdet.phantom import make_phantom


def test_number_of_monais_windows() -> None:
    assert num_windows((512, 512, 192), (512, 512, 192)) == 1
    assert num_windows((512, 512, 193), (512, 512, 192)) == 2
    assert num_windows((100, 100, 100), (40, 40, 200)) == 9


def test_a_scan_as_monai_takes_it() -> None:
    torch = pytest.importorskip('torch')
    hu = torch.tensor([-3000, -1024, -362, 300, 5000])
    hu = hu[:, None, None].expand(5, 8, 4)

    image = image_of(hu, (0.703125, 1.40625, 1.25))

    assert image.shape == (1, 4, 16, 5)
    assert image[0, 0, 0].tolist() == pytest.approx([0, 0, 0.5, 1, 1])


def test_the_scans_that_are_made(tmp_path: Path) -> None:
    from lungdet.io.image import load_volume

    volume = make_phantom(0, size='small').volume
    write_image(tmp_path / 'scan.mha', volume.array, volume.geometry)

    inference.write_scans(tmp_path, tmp_path / 'scan.mha', 150)

    thin = load_volume(tmp_path / 'thin.mha')
    assert thin.array.shape == (150, *volume.array.shape[1:])
    sides = [
        v.geometry.spacing_xyz * v.array.shape[::-1] for v in (thin, volume)
    ]
    assert sides[0] == pytest.approx(sides[1], rel=1e-6)

    number = len(volume.array)
    long = load_volume(tmp_path / 'long.mha')
    assert long.array.shape == (150, *volume.array.shape[1:])
    assert long.geometry.spacing_xyz == pytest.approx(
        volume.geometry.spacing_xyz
    )
    assert (long.array[number] == volume.array[-1]).all()
    assert (long.array[2 * number :] == volume.array[: 150 - 2 * number]).all()


@pytest.mark.slow
def test_rows_of_a_small_phantom(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    volume = make_phantom(0, size='small').volume
    middle = volume.array[16:48]
    grid = volume.geometry.crop((16, 0, 0), middle.shape)
    write_image(tmp_path / 'scan.mha', middle, grid)
    words = [str(tmp_path / 'scan.mha'), '--threads', '1']
    words += ['--slices', '40', '--roi', '64', '64', '32']
    # a row of each kind
    words += ['--only', f'infer, {inference.SMALL}', 'read and prepare']
    words += [f'network, {inference.FULL}', 'network, MONAI']
    monkeypatch.setattr(sys, 'argv', ['inference', *words])
    monkeypatch.setenv('OMP_NUM_THREADS', '1')

    inference.main()

    text = capsys.readouterr().out
    lines = [
        line.split(' | ')
        for line in text.splitlines()
        if not line.startswith(('|', '+'))  # the table at the end
    ]
    table = {cells[0]: cells[1:] for cells in lines if len(cells) == 5}
    assert len(table) == 9
    for row, (cpu, wall, peak, remark) in table.items():
        if 'MONAI' in row and remark.startswith('not installed'):
            continue
        assert not remark.startswith('failed'), (row, remark)
        assert float(cpu) > 0 and float(wall) > 0 and float(peak) > 0.1
