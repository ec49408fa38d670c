"""How well the targets of a config match the diameters of LUNA16's nodules.

python -m benchmarks.matching CONFIG ... [--cfg-options KEY=VALUE ...]

Every nodule of LUNA16 is put at a random position of the anchor grid. The
benchmark counts nodules with an anchor of IoU 0.5, anchors of the nearest cell
that are trained as background, and proposals that the RoI head is trained on
as nodule. The centre of a proposal is 1 or 1.5 mm off in a random direction;
its side has a random error (standard deviation of the logarithm: 0.2).
"""

from __future__ import annotations

import argparse
from typing import NamedTuple

import torch
from mmengine.config import Config
from terminaltables import AsciiTable
from torch import Tensor

from lungdet.apis import load_config
from lungdet.cli.errors import clean_errors
from lungdet.cli.options import add_cfg_options
from lungdet.io.reference_set import official_reference
from lungdet.ops import box_centers, box_iou, grow_boxes
from lungdet.registry import TASK_UTILS

CELLS = (16, 16, 16)
MIDDLE = 32.0  # voxels
ERRORS_MM = (1.0, 1.5)
SIDE_ERROR = 0.2


class Matching(NamedTuple):
    """Statistics of the targets of a config.

    Attributes:
        no_anchor: Fraction of the nodules without an anchor of IoU 0.5.
        background: Number of anchors in the cell nearest to a nodule of 4 to
            5 mm that are trained as background, averaged over these nodules.
        positives: Number of anchors trained as nodule, averaged over nodules.
        unused: Fraction of the proposals at nodules that the RoI head is
            not trained on as nodule, by the error of their centre in mm.
    """

    no_anchor: float
    background: float
    positives: float
    unused: dict[float, float]


def diameters() -> list[float]:
    """Diameters of LUNA16's 1,186 nodules in mm."""
    annotations = official_reference().annotations
    return [a.diameter_mm for nodules in annotations.values() for a in nodules]


def cubes(centers: Tensor, sides: Tensor) -> Tensor:
    """Boxes (N, 6) of centres (N, 3) and sides (N,)."""
    half = sides[:, None] / 2
    return torch.cat([centers - half, centers + half], dim=1)


def matching(config: Config, every: int = 1) -> Matching:
    """Statistics of a config on a grid of 1 mm, for every ``every``-th
    nodule."""
    generator = torch.Generator().manual_seed(0)
    sides = torch.tensor(diameters()[::every])
    random = torch.rand(len(sides), 3, generator=generator)
    centers = MIDDLE + 4 * random
    border = float(config.model.get('box_border', 0))
    nodules = grow_boxes(cubes(centers, sides), border)
    return Matching(
        *_anchor_figures(config, nodules, (sides >= 4) & (sides < 5)),
        _unused(config, centers, sides, border, generator),
    )


def _anchor_figures(
    config: Config, nodules: Tensor, is_small: Tensor
) -> tuple[float, float, float]:
    prior_generator = TASK_UTILS.build(config.model.rpn_head.anchor_generator)
    assigner = TASK_UTILS.build(config.model.train_cfg.rpn.assigner)
    anchors = prior_generator.grid_anchors(CELLS)
    per_cell = prior_generator.num_anchors
    cells = box_centers(anchors[::per_cell])
    overlaps, background, positives = [], [], []
    for nodule in nodules[:, None]:
        assigned = assigner.assign(anchors, nodule, per_cell=per_cell)
        cell = (cells - box_centers(nodule)).norm(dim=1).argmin()
        negative = assigned.negative.view(-1, per_cell)[cell]
        overlaps.append(box_iou(anchors, nodule).max())
        background.append(negative.sum())
        positives.append(assigned.positive.sum())
    return (
        float((torch.stack(overlaps) < 0.5).float().mean()),
        float(torch.stack(background)[is_small].float().mean()),
        float(torch.stack(positives).float().mean()),
    )


def _unused(
    config: Config,
    centers: Tensor,
    sides: Tensor,
    border: float,
    generator: torch.Generator,
) -> dict[float, float]:
    assigner = TASK_UTILS.build(config.model.train_cfg.rcnn.assigner)
    nodules = grow_boxes(cubes(centers, sides), border)
    unused = {}
    for error in ERRORS_MM:
        offset = torch.randn(len(sides), 3, generator=generator)
        offset *= error / offset.norm(dim=1, keepdim=True)
        factor = torch.randn(len(sides), generator=generator) * SIDE_ERROR
        proposals = cubes(centers + offset, sides * factor.exp())
        proposals = grow_boxes(proposals, border)
        is_used = [
            assigner.assign(proposal[None], nodule[None]).positive
            for proposal, nodule in zip(proposals, nodules)
        ]
        unused[error] = 1 - float(torch.cat(is_used).float().mean())
    return unused


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('configs', nargs='+')
    add_cfg_options(parser)
    args = parser.parse_args()
    rows = [['', 'no anchor', 'background', 'positives', 'unused 1, 1.5 mm']]
    for path in args.configs:
        figures = matching(load_config(path, args.cfg_options))
        rows.append(
            [
                path,
                f'{figures.no_anchor:.0%}',
                f'{figures.background:.1f}',
                f'{figures.positives:.1f}',
                ', '.join(f'{part:.0%}' for part in figures.unused.values()),
            ]
        )
    print(AsciiTable(rows).table)


if __name__ == '__main__':
    with clean_errors('benchmarks.matching'):
        main()
