"""Errors of restored crops, compared with those of trivial outputs."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
from mmengine.evaluator import BaseMetric

from lungdet.engine.distributed import from_all_ranks
from lungdet.registry import METRICS

NUM_BINS = 4096  # of the target's histogram; its median is exact to 1e-4
SATURATED = 0.01  # outputs this close to 0 or 1


@METRICS.register_module()
class RestorationMetric(BaseMetric):
    """Errors over all scored voxels of all crops.

    All voxels are scored, or only the hidden ones if the model is trained on
    these alone. Metrics without a scored voxel are left out. They are

    - ``l1`` and ``mse``,
    - ``vs_constant`` and ``vs_copy``: the error that is trained on, over that
      of the best constant (median or mean of the target) and over that of
      the corrupted input itself,
    - ``spread``: standard deviation of the output over the target's,
    - ``saturated``: fraction of outputs within 0.01 of 0 or 1,
    - ``l1_inside_<kind>``, ``l1_outside_<kind>``: absolute error inside and
      outside of each kind of painting.
    """

    default_prefix = 'restore'

    def process(self, data_batch: Any, data_samples: Any) -> None:
        """Keep the sums of each crop."""
        for sample in data_samples:
            restored, target, corrupted = (
                sample[name].float().cpu().numpy().astype(np.float64)
                for name in ('restored', 'target', 'corrupted')
            )
            masked = sample['masked'].cpu().numpy()
            scored = masked if sample['loss_on'] == 'masked' else ...
            self.results.append(
                {
                    'key': sample['sample_key'],
                    'kind': sample['loss'],
                    **_sums(
                        restored[scored], target[scored], corrupted[scored]
                    ),
                    **_painted(
                        np.abs(restored - target), masked, sample['painting']
                    ),
                }
            )

    def evaluate(self, size: int) -> dict[str, float]:
        """Sum over the crops of all ranks, each once, in one order."""
        crops = {crop['key']: crop for crop in from_all_ranks(self.results)}
        self.results.clear()
        return self.compute_metrics([crops[key] for key in sorted(crops)])

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Metrics of the crops' sums."""
        total: dict[str, Any] = defaultdict(float)
        for crop in results:
            for name, value in crop.items():
                if name not in ('key', 'kind'):
                    total[name] = total[name] + value
        n = total['n']
        if not n:  # only hidden voxels are scored, and there were none
            return {}
        errors = {'l1': total['l1'] / n, 'mse': total['mse'] / n}
        copied = {'l1': total['copy_l1'] / n, 'mse': total['copy_mse'] / n}
        constant = {
            'l1': _median_error(total['histogram']),
            'mse': _variance(total, 'target', n),
        }
        kind = results[0]['kind']
        spread = _variance(total, 'restored', n) / max(constant['mse'], 1e-12)
        metrics = {
            **errors,
            'vs_constant': errors[kind] / max(constant[kind], 1e-12),
            'vs_copy': errors[kind] / max(copied[kind], 1e-12),
            'spread': np.sqrt(spread),
            'saturated': total['saturated'] / n,
        }
        for name in sorted(total):
            side, _, painting = name.partition(' ')
            if side in ('inside', 'outside'):
                if count := total[f'voxels {name}']:
                    metrics[f'l1_{side}_{painting}'] = total[name] / count
        return {f'restore/{k}': float(v) for k, v in metrics.items()}


def _sums(
    restored: np.ndarray, target: np.ndarray, corrupted: np.ndarray
) -> dict[str, Any]:
    extreme = (restored < SATURATED) | (restored > 1 - SATURATED)
    bins = np.minimum(target.ravel() * NUM_BINS, NUM_BINS - 1).astype(int)
    return {
        'n': target.size,
        'l1': np.abs(restored - target).sum(),
        'mse': np.square(restored - target).sum(),
        'copy_l1': np.abs(corrupted - target).sum(),
        'copy_mse': np.square(corrupted - target).sum(),
        'target': target.sum(),
        'target squared': np.square(target).sum(),
        'restored': restored.sum(),
        'restored squared': np.square(restored).sum(),
        'saturated': extreme.sum(),
        'histogram': np.bincount(bins, minlength=NUM_BINS),
    }


def _painted(
    error: np.ndarray, masked: np.ndarray, painting: str
) -> dict[str, float]:
    """Absolute error and voxels on both sides of a painting."""
    if not masked.any():
        return {}
    return {
        f'inside {painting}': error[masked].sum(),
        f'outside {painting}': error[~masked].sum(),
        f'voxels inside {painting}': masked.sum(),
        f'voxels outside {painting}': (~masked).sum(),
    }


def _variance(total: dict[str, Any], name: str, n: float) -> float:
    return max(total[f'{name} squared'] / n - (total[name] / n) ** 2, 0.0)


def _median_error(histogram: np.ndarray) -> float:
    """Mean absolute distance to the median."""
    values = (np.arange(NUM_BINS) + 0.5) / NUM_BINS
    below = np.cumsum(histogram)
    median = values[np.searchsorted(below, below[-1] / 2)]
    return float((histogram * np.abs(values - median)).sum() / below[-1])
