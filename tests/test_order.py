from functools import partial
from statistics import fmean, pvariance

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manycall.control.moments import Moments
from manycall.control.order import ANSWERS, LOOK, ROWS_PER_CALL, Order


def order(sizes: list[int], *, tells: bool) -> Order[int]:
    found: Order[int] = Order(float)
    for n in range(ANSWERS):
        found.learn(n, 10 * n if tells else (n * 7919) % 31)
    for size in sizes:
        found.put(size)
    return found


def test_the_first_goes_first_as_long_as_nothing_is_known() -> None:
    fresh: Order[int] = Order(float)
    for size in (3, 1, 2):
        fresh.put(size)
    assert [fresh.take(lambda: 1.0) for _ in range(3)] == [3, 1, 2]


def test_where_long_rows_have_long_answers_they_go_first_if_there_are_few() -> None:
    found = order([3] * LOOK + [1, 5, 2], tells=True)
    assert [found.take(lambda: ROWS_PER_CALL + 1) for _ in range(LOOK)] == [3] * LOOK
    assert [found.take(lambda: ROWS_PER_CALL - 1) for _ in range(3)] == [5, 2, 1]
    assert repr(found) == "<Order: 0 rows ahead, the longest first>"


def test_where_they_do_not_the_order_stays() -> None:
    found = order([3, 1, 5, 2], tells=False)
    assert not found.tells
    assert [found.take(lambda: 1.0) for _ in range(4)] == [3, 1, 5, 2]


@given(st.lists(st.integers(0, 100)), st.booleans(), st.lists(st.floats(0, 100), max_size=200))
def test_no_row_is_lost_or_doubled(sizes: list[int], tells: bool, lefts: list[float]) -> None:
    found, taken = order([], tells=tells), []
    todo = list(sizes)
    for left in lefts:
        if todo:
            found.put(todo.pop())
        if left > 50 and found:
            taken.append(found.take(partial(float, left - 50)))
    while found:
        taken.append(found.take(lambda: 1.0))
    assert sorted(taken + todo) == sorted(sizes)


def test_rows_of_equal_size_go_in_the_order_in_which_they_came() -> None:
    found: Order[str] = Order(len)
    for n in range(ANSWERS):
        found.learn("x" * n, 10 * n)
    for row in ("one", "two", "three", "six"):
        found.put(row)
    assert [found.take(lambda: 1.0) for _ in range(4)] == ["three", "one", "two", "six"]


@given(st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 1000)), min_size=1, max_size=20))
def test_the_sums_give_means_variances_and_the_covariance(pairs: list[tuple[int, int]]) -> None:
    moments = Moments()
    for x, y in pairs:
        moments.add(x, y)
    xs, ys = [x for x, _ in pairs], [y for _, y in pairs]
    mean_x, mean_y = fmean(xs), fmean(ys)
    covariance = fmean((x - mean_x) * (y - mean_y) for x, y in pairs)
    assert moments.read() == pytest.approx((mean_x, mean_y, pvariance(xs), pvariance(ys), covariance), abs=1e-6)
    assert moments.count == len(pairs)
