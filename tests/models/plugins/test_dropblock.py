from __future__ import annotations

import pytest
import torch

from lungdet.models.plugins import DropBlock3D


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def test_share_dropped_and_scale() -> None:
    # 400 maps of 1,040 voxels; cubes overlap, so a little less than 10 %
    x = torch.ones(4, 100, 8, 10, 13)

    out = DropBlock3D(100, ramp=0)(x)

    dropped = float((out == 0).float().mean())
    assert 0.085 < dropped < 0.1
    assert torch.unique(out).numel() == 2
    torch.testing.assert_close(out.mean(), torch.tensor(1.0))


@pytest.mark.parametrize('side', [2, 3, 5])
def test_whole_cubes_are_dropped(side: int) -> None:
    x = torch.ones(1, 300, 6, 9, 11)

    zero = DropBlock3D(300, 0.02, block_size=side, ramp=0)(x) == 0

    counts = zero.sum((2, 3, 4))[0]
    alone = zero[0][counts == side**3]
    assert len(alone) > 5  # maps with one cube
    for cube in alone:
        for length in torch.nonzero(cube).amax(0) - torch.nonzero(cube).amin(
            0
        ):
            assert length == side - 1
    assert not ((counts > 0) & (counts < side**3)).any()
    # border voxels too: a cube may touch every face
    assert zero[:, :, 0].any() and zero[:, :, -1].any()
    assert zero[..., 0].any() and zero[..., -1].any()


def test_share_grows_from_zero_linearly() -> None:
    module = DropBlock3D(200, 0.2, block_size=1, ramp=4)
    x = torch.ones(5, 200, 8, 8, 8)

    shares = [float((module(x) == 0).float().mean()) for _ in range(6)]

    assert shares[0] == 0
    # 512,000 voxels: standard deviation at most 0.0006
    assert shares[1:] == pytest.approx([0.05, 0.1, 0.15, 0.2, 0.2], abs=0.003)
    assert int(module.state_dict()['steps']) == 6


def test_block_is_cut_to_a_thin_map() -> None:
    x = torch.ones(1, 500, 2, 9, 9)

    zero = DropBlock3D(500, 0.02, block_size=5, ramp=0)(x) == 0

    counts = zero.sum((2, 3, 4))
    assert int(counts[counts > 0].min()) == 8


def test_evaluation_is_the_identity_and_counts_no_step() -> None:
    module = DropBlock3D(3, 0.5, ramp=0).eval()
    x = torch.randn(1, 3, 4, 5, 6)

    assert torch.equal(module(x), x)
    assert int(module.steps) == 0
