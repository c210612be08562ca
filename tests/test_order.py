from functools import partial
from statistics import fmean, pvariance

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manycall.control.regression import RunningMoments
from manycall.control.row_order import CHECK_EVERY_ROWS, MAX_ROWS_PER_CALL, MIN_SAMPLES, RowOrder


def order(sizes: list[int], *, tells: bool) -> RowOrder[int]:
    found: RowOrder[int] = RowOrder(float)
    for n in range(MIN_SAMPLES):
        found.learn(n, 10 * n if tells else (n * 7919) % 31)
    for size in sizes:
        found.add(size)
    return found


def test_the_first_goes_first_as_long_as_nothing_is_known() -> None:
    fresh: RowOrder[int] = RowOrder(float)
    for size in (3, 1, 2):
        fresh.add(size)
    assert [fresh.pop(lambda: 1.0) for _ in range(3)] == [3, 1, 2]


def test_where_long_rows_have_long_answers_they_go_first_if_there_are_few() -> None:
    found = order([3] * CHECK_EVERY_ROWS + [1, 5, 2], tells=True)
    assert [found.pop(lambda: MAX_ROWS_PER_CALL + 1) for _ in range(CHECK_EVERY_ROWS)] == [3] * CHECK_EVERY_ROWS
    assert [found.pop(lambda: MAX_ROWS_PER_CALL - 1) for _ in range(3)] == [5, 2, 1]
    assert repr(found) == "<RowOrder: 0 rows, longest first>"


def test_where_they_do_not_the_order_stays() -> None:
    found = order([3, 1, 5, 2], tells=False)
    assert not found.size_predicts_length
    assert [found.pop(lambda: 1.0) for _ in range(4)] == [3, 1, 5, 2]


@given(st.lists(st.integers(0, 100)), st.booleans(), st.lists(st.floats(0, 100), max_size=200))
def test_no_row_is_lost_or_doubled(sizes: list[int], tells: bool, lefts: list[float]) -> None:
    found, taken = order([], tells=tells), []
    todo = list(sizes)
    for left in lefts:
        if todo:
            found.add(todo.pop())
        if left > 50 and found:
            taken.append(found.pop(partial(float, left - 50)))
    while found:
        taken.append(found.pop(lambda: 1.0))
    assert sorted(taken + todo) == sorted(sizes)


def test_rows_of_equal_size_go_in_the_order_in_which_they_came() -> None:
    found: RowOrder[str] = RowOrder(len)
    for n in range(MIN_SAMPLES):
        found.learn("x" * n, 10 * n)
    for row in ("one", "two", "three", "six"):
        found.add(row)
    assert [found.pop(lambda: 1.0) for _ in range(4)] == ["three", "one", "two", "six"]


@given(st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 1000)), min_size=1, max_size=20))
def test_the_sums_give_means_variances_and_the_covariance(pairs: list[tuple[int, int]]) -> None:
    moments = RunningMoments()
    for x, y in pairs:
        moments.add(x, y)
    xs, ys = [x for x, _ in pairs], [y for _, y in pairs]
    mean_x, mean_y = fmean(xs), fmean(ys)
    covariance = fmean((x - mean_x) * (y - mean_y) for x, y in pairs)
    assert moments.summary() == pytest.approx((mean_x, mean_y, pvariance(xs), pvariance(ys), covariance), abs=1e-6)
    assert moments.count == len(pairs)
