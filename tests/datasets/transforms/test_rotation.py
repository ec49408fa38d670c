from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from lungdet.datasets import CropGrid, RandomAffine3D, RandomRotation3D
from lungdet.datasets.transforms.rotation import RotationParams, rotation
from lungdet.datasets.transforms.spatial import AffineParams
from tests.datasets.stores import BALLS, BALLS_GRID, training_crops


def test_rotation_is_about_z_then_y_then_x() -> None:
    angles = (0.4, -0.3, 0.2)

    turn = rotation(angles)

    # scipy's axes x, y, z stand here for the array's z, y, x
    oracle = Rotation.from_euler('XYZ', angles).as_matrix()
    assert turn == pytest.approx(oracle, abs=1e-12)
    assert np.linalg.det(turn) == pytest.approx(1)


def test_turn_about_z_alone_is_that_of_the_affine_transform() -> None:
    grid = CropGrid.of_background(BALLS_GRID.crop((5, 6, 7), (16, 32, 48)))
    sample = {'crop_grid': grid}

    one = RandomRotation3D().apply(sample, RotationParams((0.3, 0.0, 0.0)))
    other = RandomAffine3D().apply(sample, AffineParams(angle=0.3))

    assert one['crop_grid'].geometry.affine == pytest.approx(
        other['crop_grid'].geometry.affine, abs=1e-12
    )


def test_nodule_stays_where_it_was_and_its_surroundings_turn(
    balls: Path,
) -> None:
    turn = {
        'type': 'RandomRotation3D',
        'degrees': (40, 30, 20),
        'prob': 1.0,
    }
    plain, turned = (
        training_crops(balls, *spatial, size=(32, 32, 48), margin=4, seed=4)
        for spatial in ((), (turn,))
    )

    for index in range(3):
        here, there = (data[index]['data_samples'] for data in (plain, turned))
        index_zyx, radius = BALLS[index]
        (world,) = BALLS_GRID.to_world(np.array([index_zyx], float))
        at = [
            np.linalg.solve(s.affine, [*world, 1])[:3] for s in (here, there)
        ]
        assert at[0] == pytest.approx(at[1], abs=1e-6)
        ids = there.gt_instances.ids.tolist()
        if index + 1 in ids:
            voxels = np.argwhere(there.gt_masks.numpy() == index + 1)
            assert voxels.mean(0) == pytest.approx(at[1], abs=0.6)
            (box,) = there.gt_instances.bboxes[
                there.gt_instances.ids == index + 1
            ].numpy()
            assert box[3:] - box[:3] == pytest.approx(2 * radius, abs=1e-3)
        steps = [np.asarray(s.affine)[:3, :3] for s in (here, there)]
        between = np.linalg.solve(steps[0], steps[1])
        assert between @ between.T == pytest.approx(np.eye(3), abs=1e-9)
        assert not np.allclose(between, np.eye(3), atol=0.05)
