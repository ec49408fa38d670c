"""The metrics that a config's ``test_evaluator`` names: one, or a list."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from lungdet.engine import FROCMetric
from lungdet.errors import ConfigError
from lungdet.evaluation import CaseOptions
from lungdet.registry import METRICS


def metrics_of_test(config: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The configs of all metrics of the test, in order."""
    evaluator = config['test_evaluator']
    return [*evaluator] if isinstance(evaluator, list | tuple) else [evaluator]


def froc_metric(config: Mapping[str, Any]) -> dict[str, Any]:
    """The config of the metric that scores detections and writes them.

    Raises:
        ConfigError: There is none, or several, whose results would be mixed.
    """
    froc = [
        metric
        for metric in metrics_of_test(config)
        if issubclass(METRICS.class_of(metric), FROCMetric)
    ]
    if len(froc) != 1:
        raise ConfigError(
            f'test_evaluator: {len(froc)} of its metrics score detections; '
            'name one FROCMetric, or one class that derives from it.'
        )
    return froc[0]


def case_options(config: Mapping[str, Any]) -> CaseOptions:
    """How a config's test scores its scans together.

    Raises:
        ConfigError: As ``froc_metric``.
    """
    names = {field.name for field in fields(CaseOptions)} - {'candidates'}
    metric = froc_metric(config)
    return CaseOptions(**{k: v for k, v in metric.items() if k in names})
