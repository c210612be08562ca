"""The order of the choices of a question, as different authorities determine it. All orders are reproducible."""

from functools import cache
from hashlib import sha256
from random import Random


def order_by_hash(text: str, count: int) -> list[int]:
    """Return an order of `count` choices that depends only on `text`, usually the question.

    It does not depend on the position of the question in the file, so a part of a benchmark has the same orders as the
    whole. evalscope 1.14 orders the choices of GPQA in this way.
    """
    seed = int.from_bytes(sha256(text.strip().encode("utf-8", "surrogatepass")).digest()[:8], "big")
    order = list(range(count))
    Random(seed).shuffle(order)
    return order


def shuffled_orders(questions: int, count: int, seed: int = 0) -> list[list[int]]:
    """Return one order of `count` choices for each question, from one generator that shuffles them in turn.

    In lm-evaluation-harness this is Python's global generator, which it seeds with 0. Its orders are therefore those of
    a run with one task.
    """
    rng, orders = Random(seed), [list(range(count)) for _ in range(questions)]
    for order in orders:
        rng.shuffle(order)
    return orders


@cache
def sampled_orders(questions: int, count: int, sample: int, seed: int = 0) -> list[list[int]]:
    """Return one order of `count` choices for each question in the sample with this number.

    One generator draws the orders of all questions for the first sample, then for the next, as simple-evals does. So
    the orders of a sample do not depend on the number of samples.
    """
    rng = Random(seed)
    for _ in range(sample * questions):
        rng.sample(range(count), count)
    return [rng.sample(range(count), count) for _ in range(questions)]
