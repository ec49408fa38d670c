"""What numbers and switches of a config may be, by the last words of a key.

A user's class may use such a name for something else; its arguments are not
compared with this table.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from lungdet.models.views import FLIPS

INF = math.inf
STRIDE = 16  # of the backbone: crops and windows are multiples of it


class Number(NamedTuple):
    """What a number, or each number of a list, may be.

    Attributes:
        low: The least value.
        high: The greatest.
        whole: Whether it is a whole number.
        above: Whether ``low`` itself is excluded.
        none: Whether None is allowed.
        length: Values of a list: None for a single number, 0 for a list of
            any length, -1 for either.
        multiple: Each is a multiple of it.
        filled: Whether a list must have at least one.
        rising: Whether each is greater than the one before.
        interval: Whether a list has the two ends of an interval, the lower
            one first; they may be equal.
    """

    low: float = 0
    high: float = INF
    whole: bool = False
    above: bool = False
    none: bool = False
    length: int | None = None
    multiple: int = 1
    filled: bool = False
    rising: bool = False
    interval: bool = False

    def text(self) -> str:
        """In words, for a message."""
        kind = 'a whole number' if self.whole else 'a number'
        if self.length is not None:
            several = 'one or two' if self.interval else 'one or several'
            count = {0: 'a list of', -1: several}.get(
                self.length, str(self.length)
            )
            kind = f'{count} {"whole " if self.whole else ""}numbers'
            kind += ', at least one,' if self.filled else ''
        words = [kind]
        if self.multiple > 1:
            words.append(f'that are multiples of {self.multiple}')
        if self.low > -INF:
            words.append(
                f'{"above" if self.above else "from"} {self.low:,.10g}'
            )
        if self.high < INF:
            words.append(f'up to {self.high:,.10g}')
        if self.rising:
            words.append('each greater than the one before')
        if self.interval:
            words[-1] += ', the lower one first'
        return ' '.join(words) + (' or None' if self.none else '')

    def allows(self, value: Any) -> bool:
        """Whether a value is such a number or list."""
        if value is None:
            return self.none
        if not isinstance(value, list | tuple):
            return self.length in (None, -1) and self._allows(value)
        if (
            self.length is None
            or self.length > 0
            and len(value) != self.length
        ):
            return False
        if self.filled and not value or not all(map(self._allows, value)):
            return False
        if self.interval and (len(value) != 2 or value[0] > value[1]):
            return False
        return not self.rising or all(a < b for a, b in zip(value, value[1:]))

    def _allows(self, value: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        if self.whole and not isinstance(value, int):
            return False
        return (
            math.isfinite(value)
            and self.low <= value <= self.high
            and not (self.above and value == self.low)
            and (self.multiple == 1 or not value % self.multiple)
        )


class Switch(NamedTuple):
    """A value that is True or False."""

    def text(self) -> str:
        """In words, for a message."""
        return 'True or False'

    def allows(self, value: Any) -> bool:
        """Whether a value is a switch's."""
        return isinstance(value, bool)


class Choice(NamedTuple):
    """A value that is one of several.

    Attributes:
        values: What it may be.
    """

    values: tuple[Any, ...]

    def text(self) -> str:
        """In words, for a message."""
        return ' or '.join(map(repr, self.values))

    def allows(self, value: Any) -> bool:
        """Whether a value is one of them, and of its type."""
        return any(
            type(value) is type(one) and value == one for one in self.values
        )


SWITCH = Switch()
COUNT = Number(1, 10_000_000, whole=True)
COUNT_OR_NONE = COUNT._replace(none=True)
AMOUNT = Number(0, 10_000_000, whole=True)
FRACTION = Number(0, 1)
POSITIVE = Number(above=True)
NOT_NEGATIVE = Number()
CHANNELS = Number(1, 65_536, whole=True, length=-1)
SIDES = Number(STRIDE, 1024, whole=True, length=3, multiple=STRIDE)
SUBSETS = Number(0, 9, whole=True, length=0)  # LUNA16's
HU_WINDOW = Number(-INF, length=2, rising=True)
INTERVAL = Number(length=2, interval=True)
POSITIVE_INTERVAL = INTERVAL._replace(above=True)
FRACTIONS = INTERVAL._replace(high=1)

