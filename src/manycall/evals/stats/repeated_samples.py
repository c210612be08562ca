"""Metrics over several samples of each question: mean@k, pass@k, pass^k and maj@k."""

import math
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import NamedTuple

import msgspec

from manycall.evals.stats.mean import Mean


class ScoredSample(NamedTuple):
    """One scored answer to a question.

    Attributes:
        number: number of the sample, from 0.
        answer: the answer extracted from the response, or its hash: answers are only compared with each other.
        score: score of the answer; 1 or more is right.
    """

    number: int
    answer: Hashable
    score: float


class SampleMetric(msgspec.Struct, frozen=True):
    """Metric over the samples of each question, averaged over the questions.

    Attributes:
        name: for example "mean@4", "pass@4", "pass^4" or "maj@4".
        value: mean over the questions.
        stderr: standard error over the questions, which are independent, unlike the samples of one question; None for
            fewer than two questions.
        count: number of questions with at least k scored samples. Other questions are not included.
    """

    name: str
    value: float
    stderr: float | None
    count: int


def pass_at_k(k: int, n: int, right: int) -> float:
    """Return the probability that at least one of k samples is right: 1 - C(n-c, k) / C(n, k).

    The k samples are drawn without replacement from n samples, of which c = `right` are right.

    The unbiased estimate of Chen et al. (2021), "Evaluating large language models trained on code", arXiv:2107.03374.
    The formula 1 - (1 - c/n)^k, which is also in use, is biased low.
    """
    return 1.0 - math.comb(n - right, k) / math.comb(n, k)


def pass_hat_k(k: int, n: int, right: int) -> float:
    """Return the probability that all k samples are right, pass^k: C(c, k) / C(n, k).

    Yao et al. (2024), "τ-bench", arXiv:2406.12045.
    """
    return math.comb(right, k) / math.comb(n, k)


def majority_sample(samples: Sequence[ScoredSample]) -> ScoredSample:
    """Return the first sample with the most frequent answer. Among equally frequent answers, the earliest one wins.

    This is how lm-evaluation-harness votes (`majority_vote`, by Counter.most_common): "[invalid]" counts as an answer.
    Self-consistency: Wang et al. (2022), arXiv:2203.11171.
    """
    answer, _ = Counter(sample.answer for sample in samples).most_common(1)[0]
    return next(sample for sample in samples if sample.answer == answer)


def majority_score(samples: Sequence[ScoredSample]) -> float:
    """Return the score of the majority answer."""
    return majority_sample(samples).score


def vote_score(samples: Sequence[ScoredSample], k: int) -> float | None:
    """Return the score of the majority answer among the first k samples of a question; None if one of them is missing.

    With k = 1, that is the score of the first sample.
    """
    first = sorted(sample for sample in samples if sample.number < k)
    return majority_score(first) if len(first) == k else None


def mean_at_k(samples: Sequence[ScoredSample]) -> float:
    """Return the mean score."""
    return math.fsum(sample.score for sample in samples) / len(samples)


def sample_metrics(questions: Iterable[Sequence[ScoredSample]]) -> list[SampleMetric]:
    """Return all metrics over samples, for k = 2, 4, 8, … and the largest number of samples of any question."""
    sorted_samples = [sorted(samples) for samples in questions]
    max_samples = max(map(len, sorted_samples), default=0)
    ks = sorted({*(2**power for power in range(1, max_samples.bit_length())), max_samples} - {0, 1})
    return [
        _average(sorted_samples, "mean@", max_samples, lambda samples, k: mean_at_k(samples[:k])),
        *(_average(sorted_samples, "pass@", k, _from_counts(pass_at_k)) for k in ks),
        *(_average(sorted_samples, "pass^", k, _from_counts(pass_hat_k)) for k in ks),
        *(_average(sorted_samples, "maj@", k, lambda samples, k: majority_score(samples[:k])) for k in ks),
    ]


def _from_counts(formula: Callable[[int, int, int], float]) -> Callable[[Sequence[ScoredSample], int], float]:
    return lambda samples, k: formula(k, len(samples), sum(sample.score >= 1 for sample in samples))


def _average(
    questions: Sequence[Sequence[ScoredSample]],
    name: str,
    k: int,
    metric: Callable[[Sequence[ScoredSample], int], float],
) -> SampleMetric:
    mean = Mean()
    for samples in questions:
        if len(samples) >= k:
            mean.add(metric(samples, k))
    return SampleMetric(f"{name}{k}", mean.value, mean.stderr, mean.count)
