from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from lungdet.datasets import (
    InPainting,
    LocalPixelShuffle,
    NonLinearIntensity,
    OutPainting,
    Painting,
    RepeatedFlip3D,
)
from lungdet.datasets.transforms.genesis import (
    Windows,
    bezier_curve,
    draw_windows,
    shuffle_tiles,
    shuffle_windows,
)
from lungdet.errors import ConfigError
from lungdet.geometry import Geometry
from tests.oracles import genesis_literal as literal

VECTORS = json.loads(
    (Path(__file__).parents[1] / 'data/ssl_attention_vectors.json').read_text()
)
SHAPE = (32, 64, 64)
DRAWS = 2000


def sigmas(rate: float, draws: int = DRAWS) -> float:
    """Four and a half standard errors of an observed rate."""
    return 4.5 * np.sqrt(rate * (1 - rate) / draws)


def assert_rate(count: int, rate: float, draws: int = DRAWS) -> None:
    assert abs(count / draws - rate) < sigmas(rate, draws), (count, rate)


def results_of(image: np.ndarray, seed: int = 0) -> dict:
    return {
        'image': image,
        'target': image,
        'rng': np.random.default_rng(seed),
        'geometry': Geometry.from_parts(
            image.shape, spacing_zyx=(1, 2, 3), origin_xyz=(5, -7, 11)
        ),
    }


def draws(transform: object, shape: tuple = SHAPE) -> list:
    results = results_of(np.zeros(shape, dtype=np.float32), seed=3)
    return [transform.draw(results) for _ in range(DRAWS)]


@pytest.fixture
def crop(rng: np.random.Generator) -> np.ndarray:
    return rng.random(SHAPE, dtype=np.float32)


def test_flips_are_drawn_as_published() -> None:
    drawn = draws(RepeatedFlip3D())

    number = Counter(map(len, drawn))
    for num, rate in ((0, 0.6), (1, 0.24), (2, 0.096), (3, 0.064)):
        assert_rate(number[num], rate)
    axes = Counter(axis for flips in drawn for axis in flips)
    total = axes.total()
    assert set(axes) == {0, 1, 2}
    for axis in range(3):
        assert_rate(axes[axis], 1 / 3, total)


