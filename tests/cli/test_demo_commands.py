from __future__ import annotations

from pathlib import Path

from lungdet.cli.demo_commands import detection, inference, preparation


def test_outlines_are_looked_for_when_the_scans_are_there(
    tmp_path: Path,
) -> None:
    """Phantoms are made by the first command, with outlines."""
    commands = preparation(None, tmp_path, jobs=2, quick=True)
    _, *phantom = next(commands)
    assert phantom[phantom.index('--scans') + 1] == 20
    (tmp_path / 'phantoms' / 'xml').mkdir(parents=True)

    (prepare,) = commands

    assert '--lidc-xml' in prepare


def test_quick_training_anneals_over_its_few_epochs(tmp_path: Path) -> None:
    words = {
        command[0].partition(':')[0]: command
        for command in detection(tmp_path, quick=True)
    }

    assert words['train'][-2:] == (
        'train_cfg.max_epochs=2',
        'param_scheduler.1.T_max=2',
    )


def test_first_scan_of_a_luna16_folder_is_inferred(tmp_path: Path) -> None:
    for name in ('subset1/a.mhd', 'subset0/b.mhd'):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()

    ((_, *words),) = inference(tmp_path, tmp_path / 'out')

    assert words[2] == tmp_path / 'subset0' / 'b.mhd'
