"""One metric of the test, or a list of them."""

from __future__ import annotations

import pytest

from lungdet.apis.evaluators import (
    case_options,
    froc_metric,
    metrics_of_test,
)
from lungdet.engine import FROCMetric
from lungdet.errors import ConfigError
from lungdet.evaluation import CaseOptions

FROC = {'type': 'FROCMetric', 'bootstrap': 5}
OTHER = {'type': 'RestorationMetric'}


@pytest.mark.parametrize('evaluator', [FROC, [FROC], [OTHER, FROC]])
def test_options_come_from_the_metric_that_scores(evaluator: object) -> None:
    config = {'test_evaluator': evaluator}

    assert froc_metric(config) is FROC
    assert FROC in metrics_of_test(config)
    assert case_options(config) == CaseOptions(bootstrap=5)


def test_a_class_that_derives_from_it_scores_too() -> None:
    class Stricter(FROCMetric):
        pass

    metric = {'type': Stricter, 'out_dir': 'x'}

    assert froc_metric({'test_evaluator': [OTHER, metric]}) is metric


@pytest.mark.parametrize('evaluator', [OTHER, [], [FROC, FROC]])
def test_there_is_one(evaluator: object) -> None:
    with pytest.raises(ConfigError, match='name one FROCMetric'):
        froc_metric({'test_evaluator': evaluator})
