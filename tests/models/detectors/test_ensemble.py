from __future__ import annotations

import copy

import pytest
import torch

from lungdet.data_sample import DetDataSample
from lungdet.errors import ConfigError
from lungdet.models import EnsembleDetector, NoduleNet
from lungdet.registry import build_model
from tests.models.nets import NARROW, narrow_net

TEST_CFG = {
    'window': (32, 32, 32),
    'overlap': 16,
    'rpn': {'score_thr': 0.0, 'max_num': 8},
    'mask': {'score_thr': 0.0},
}
MEMBER = {
    'type': 'NoduleNet',
    **NARROW,
    'train_cfg': {'rcnn': {'start_epoch': 3}},
    'test_cfg': TEST_CFG,
}
CASE = torch.randint(
    -1000, 400, (1, 32, 32, 48), generator=torch.Generator().manual_seed(0)
)


def ensemble_of(*nets: NoduleNet, **options: object) -> EnsembleDetector:
    members = [copy.deepcopy(MEMBER) for _ in nets]
    ensemble = build_model(
        {'type': 'EnsembleDetector', 'members': members, **options}
    )
    for member, net in zip(ensemble.members, nets):
        member.load_state_dict(net.state_dict())
    return ensemble.eval()


def nets() -> tuple[NoduleNet, NoduleNet]:
    one, other = (narrow_net(test_cfg=TEST_CFG).eval() for _ in range(2))
    torch.manual_seed(1)
    for parameter in other.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    return one, other


def test_two_equal_members_detect_what_one_does() -> None:
    net, _ = nets()

    both = ensemble_of(net, net).predict_case(CASE)
    one = net.predict_case(CASE)

    assert len(both) == len(one) > 3
    assert both.scores.tolist() == pytest.approx(one.scores.tolist())
    assert both.bboxes.flatten().tolist() == pytest.approx(
        one.bboxes.flatten().tolist(), abs=1e-3
    )


def test_members_are_the_views_of_a_case() -> None:
    one, other = nets()

    merged = ensemble_of(one, other).predict_case(CASE)

    parts = []
    for number, net in enumerate((one, other)):
        predictor = net.case_predictor()
        predictor.post_processor.nms['iou_thr'] = None  # keeps all
        predictor.post_processor.max_per_scan = None
        part = predictor.predict(CASE)
        part.views = torch.full((len(part),), number)
        parts.append(part)
    fresh = narrow_net(test_cfg=TEST_CFG).post_processor
    wanted = fresh.select(type(parts[0]).cat(parts), 2)
    assert len(merged) == len(wanted) > 3
    assert merged.scores.tolist() == pytest.approx(
        wanted.scores.tolist(), abs=1e-5
    )
    assert merged.scores.max() < max(p.scores.max() for p in parts)


def test_members_average_their_mirrored_views() -> None:
    """Two equal members give what one of them gives."""
    net, _ = nets()
    both = ensemble_of(net, net)
    net.test_cfg['flips'] = both.members[0].test_cfg['flips'] = 2

    alone, merged = net.predict_case(CASE), both.predict_case(CASE)

    assert len(alone) > 3
    assert merged.scores.tolist() == pytest.approx(alone.scores.tolist())
    torch.testing.assert_close(merged.bboxes, alone.bboxes)


def test_candidates_get_the_mean_of_the_members() -> None:
    pair = nets()
    boxes = torch.tensor([[8.0, 8, 8, 14, 14, 14]])
    sample = DetDataSample()
    sample.candidates = type(ensemble_of(*pair).predict_case(CASE))(
        bboxes=boxes
    )

    (sample,) = ensemble_of(*pair)([CASE], [sample])

    scores = [net.case_predictor().score(CASE, boxes) for net in pair]
    assert sample.pred_instances.scores.item() == pytest.approx(
        sum(s.item() for s in scores) / 2
    )


def test_heads_of_a_member_start_by_the_epoch_of_its_weights() -> None:
    one, other = nets()

    early = ensemble_of(one, other, epochs=[2, 3])

    assert [m.bbox_started for m in early.members] == [False, True]


def test_members_that_do_not_fit_are_refused() -> None:
    prep = {'type': 'CTDataPreprocessor', 'window': (-1000, 400)}
    other = {**copy.deepcopy(MEMBER), 'data_preprocessor': prep}

    grown = {**copy.deepcopy(MEMBER), 'box_border': 8}

    for one in (other, grown):
        with pytest.raises(ConfigError, match='same HU window, output range'):
            EnsembleDetector([copy.deepcopy(MEMBER), one])
    with pytest.raises(ConfigError, match='2 members and the epochs'):
        EnsembleDetector([MEMBER, MEMBER], epochs=[3])
    with pytest.raises(ConfigError, match='0 members'):
        EnsembleDetector([])
    with pytest.raises(ConfigError, match='an ensemble is not trained'):
        ensemble_of(*nets())([CASE], mode='loss')