def test_flip_turns_image_target_and_affine_together(
    crop: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    flip = RepeatedFlip3D()
    monkeypatch.setattr(flip, 'draw', lambda results: [2, 0, 2])
    before = results_of(crop)
    world = before['geometry'].to_world(np.array([[3.0, 4, 5]]))

    after = flip.transform(dict(before))

    # twice along x cancels; z: voxel 3 of 32 is now voxel 28
    np.testing.assert_array_equal(after['target'], crop[::-1])
    np.testing.assert_array_equal(after['image'], after['target'])
    np.testing.assert_allclose(
        after['geometry'].to_world(np.array([[28.0, 4, 5]])), world
    )


def test_shuffling_probability_and_windows_are_as_published() -> None:
    assert_rate(sum(draws(LocalPixelShuffle())), 0.5)

    windows = draw_windows(
        SHAPE, (3, 6, 6), np.random.default_rng(1), coverage=1.87
    )

    # 1.87 * 131,072 voxels / 24.5 voxels a window; published: 10,000
    assert len(windows.sizes) == 10_004
    for axis, longest in enumerate((3, 6, 6)):
        sides = Counter(windows.sizes[:, axis].tolist())
        assert set(sides) == set(range(1, longest + 1))
        for count in sides.values():
            assert_rate(count, 1 / longest, 10_004)
        starts, ends = (
            windows.starts[:, axis],
            windows.starts[:, axis] + windows.sizes[:, axis],
        )
        assert starts.min() == 0 and ends.max() == SHAPE[axis]
        # start 0 of a window of side n is one of S - n + 1 places
        at_zero = sum(1 / (SHAPE[axis] - n + 1) for n in range(1, longest + 1))
        assert_rate((starts == 0).sum(), at_zero / longest, 10_004)


def test_as_many_windows_per_voxel_at_every_crop_size() -> None:
    rng = np.random.default_rng(0)
    for side in (32, 64, 96):
        windows = draw_windows((side,) * 3, (3, 6, 6), rng, coverage=1.87)
        covered = windows.sizes.prod(1).sum() / side**3
        assert covered == pytest.approx(1.87, rel=0.02)


def test_one_window_is_permuted_and_the_rest_stays(crop: np.ndarray) -> None:
    windows = Windows(np.array([[4, 50, 60]]), np.array([[3, 5, 2]]))
    box = np.s_[4:7, 50:55, 60:62]

    out = shuffle_windows(crop, windows, np.random.default_rng(0))

    outside = np.ones(SHAPE, dtype=bool)
    outside[box] = False
    np.testing.assert_array_equal(out[outside], crop[outside])
    assert (out[box] != crop[box]).sum() > 20
    np.testing.assert_array_equal(
        np.sort(out[box], axis=None), np.sort(crop[box], axis=None)
    )


def test_every_voxel_comes_from_a_window_it_shares() -> None:
    shape = (9, 11, 13)
    image = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    rng = np.random.default_rng(5)
    windows = draw_windows(shape, (3, 4, 5), rng, coverage=0.8)

    out = shuffle_windows(image, windows, rng)

    places = np.argwhere(out != image)
    sources = np.array(np.unravel_index(out[out != image].astype(int), shape))
    low, high = windows.starts, windows.starts + windows.sizes
    assert len(places) > 300
    for place, source in zip(places, sources.T):
        holds = [
            (low <= p).all(1) & (high > p).all(1) for p in (place, source)
        ]
        assert (holds[0] & holds[1]).any()


def test_shuffling_changes_as_much_as_the_literal_loop() -> None:
    image = np.arange(np.prod(SHAPE), dtype=np.float64).reshape(SHAPE)
    shuffle = LocalPixelShuffle(prob=1.0)
    ours, theirs = [], []
    for seed in range(3):
        out = shuffle.transform(results_of(image, seed))['image']
        ours.append(out != image)
        rng = np.random.default_rng(seed)
        theirs.append(literal.literal_shuffle(image, rng) != image)

    # one crop's share has a standard deviation of 0.005; at the faces, which
    # few windows reach, it is far below the 79 % of the whole
    assert np.mean(ours) == pytest.approx(np.mean(theirs), abs=0.015)
    assert np.mean(ours) == pytest.approx(0.79, abs=0.015)
    for face in (np.s_[:, 0], np.s_[:, :, :, 0]):
        share = np.stack(theirs)[face].mean()
        assert share < 0.7
        assert np.stack(ours)[face].mean() == pytest.approx(share, abs=0.025)


def test_no_window_size_always_wins(crop: np.ndarray) -> None:
    """Two windows over one voxel: either may be the later one."""
    starts = np.array([[4, 8, 8], [4, 9, 8]])
    windows = Windows(starts, np.array([[1, 2, 1], [1, 3, 1]]))
    owner = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        out = shuffle_windows(crop, windows, rng)
        column = out[4, 8:12, 8].tolist()
        # the first window wrote last if row 8's value is in row 9 or stays
        owner.append(column[1] == crop[4, 8, 8])

    # the 2-window is later in half of the runs and swaps in half of those
    assert_rate(sum(owner), 1 / 4, 200)


def test_tiles_cover_every_voxel_once(crop: np.ndarray) -> None:
    image = np.arange(np.prod(SHAPE), dtype=np.float32).reshape(SHAPE)

    out = shuffle_tiles(image, (3, 6, 6), np.random.default_rng(0))

    np.testing.assert_array_equal(np.sort(out, axis=None), image.ravel())
    assert (out != image).mean() > 0.9
    sources = np.array(np.unravel_index(out.astype(int), SHAPE))
    moved = np.abs(sources - np.indices(SHAPE)).reshape(3, -1).max(1)
    np.testing.assert_array_equal(moved, [2, 5, 5])
    with pytest.raises(ConfigError, match="mode: 'tile'"):
        LocalPixelShuffle(mode='tile')


def test_intensity_is_drawn_as_published() -> None:
    drawn = draws(NonLinearIntensity())
    curves = [curve for curve in drawn if curve is not None]

    assert_rate(len(curves), 0.9)
    assert_rate(sum(falls for _, falls in curves), 0.5, len(curves))
    inner = np.stack([points for points, _ in curves])
    assert inner.min() >= 0 and inner.max() <= 1
    np.testing.assert_allclose(inner.mean(0), 0.5, atol=4.5 * 0.289 / 42)


def test_bezier_curve_has_the_vectors_values() -> None:
    vector = VECTORS['bezier']
    inner = np.array(vector['points'][1:3])

    for name, decreasing in (('increasing', False), ('decreasing', True)):
        x, y = bezier_curve(inner, decreasing)
        np.testing.assert_allclose(
            np.interp(vector['x'], x, y),
            vector[name],
            atol=vector['tolerance_for_1000_samples'],
        )


@pytest.mark.parametrize('decreasing', [False, True])
def test_lookup_is_the_curve_to_half_a_step(
    crop: np.ndarray, decreasing: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = np.array([[0.2, 0.9], [0.7, 0.3]])
    intensity = NonLinearIntensity(prob=1.0)
    monkeypatch.setattr(intensity, 'draw', lambda results: (inner, decreasing))
    crop[0, 0, :2] = 0.0, 1.0

    out = intensity.transform(results_of(crop))['image']

    x, y = bezier_curve(inner, decreasing, samples=100_000)
    steepest = np.abs(np.diff(y) / np.diff(x)).max()
    wanted = np.interp(crop, x, y)
    np.testing.assert_allclose(out, wanted, atol=steepest * 0.5 / 4095 + 1e-5)
    assert out[0, 0, 0] == float(decreasing)
    assert out[0, 0, 1] == float(not decreasing)
    assert out.dtype == np.float32


def test_painting_is_drawn_as_published() -> None:
    painting = Painting()
    drawn = draws(painting)

    for chosen, rate in (
        (painting.inpainting, 0.18),
        (painting.outpainting, 0.72),
        (None, 0.10),
    ):
        assert_rate(sum(d is chosen for d in drawn), rate)


@pytest.mark.parametrize('shape', [SHAPE, (48, 64, 96)])
def test_boxes_of_inpainting_are_drawn_as_published(shape: tuple) -> None:
    drawn = draws(InPainting(), shape)

    # 0.05 none, 0.95 * 0.05 one, ..., 0.95^5 five
    number = Counter(map(len, drawn))
    for num in range(5):
        assert_rate(number[num], 0.95**num * 0.05)
    assert_rate(number[5], 0.95**5)
    _check_boxes(drawn, shape, [(s // 6, s // 3) for s in shape])


@pytest.mark.parametrize('shape', [SHAPE, (48, 64, 96)])
def test_boxes_of_outpainting_are_drawn_as_published(shape: tuple) -> None:
    drawn = draws(OutPainting(), shape)

    number = Counter(map(len, drawn))
    for num in range(1, 5):
        assert_rate(number[num], 0.95 ** (num - 1) * 0.05)
    assert_rate(number[5], 0.95**4)
    sides = [(s - 4 * s // 7, s - 3 * s // 7) for s in shape]
    if shape == SHAPE:
        assert sides == [(14, 19), (28, 37), (28, 37)]
    _check_boxes(drawn, shape, sides)


def _check_boxes(drawn: list, shape: tuple, sides: list) -> None:
    """Sides uniform in their range, starts uniform, a rim of 3 left out."""
    boxes = [box for boxes in drawn for box in boxes]
    for axis, (low, high) in enumerate(sides):
        found = Counter(box[axis].stop - box[axis].start for box in boxes)
        assert set(found) == set(range(low, high + 1))
        for count in found.values():
            assert_rate(count, 1 / (high - low + 1), len(boxes))
        starts = [
            (box[axis].start - 3)
            / (shape[axis] - 6 - box[axis].stop + box[axis].start)
            for box in boxes
            if shape[axis] - 6 > box[axis].stop - box[axis].start
        ]
        assert min(starts) == 0 and max(starts) == 1
        assert np.mean(starts) == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize(
    ('transform', 'name'),
    [(InPainting(), 'inpaint'), (OutPainting(), 'outpaint')],
)
def test_share_of_noise_is_the_vectors(
    transform: InPainting | OutPainting, name: str
) -> None:
    shares = []
    for boxes in draws(transform):
        inside = np.zeros(SHAPE, dtype=bool)
        for box in boxes:
            inside[box] = True
        shares.append(
            inside.mean() if name == 'inpaint' else 1 - inside.mean()
        )

    mean, *percentiles = VECTORS['painting'][name]['64x64x32']
    assert np.mean(shares) == pytest.approx(mean, abs=0.005)
    # 5 % have one box less than the rest, so two of these lie at a jump
    found = np.percentile(shares, [5, 50, 95])
    np.testing.assert_allclose(found, percentiles, atol=0.02)


def test_painting_puts_uniform_noise_and_keeps_the_rest(
    crop: np.ndarray,
) -> None:
    out = OutPainting().transform(results_of(crop, seed=4))

    masked = out['masked']
    assert (out['image'] == crop)[masked].mean() < 1e-3
    np.testing.assert_array_equal(out['image'][~masked], crop[~masked])
    noise = out['image'][masked]
    assert (np.histogram(noise, 10, (0, 1))[0] / len(noise)) == pytest.approx(
        0.1, abs=0.005
    )
    assert masked[:3].all() and masked[:, :, -3:].all()  # the rim


def test_painting_is_the_literal_rule(crop: np.ndarray) -> None:
    """Same statistics of hidden voxels, place by place."""
    ours = np.zeros(SHAPE)
    theirs = np.zeros(SHAPE)
    for seed in range(150):
        out = OutPainting().transform(results_of(crop, seed))
        ours += out['masked']
        rng = np.random.default_rng(1000 + seed)
        theirs += literal.literal_outpainting(crop, rng) != crop

    # along every axis the profile of hidden voxels is the same
    for axes in ((1, 2), (0, 2), (0, 1)):
        np.testing.assert_allclose(
            ours.mean(axes) / 150, theirs.mean(axes) / 150, atol=0.08
        )


@pytest.mark.parametrize(
    'transform',
    [
        LocalPixelShuffle(prob=1.0),
        LocalPixelShuffle(prob=1.0, mode='tiles'),
        NonLinearIntensity(prob=1.0),
        InPainting(),
        OutPainting(),
        Painting(prob=1.0),
    ],
    ids=lambda t: type(t).__name__,
)
def test_distortions_leave_the_target_and_its_input_alone(
    transform: object, crop: np.ndarray
) -> None:
    kept = crop.copy()

    out = transform.transform(results_of(crop, seed=1))
    again = transform.transform(results_of(crop, seed=1))
    other = transform.transform(results_of(crop, seed=2))

    np.testing.assert_array_equal(crop, kept)
    assert out['target'] is crop and out['image'] is not crop
    assert out['image'].dtype == np.float32
    assert 0 <= out['image'].min() and out['image'].max() <= 1
    np.testing.assert_array_equal(out['image'], again['image'])
    assert (out['image'] != other['image']).any()