# by the last words of a key; the longest that fits is taken
RULES: dict[str, Number | Switch | Choice] = {
    # loaders and data sets
    'batch_size': COUNT,
    'late_batch_size': COUNT,
    'num_workers': AMOUNT,
    'prefetch_factor': COUNT_OR_NONE,
    'timeout': NOT_NEGATIVE,
    'test_subsets': SUBSETS,
    'val_subsets': SUBSETS,
    'background_ratio': NOT_NEGATIVE,
    'crops_per_scan': COUNT,
    'lung_fraction': FRACTION,
    'size_weighting': FRACTION,
    'crops.nodule': AMOUNT,
    'crops.inserted': AMOUNT,
    'crops.mined': AMOUNT,
    'crops.lung': AMOUNT,
    'crops.anywhere': AMOUNT,
    # transforms
    'pipeline.size': SIDES,
    'late_size': SIDES._replace(none=True),
    'late_epoch': COUNT_OR_NONE,
    'margin': NOT_NEGATIVE,
    'border': NOT_NEGATIVE,
    'degrees': Number(0, 180, length=-1),
    'inside': FRACTION,
    'max_tissue': FRACTION._replace(none=True),
    'min_lung': FRACTION,
    'prob': FRACTION,
    'rotate_prob': FRACTION,
    'scale_prob': FRACTION,
    'scale': POSITIVE_INTERVAL._replace(length=-1),
    'pipeline.gamma': POSITIVE_INTERVAL,
    'pipeline.sigma': INTERVAL,
    'along_z': FRACTIONS,
    'in_plane': FRACTION._replace(length=2),  # from loud to quiet noise
    'sides': FRACTIONS,
    'gaps': FRACTIONS,
    'max_block': COUNT._replace(length=3),
    'max_tile': COUNT._replace(length=3),
    'axes': Number(0, 2, whole=True, length=0),
    'pipeline.count': AMOUNT._replace(length=2, interval=True),
    'sham_only': FRACTION,
    'psf_mm': POSITIVE_INTERVAL,
    'pipeline.thickness': POSITIVE_INTERVAL,
    'pipeline.noise': INTERVAL,
    'max_boxes': AMOUNT,
    'prob_box': FRACTION,
    'max_flips': AMOUNT,
    'decreasing': FRACTION,
    'coverage': POSITIVE,
    'jitter': NOT_NEGATIVE,
    'pipeline.tries': COUNT,
    'pipeline.shift': NOT_NEGATIVE,
    'pipeline.diameter_mm': POSITIVE,
    # schedules
    'max_epochs': COUNT,
    'val_interval': COUNT,
    'val_begin': COUNT,
    'seed': Number(0, 2**32 - 1, whole=True, none=True),
    'lr': NOT_NEGATIVE,
    'weight_decay': NOT_NEGATIVE,
    'momentum': FRACTION,
    'betas': FRACTION._replace(length=2),
    'eps': POSITIVE,
    'max_norm': POSITIVE,
    'clip_value': POSITIVE,
    'norm_decay_mult': NOT_NEGATIVE,
    'bias_decay_mult': NOT_NEGATIVE,
    'bias_lr_mult': NOT_NEGATIVE._replace(none=True),
    'dcn_offset_lr_mult': NOT_NEGATIVE._replace(none=True),
    'dwconv_decay_mult': NOT_NEGATIVE._replace(none=True),
    'flat_decay_mult': NOT_NEGATIVE._replace(none=True),
    'decay_mult': NOT_NEGATIVE,
    'lr_mult': NOT_NEGATIVE,
    'accumulative_counts': COUNT,
    'base_batch_size': COUNT,
    'T_max': COUNT,
    'begin': AMOUNT,
    'end': COUNT,
    'eta_min': NOT_NEGATIVE,
    'eta_min_ratio': FRACTION,
    'gamma': NOT_NEGATIVE,
    'milestones': AMOUNT._replace(length=0, rising=True),
    'power': POSITIVE,
    'start_factor': Number(0, 1, above=True),
    'end_factor': FRACTION,
    # hooks, logs, metrics
    'at': FRACTION._replace(length=0),
    'per_scan': COUNT,
    'interval': COUNT,
    'iter_interval': AMOUNT,
    'max_keep': COUNT,
    'iters': AMOUNT,
    'window_size': COUNT,
    'min_spread': NOT_NEGATIVE,
    'min_rank': FRACTION,
    'bootstrap': AMOUNT,
    'max_marks': COUNT_OR_NONE,
    # networks
    'blocks': Number(1, 1000, whole=True, length=0),
    'channels': CHANNELS,
    'backbone.blocks': Number(1, 1000, whole=True, length=6),
    'backbone.channels': CHANNELS._replace(length=6),
    'stem_channels': CHANNELS,
    'in_channels': CHANNELS,
    'feat_channels': CHANNELS,
    'fc_channels': CHANNELS,
    'skip_channels': CHANNELS,
    'window': HU_WINDOW,
    'dataset.window': HU_WINDOW._replace(none=True),  # is handed over
    'out_range': HU_WINDOW,
    'pad_hu': Number(-32768, 32767, whole=True),
    'sizes': POSITIVE._replace(length=0, filled=True),
    'max_dlog': POSITIVE._replace(none=True),
    'output_size': COUNT,
    'stride': COUNT,
    'prior': Number(0, 1, above=True, none=True),
    'mask_ratio': Number(0, 1, above=True),
    'model.block': COUNT,
    # losses and targets
    'loss_weight': NOT_NEGATIVE,
    'alpha': FRACTION,
    'bright_weight': POSITIVE,
    'bright_hu': Number(-32768, 32767),
    'high_pass': Number(3, 1023, whole=True, none=True),
    'min_hard': AMOUNT,
    'num_hard': AMOUNT,
    'pos_iou': FRACTION,
    'neg_iou': FRACTION,
    'topk': COUNT,
    'reach': NOT_NEGATIVE,
    'ignore_k': AMOUNT,
    'num': COUNT,
    'num_neg': AMOUNT._replace(none=True),
    'pos_per_gt': COUNT_OR_NONE,
    'max_pos': AMOUNT._replace(none=True),
    'start_epoch': AMOUNT,
    'train_cfg.crop_size': SIDES._replace(none=True),
    # detections
    'test_cfg.window': SIDES._replace(none=True),
    'overlap': AMOUNT,
    'windows_at_once': COUNT,
    'test_cfg.flips': Choice(tuple(FLIPS)),
    'max_voxels': Number(STRIDE**3, 1e9, whole=True, none=True),
    'min_inside': NOT_NEGATIVE,
    'score_thr': FRACTION,
    'test_cfg.score_thr': FRACTION._replace(none=True),
    'lung_margin_mm': NOT_NEGATIVE._replace(none=True),
    'nms_thr': FRACTION._replace(none=True),
    'nms_pre': COUNT_OR_NONE,
    'max_num': COUNT_OR_NONE,
    'max_per_window': AMOUNT._replace(none=True),
    'iou_thr': FRACTION._replace(none=True),
    'center_distance': NOT_NEGATIVE._replace(none=True),
    'center_radii': NOT_NEGATIVE._replace(none=True),
    'box_border': NOT_NEGATIVE,
    'max_per_scan': COUNT_OR_NONE,
    # switches, above all of dicts without a class
    'affine': SWITCH,
    'allow_failed_imports': SWITCH,
    'auto_scale_lr.enable': SWITCH,
    'bf16': SWITCH,
    'by_epoch': SWITCH,
    'bypass_duplicate': SWITCH,
    'convert_to_iter_based': SWITCH,
    'cudnn_benchmark': SWITCH,
    'deterministic': SWITCH,
    'diff_rank_seed': SWITCH,
    'disable_subprocess_warning': SWITCH,
    'drop_last': SWITCH,
    'error_if_nonfinite': SWITCH,
    'inplace': SWITCH,
    'log_with_hierarchy': SWITCH,
    'only_lungs': SWITCH,
    'persistent_workers': SWITCH,
    'pin_memory': SWITCH,
    'requires_grad': SWITCH,
    'track_running_stats': SWITCH,
    'update_buffers': SWITCH,
}


def rule_of(key: str) -> Number | Switch | Choice | None:
    """What the value of a dotted key may be, None if nothing is known."""
    words = [word for word in key.split('.') if not word.isdigit()]
    for start in range(len(words)):
        rule = RULES.get('.'.join(words[start:]))
        if rule is not None:
            return rule
    return None
