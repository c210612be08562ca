"""The benchmark of short runs: its scenarios, its comparison, its stored reference runs and its page."""

import argparse
import sys
from pathlib import Path

import msgspec
import pytest

import commands
import limits
from scenarios import cache, page
from scenarios.run_classes import ROWS, SECONDS, ShortRun, short_runs
from scenarios.servers import hosted, knee
from scenarios.short_figures import Times, measure, rules
from scenarios.short_results import class_table, compare, miss_table


def run(rows: int = 30, slots: int = 16, **more: object) -> ShortRun:
    return msgspec.convert({"kind": "k", "name": "n", "servers": {}, "rows": rows, "knee": slots, **more}, ShortRun)


def small(slots: int, rows: int, **more: object) -> ShortRun:
    return msgspec.structs.replace(run(rows, slots, **more), servers=knee(slots, tokens=60))


def times(seconds: float, done: int = 30, queue: int = 0) -> Times:
    return Times(seconds, done, sends=40, refused=4, queue=queue, timeouts=1, other_p95=2 * seconds)


def test_no_two_short_runs_have_the_same_name_and_no_class_is_missing() -> None:
    runs = short_runs()
    assert len({each.name for each in runs}) == len(runs) > 200
    kinds = [each.kind for each in runs]
    assert all(kinds.count(f"{where}, {s} s") >= 2 * len(ROWS) for where in ("self-hosted", "hosted") for s in SECONDS)
    assert all(each.rows >= 16 for each in short_runs(0.01))


def test_the_sweep_is_around_the_knee_and_never_above_the_number_of_rows() -> None:
    assert {128, 256, 294, 512} <= set(run(5_000, 256).sweep)
    assert run(30, 256).sweep == [30]
    assert max(run(5_000, 256, other_client=32).sweep) == 256


def test_metrics_are_only_read_from_self_hosted_servers() -> None:
    assert rules(run())[:2] == ["blind", "gauges"]
    assert rules(run(is_hosted=True))[:2] == ["blind", "fixed 8"]


def test_the_longest_queue_is_what_exceeds_the_slots() -> None:
    assert measure(small(16, 30), "fixed 30", 1).queue == 14
    assert measure(small(16, 30), "fixed 16", 1).queue == 0


def test_a_hosted_run_has_the_canary_of_a_hosted_endpoint() -> None:
    slow = hosted(tokens=400, spread=0.0)  # 6.3 s a call
    found = measure(msgspec.structs.replace(run(30, 30, is_hosted=True), servers=slow), "fixed 30", 1)
    assert found.seconds == pytest.approx(2.0 + 6.35, abs=0.2)
    assert found.done == 30


def test_calls_above_a_concurrency_limit_are_refused() -> None:
    limited = next(each for each in short_runs() if each.name.startswith("concurrency limit 3,"))
    assert measure(limited, "fixed 3", 1).refused == 0
    above = measure(limited, "fixed 6", 1)
    assert above.refused > 0
    assert above.done == limited.rows


def test_the_latency_of_another_client_is_measured() -> None:
    alone, beside = (measure(small(16, 60, other_client=n), "fixed 16", 1) for n in (0, 32))
    assert alone.other_p95 == 0.0
    assert beside.other_p95 > 0.5
    assert beside.seconds > 1.5 * alone.seconds


def test_the_best_fixed_setting_is_that_of_all_seeds_together() -> None:
    short = run(30, 16)  # sweep 8, 16, 18, 30
    seconds = {"blind": (12, 22), "fixed 8": (9, 30), "fixed 16": (10, 20), "fixed 18": (11, 21), "fixed 30": (40, 40)}
    found = compare(short, {(rule, n + 1): times(t) for rule, each in seconds.items() for n, t in enumerate(each)})
    assert (found.best, found.best_seconds) == (16, 15)
    assert found.ratios["blind"] == pytest.approx(17 / 15)
    assert found.to_knee == pytest.approx(17 / 15)
    assert not found.misses


def test_a_fixed_setting_under_which_rows_fail_is_no_reference() -> None:
    short = run(30, 16)
    runs = {(f"fixed {size}", 1): times(10.0, done=29) for size in short.sweep} | {("blind", 1): times(10.0)}
    found = compare(short, runs)
    assert (found.ratios, found.to_knee, found.misses) == ({}, None, True)
    assert "rows failed with each setting" in miss_table([found], {})[1][2]
    again = compare(short, {**runs, ("fixed 18", 1): times(20.0)})
    assert (again.best, again.ratios["blind"], again.to_knee) == (18, 0.5, None)


def test_a_run_with_failed_rows_misses_its_target_however_fast_it_is() -> None:
    short = run(30, 16)
    runs = {(f"fixed {size}", 1): times(10.0) for size in short.sweep} | {("blind", 1): times(5.0, done=28)}
    assert compare(short, runs).misses
    assert miss_table([compare(short, runs)], {"n": "known"})[1][-1] == "2 rows failed; known"


