"""Mean of several means: of subtasks, or with a weight for each row."""

import math
from collections.abc import Sequence
from typing import NamedTuple


class SubtaskMean(NamedTuple):
    """Mean of one subtask over `rows` rows; `stderr` is its standard error, None if it is not known."""

    value: float
    stderr: float | None
    rows: int


def mean_by_rows(parts: Sequence[SubtaskMean]) -> SubtaskMean:
    """Return the mean of all rows: Σ(m·n) / Σn, with the standard error √(Σ((n-1)·se²·n) / (Σn-k) / Σn) for k subtasks.

    These are the formulas of lm-evaluation-harness for groups with `weight_by_size: true`
    (`aggregate_subtask_metrics`, `pooled_sample_stderr`). The standard error leaves out how much the subtasks differ,
    so it is smaller than that of all rows.
    """
    total = sum(part.rows for part in parts)
    value = math.fsum(part.value * part.rows for part in parts) / total
    if total == len(parts) or any(part.stderr is None for part in parts):
        return SubtaskMean(value, None, total)
    squares = math.fsum((part.rows - 1) * (part.stderr or 0.0) ** 2 * part.rows for part in parts)
    return SubtaskMean(value, math.sqrt(squares / (total - len(parts)) / total), total)


def mean_by_subtasks(parts: Sequence[SubtaskMean]) -> SubtaskMean:
    """Return the mean of the means, with the standard error √(Σse²) / k for k subtasks.

    These are the formulas of lm-evaluation-harness 0.4.13 for groups with `weight_by_size: false`.
    """
    value = math.fsum(part.value for part in parts) / len(parts)
    total = sum(part.rows for part in parts)
    if any(part.stderr is None for part in parts):
        return SubtaskMean(value, None, total)
    return SubtaskMean(value, math.sqrt(math.fsum((part.stderr or 0.0) ** 2 for part in parts)) / len(parts), total)


class WeightedMean:
    """Running mean with weights: Σwx / Σw. It has no standard error, because the weights are not constants."""

    __slots__ = ("_terms", "_weights")

    def __init__(self) -> None:
        self._terms: list[float] = []
        self._weights = 0.0

    def add(self, x: float, weight: float) -> None:
        """Add a number with its weight."""
        self._terms.append(x * weight)
        self._weights += weight

    @property
    def value(self) -> float:
        """Return the mean; 0 if nothing was added."""
        return math.fsum(self._terms) / self._weights if self._weights else 0.0
