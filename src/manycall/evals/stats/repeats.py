"""Several samples of each question: what one of them is worth, the best, all of them, and their vote."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import msgspec

from manycall.evals.metrics import Mean


class Sample(NamedTuple):
    """One answer to a question.

    Attributes:
        number: which sample it is, from 0.
        answer: what was read out of the response.
        score: what that is worth; 1 or more is right.
    """

    number: int
    answer: str
    score: float


class Repeated(msgspec.Struct, frozen=True):
    """A score over the samples of each question, meaned over the questions.

    Attributes:
        name: "mean@4", "pass@4", "pass^4", "maj@4".
        stderr: over the questions, which are independent as the samples of one are not; None for fewer than two.
        count: the questions with so many scored samples. The others are not in it.
    """

    name: str
    value: float
    stderr: float | None
    count: int


def pass_at(k: int, n: int, right: int) -> float:
    """The chance that k samples, drawn from n of which so many are right, hold a right one: 1 - C(n-c, k) / C(n, k).

    The unbiased estimate of Chen et al. (2021), "Evaluating large language models trained on code", arXiv:2107.03374.
    1 - (1 - c/n)^k, which one sees too, is too low.
    """
    return 1.0 - math.comb(n - right, k) / math.comb(n, k)


def pass_all(k: int, n: int, right: int) -> float:
    """The chance that they are all right, pass^k: C(c, k) / C(n, k). Yao et al. (2024), "τ-bench", arXiv:2406.12045."""
    return math.comb(right, k) / math.comb(n, k)


def winner(samples: Sequence[Sample]) -> Sample:
    """The first sample with the answer that came most often; of several such answers, of the one that came first.

    As lm-evaluation-harness votes (`majority_vote`, by Counter.most_common): "[invalid]" has a vote as well.
    Self-consistency: Wang et al. (2022), arXiv:2203.11171.
    """
    answer, _ = Counter(sample.answer for sample in samples).most_common(1)[0]
    return next(sample for sample in samples if sample.answer == answer)


def majority(samples: Sequence[Sample]) -> float:
    """The score of the winner."""
    return winner(samples).score


def mean_of(samples: Sequence[Sample]) -> float:
    """The mean score."""
    return math.fsum(sample.score for sample in samples) / len(samples)


def repeated(questions: Iterable[Sequence[Sample]]) -> list[Repeated]:
    """All scores over samples, for k = 2, 4, 8, ... and the most samples that any question has."""
    asked = [sorted(samples) for samples in questions]
    most = max(map(len, asked), default=0)
    ks = sorted({*(2**power for power in range(1, most.bit_length())), most} - {0, 1})
    return [
        _over(asked, "mean@", most, lambda samples, k: mean_of(samples[:k])),
        *(_over(asked, "pass@", k, _chance(pass_at)) for k in ks),
        *(_over(asked, "pass^", k, _chance(pass_all)) for k in ks),
        *(_over(asked, "maj@", k, lambda samples, k: majority(samples[:k])) for k in ks),
    ]


def _chance(formula: Callable[[int, int, int], float]) -> Callable[[Sequence[Sample], int], float]:
    return lambda samples, k: formula(k, len(samples), sum(sample.score >= 1 for sample in samples))


def _over(
    asked: Sequence[Sequence[Sample]], name: str, k: int, worth: Callable[[Sequence[Sample], int], float]
) -> Repeated:
    mean = Mean()
    for samples in asked:
        if len(samples) >= k:
            mean.add(worth(samples, k))
    return Repeated(f"{name}{k}", mean.value, mean.stderr, mean.count)
