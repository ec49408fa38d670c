"""Parameters, and multiply-adds of backbone and RPN for one crop."""

from __future__ import annotations

import argparse

import torch
from terminaltables import AsciiTable
from torch.utils.flop_counter import FlopCounterMode

from lungdet.apis import load_config
from lungdet.cli import clean_errors
from lungdet.registry import build_model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config')
    parser.add_argument('--side', type=int, default=128, help='crop, voxels')
    args = parser.parse_args()
    with clean_errors('get_flops.py'):
        model = build_model(load_config(args.config).model).eval()
    rows = [['part', 'parameters']]
    for name, child in model.named_children():
        rows.append([name, f'{sum(p.numel() for p in child.parameters()):,}'])
    rows.append(['all', f'{sum(p.numel() for p in model.parameters()):,}'])
    print(AsciiTable(rows).table)
    crop = torch.zeros(1, 1, args.side, args.side, args.side)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        if hasattr(model, 'rpn_head'):
            head = 'RPN'
            model.rpn_head(model.extract_feat(crop))
        else:
            head = 'head'
            model.head(model.backbone(crop)[2])
    print(
        f'{counter.get_total_flops() / 2e9:.1f} GMAC for backbone and {head} '
        f'at {args.side}^3'
    )


if __name__ == '__main__':
    main()
