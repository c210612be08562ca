"""The order in which the rows of a short run start."""

import math
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from statistics import fmean, pvariance
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes import SoloClient
from manycall.client.job_client import JobClient
from manycall.control import row_order
from manycall.control.regression import RunningMoments
from manycall.control.row_order import (
    MAX_CACHED_CHARACTERS,
    MAX_CHARACTERS,
    MAX_ROWS,
    MAX_ROWS_PER_CALL,
    MIN_ANSWERS,
    MIN_ROWS_PER_SORT,
    RowOrder,
    row_size,
)
from manycall.data.row_source import RowSource
from manycall.records import Row
from manycall.run.row_client import JournalLog, RowClient
from manycall.run.scheduler import Scheduler
from manycall.sim import virtual_time
from manycall.sim.in_process import InProcessTransport
from manycall.sim.server import SimServer
from manycall.sim.sim_settings import SimSettings
from manycall.store.manifest import Manifest
from manycall.store.run_folder import RunFolder

FEW, MANY = float(MAX_ROWS_PER_CALL - 1), float(MAX_ROWS_PER_CALL + 1)


def few() -> float:
    return FEW


def many() -> float:
    return MANY


def row(size: int, index: int = 0, sample: int = 0) -> Row:
    return Row(f"{index}#{sample}", {"text": "x" * size}, index, sample)


def pop(order: RowOrder, rows_per_call: Callable[[], float] = few) -> Row:
    found = order.pop(rows_per_call)
    assert found is not None
    return found


def sizes_of(order: RowOrder, rows_per_call: Callable[[], float] = few) -> list[int]:
    return [row_size(pop(order, rows_per_call)) for _ in range(len(order))]


def names_of(order: RowOrder, rows_per_call: Callable[[], float] = few) -> list[str]:
    return [pop(order, rows_per_call).id for _ in range(len(order))]


def order_of(sizes: list[int], length: Callable[[int], float]) -> RowOrder:
    """An order that has learned the lengths of the answers to rows of 0, 1, 2, ... characters."""
    order = RowOrder()
    for size in range(MIN_ANSWERS):
        order.learn(row(size, -1), length(size))
    for index, size in enumerate(sizes):
        order.add(row(size, index))
    return order


def unrelated(size: int) -> float:
    return (size * 7919) % 31


def sampled(questions: int, samples: int, size: int = 1) -> RowOrder:
    """An order with all samples of each question consecutively, as they are read."""
    order = RowOrder()
    for index in range(questions):
        for sample in range(samples):
            order.add(row(size, index, sample))
    return order


def test_rows_keep_their_order_as_long_as_nothing_is_known() -> None:
    order = RowOrder()
    for size in (3, 1, 2):
        order.add(row(size))
    assert sizes_of(order) == [3, 1, 2]


def test_if_long_rows_have_long_answers_they_go_first_once_few_rows_remain() -> None:
    order = order_of([3] * MIN_ROWS_PER_SORT + [1, 5, 2], lambda size: 10.0 * size)
    assert [row_size(pop(order, many)) for _ in range(MIN_ROWS_PER_SORT)] == [3] * MIN_ROWS_PER_SORT
    assert sizes_of(order) == [5, 2, 1]


def test_if_long_rows_have_short_answers_the_short_rows_go_first() -> None:
    assert sizes_of(order_of([3, 1, 5, 2], lambda size: 1000.0 - size)) == [1, 2, 3, 5]


def test_if_size_and_length_are_unrelated_the_order_stays() -> None:
    assert sizes_of(order_of([3, 1, 5, 2], unrelated)) == [3, 1, 5, 2]


def test_rows_of_equal_size_keep_their_order() -> None:
    order = order_of([3, 3, 5, 3], lambda size: 10.0 * size)
    assert names_of(order) == ["2#0", "0#0", "1#0", "3#0"]


def test_the_text_of_nested_messages_counts() -> None:
    fields = {"messages": [{"role": "user", "content": "four"}], "n": 12345, "more": ("ab", {"c": "d"})}
    assert row_size(Row("a", fields)) == len("user") + len("four") + len("abd")


def test_the_first_samples_of_all_questions_go_first() -> None:
    assert names_of(sampled(3, 2)) == ["0#0", "1#0", "2#0", "0#1", "1#1", "2#1"]


def test_samples_keep_the_order_of_the_input_in_a_long_run() -> None:
    assert names_of(sampled(3, 2), many) == ["0#0", "0#1", "1#0", "1#1", "2#0", "2#1"]