def test_the_table_of_classes_counts_the_runs_within_the_target() -> None:
    short = run(30, 16)
    fixed = {(f"fixed {size}", 1): times(10.0) for size in short.sweep}
    results = [compare(short, {**fixed, ("blind", 1): times(t, queue=8)}) for t in (10.0, 11.5, 20.0)]
    head, one, total = class_table(results)
    cells = dict(zip(head, one, strict=True))
    assert (cells["runs"], cells["≤ 1.15"], cells["median"], cells["429"]) == ("3", "67%", "1.15", "10.0%")
    assert (cells["longest queue"], cells["time-outs"], total[0]) == ("×0.50", "3", "**all**")


def test_a_stored_reference_run_is_used_until_the_scenario_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "FOLDER", tmp_path / "runs")
    made = list[float]()

    def make() -> Times:
        made.append(1.0 + len(made))
        return times(made[-1])

    def recall(short: ShortRun, seed: int = 1, fresh: bool = False) -> float:
        return cache.recall(short, "fixed 8", seed, Times, make, fresh=fresh).seconds

    assert [recall(run()), recall(run()), recall(run(31)), recall(run(), seed=2)] == [1, 1, 2, 3]
    assert [recall(run(), fresh=True), recall(run())] == [4, 4]


def test_reasons_that_were_written_into_the_page_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "limits.md"
    path.write_text(f"before\n{page.begin(page.SHORT)}\n{page.END}\nafter\n")
    head = ["run", "seconds", "best fixed", "ratio", "with /metrics", "reason"]
    rows = [["a, 1 s", "9", "1", "9", "-", "2 rows failed; one long answer"], ["b", "9", "1", "9", "-", ""]]
    page.replace_between(page.SHORT, ["two", page.markdown([head, *rows])], path)
    assert page.reasons_on_page(path) == {"a, 1 s": "one long answer", "b": ""}
    page.replace_between(page.SHORT, ["none"], path)
    assert path.read_text() == f"before\n{page.begin(page.SHORT)}\nnone\n{page.END}\nafter\n"


def test_make_sim_fails_if_a_row_failed(capsys: pytest.CaptureFixture[str]) -> None:
    short = short_runs()[0]
    args = argparse.Namespace(scale=1.0)
    job = limits.Job("short", short.name, "blind", 1)
    assert limits.report_failed_rows(args, {job: times(1.0, done=short.rows)}) == 0
    assert limits.report_failed_rows(args, {job: times(1.0, done=short.rows - 2)}) == 1
    assert "2 rows failed" in capsys.readouterr().err
    swept = job._replace(rule="fixed 8")
    assert limits.report_failed_rows(args, {swept: times(1.0, done=0)}) == 0


def test_options_select_scenarios_and_rules_of_both_tables() -> None:
    args = argparse.Namespace(
        tables="long,short", scale=1.0, only="hosted, 8 s, 500 rows, spread 0.3", rules="blind", seeds=2
    )
    found = {(job.rule, job.seed) for _, job in limits.jobs(args)}
    assert {rule for rule, _ in found} == {"blind", "fixed 64", "fixed 256", "fixed 500"}
    assert {seed for _, seed in found} == {1, 2}
    args.only = "knee 64, 30 tokens"
    assert {(job.kind, job.rule) for _, job in limits.jobs(args)} == {
        ("long", rule) for rule in ("blind", "fixed 64", "fixed 74")
    }


def test_a_command_that_does_not_write_all_rows_ends_the_benchmark(tmp_path: Path) -> None:
    out = tmp_path / "run" / "out.jsonl"
    words = [sys.executable, "-c", "import sys; open(sys.argv[1], 'w').write('{}\\n' * 2)", str(out)]
    assert commands.seconds(words, out, 2) > 0
    with pytest.raises(SystemExit, match="exit code 0, 2 of 3 rows"):
        commands.seconds(words, out, 3)
    with pytest.raises(SystemExit, match="exit code 2"):
        commands.seconds([sys.executable, "-m", "manycall", "generate"], out, 0)


def test_runs_alternate_and_their_medians_are_compared() -> None:
    order = list[str]()
    values = {"-j 8": iter([3.0, 9.0, 4.0]), "-j 16": iter([5.0, 5.0, 5.0])}

    def made(name: str) -> float:
        order.append(name)
        return next(values[name])

    times = commands.medians({name: lambda name=name: made(name) for name in values}, 3)  # type: ignore[misc]
    assert order == ["-j 8", "-j 16"] * 3
    assert (times, commands.best_fixed(times, [8, 16])) == ({"-j 8": 4.0, "-j 16": 5.0}, 8)