def test_samples_of_questions_whose_prompts_do_not_fit_into_a_cache_keep_the_order_of_the_input() -> None:
    assert names_of(sampled(3, 2, MAX_CACHED_CHARACTERS // 2)) == ["0#0", "0#1", "1#0", "1#1", "2#0", "2#1"]


def test_questions_with_long_answers_go_first_and_those_without_an_answer_before_them() -> None:
    order = sampled(4, 3)
    for index, tokens in ((0, 10.0), (1, 300.0), (3, 20.0), (3, 40.0)):
        order.learn(row(1, index), tokens)
    first = [name for name in names_of(order) if not name.endswith("#0")]
    assert first == ["2#1", "2#2", "1#1", "1#2", "3#1", "3#2", "0#1", "0#2"]


def test_nothing_is_kept_of_questions_whose_samples_have_started() -> None:
    order = sampled(5, 3)
    names_of(order)
    for index in range(5):
        order.learn(row(1, index), 5.0)
    assert "0 with samples" in repr(order)


def test_reading_ahead_is_limited_in_rows_and_in_characters() -> None:
    order = RowOrder()
    assert not order.is_filled(0.5)
    for index in range(MAX_ROWS):
        assert not order.is_filled(1.0)
        order.add(row(1, index))
    assert order.is_filled(0.5)
    assert order.is_filled(1.0)
    big = RowOrder()
    big.add(row(MAX_CHARACTERS))
    assert big.is_filled(1.0)
    pop(big, few)
    assert not big.is_filled(0.5)


@given(
    questions=st.lists(st.tuples(st.integers(1, 5), st.integers(0, 50)), max_size=30),
    lengths=st.lists(st.integers(0, 1000), max_size=200),
    lefts=st.lists(st.floats(0, 100), max_size=200),
)
def test_every_row_starts_exactly_once_and_no_sample_before_an_earlier_one(
    questions: list[tuple[int, int]], lengths: list[int], lefts: list[float]
) -> None:
    order, answers = RowOrder(), iter(lengths)
    todo = [row(size, index, k) for index, (samples, size) in enumerate(questions) for k in range(samples)]
    started: list[Row] = []
    waiting = iter(todo)
    for left in lefts:
        if left > 50 and order:
            started.append(pop(order, partial(float, left)))
            order.learn(started[-1], next(answers, 1))
        elif (read := next(waiting, None)) is not None:
            order.add(read)
    for read in waiting:
        order.add(read)
    while order:
        started.append(pop(order, few))
        order.learn(started[-1], next(answers, 1))
    assert sorted(one.id for one in started) == sorted(one.id for one in todo)
    for index in range(len(questions)):
        samples = [one.sample for one in started if one.index == index]
        assert samples == sorted(samples)
    assert not order
    assert not order.is_filled(0.001)


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


SLOTS = 32
SERVER = SimSettings(slots=SLOTS, latency=0.0, token_latency=0.01, spread=0.1, output_ratio=1.0)


async def repeat(row: Row, llm: RowClient) -> dict[str, Any]:
    """Ask for an answer whose length no text of the row shows."""
    return {"text": (await llm.chat("word " * row.fields["words"])).text[:5]}


def play(folder: Path, words: list[int], samples: int) -> tuple[float, float, list[str]]:
    """Return the duration of a run, its lower bound, and the ids in the order of the output."""
    rows = [{"id": f"q{index}", "words": each} for index, each in enumerate(words)]

    async def main() -> float:
        run = RunFolder(folder / "out.jsonl", Manifest("0", {}))
        transport = InProcessTransport({"a": server})
        async with SoloClient("m", base_url="http://a", transport=transport, concurrency=SLOTS) as client:
            source = RowSource(rows, samples=samples)
            calls = JobClient(client.pool, "m", {}, counters=client.counters, log=JournalLog(run.journal))
            await Scheduler(calls, run, repeat, total=source.total).run(source.pending_rows(run.ids))
        run.close()
        return virtual_time.now()

    server = SimServer(SERVER, {})
    seconds = virtual_time.run_virtual(main())
    lines = (folder / "out.jsonl").read_bytes().splitlines()
    bound = server.counts["tokens"] * SERVER.token_latency / SLOTS
    return seconds, bound, [msgspec.json.decode(line)["id"] for line in lines]


@pytest.mark.usefixtures("no_key")
def test_samples_with_long_answers_do_not_delay_the_end_of_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [40] * 60 + [800] * 4  # the long ones are the last of the input
    seconds, bound, names = play(tmp_path / "sorted", words, 4)
    assert sorted(names) == sorted(f"q{q}#{k}" for q in range(64) for k in range(4))
    monkeypatch.setattr(row_order, "MAX_ROWS_PER_CALL", -math.inf)
    as_read, same_bound, same_names = play(tmp_path / "as_read", words, 4)
    assert sorted(same_names) == sorted(names)
    assert same_bound == pytest.approx(bound, rel=0.05)
    assert seconds < 0.9 * as_read


@pytest.mark.usefixtures("no_key")
def test_a_lazy_source_is_not_read_to_its_end(tmp_path: Path) -> None:
    """Not more rows are read than fit into the read-ahead, beyond those that have started."""
    read, ended, most = 0, 0, 0

    async def source() -> AsyncIterator[Row]:
        nonlocal read
        for index in range(3 * MAX_ROWS):
            read += 1
            yield Row(str(index), {"n": index}, index)

    async def answer(row: Row, llm: RowClient) -> dict[str, Any]:
        nonlocal ended, most
        most = max(most, read - ended)
        ended += 1
        return {"text": "a"}

    async def main() -> None:
        run = RunFolder(tmp_path / "out.jsonl", Manifest("0", {}))
        transport = InProcessTransport({"a": SimServer(SERVER, {})})
        async with SoloClient("m", base_url="http://a", transport=transport, concurrency=SLOTS) as client:
            calls = JobClient(client.pool, "m", {}, counters=client.counters)
            await Scheduler(calls, run, answer, total=3 * MAX_ROWS).run(source())
        run.close()

    virtual_time.run_virtual(main())
    assert read == ended == 3 * MAX_ROWS
    assert most <= MAX_ROWS + SLOTS
