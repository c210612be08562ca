"""What is said of how sure a number is. The references were reckoned with scipy 1.17 and statsmodels 0.15."""

import itertools
import json
import random
import statistics
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import manycall
from manycall.evals.rescore import score
from manycall.evals.score_accumulator import ScoreAccumulator
from manycall.evals.stats.intervals import Interval, bounded_interval, clustered_stderr, wilson, worst_case_bounds
from manycall.evals.stats.mean import Mean
from manycall.evals.stats.paired_tests import holm_adjust, mcnemar, paired_difference
from manycall.evals.stats.repeated_samples import (
    ScoredSample,
    majority_score,
    mean_at_k,
    pass_at_k,
    pass_hat_k,
    sample_metrics,
)
from manycall.evals.stats.student_t import t_quantile, t_two_sided_p
from manycall.evals.tasks.task import Task
from manycall.store.manifest import NOT_FINISHED
from manycall.store.output_reader import OutputReader


@pytest.mark.parametrize(
    ("right", "count", "low", "high"),
    [  # statsmodels: proportion_confint(right, count, method="wilson")
        (0, 10, 0.0, 0.27753279986288926),
        (10, 10, 0.7224672001371106, 1.0),
        (1, 1, 0.2065493143772374, 1.0),
        (989, 1319, 0.7257335589936187, 0.7724364942699786),
        (3, 7, 0.15821985525146964, 0.7495416354723428),
        (1080, 1200, 0.8817289167132706, 0.9157182828045415),
    ],
)
def test_the_interval_for_a_share_is_wilsons(right: int, count: int, low: float, high: float) -> None:
    assert wilson(right, count) == pytest.approx((low, high), abs=1e-12)


def test_a_share_of_nothing_has_no_interval() -> None:
    with pytest.raises(ValueError, match="nothing"):
        wilson(0, 0)
    assert Mean().interval() is None


def mean_of_all(*numbers: float) -> Mean:
    mean = Mean()
    for x in numbers:
        mean.add(x)
    return mean


@pytest.mark.parametrize(
    ("t", "freedom", "p"),
    [  # scipy: 2 * stats.t.sf(t, freedom)
        (0.0, 7, 1.0),
        (2.0, 4, 0.11611652351681556),
        (-2.0, 4, 0.11611652351681556),
        (0.5, 1, 0.7048327646991335),
        (3.5, 59, 0.0008924666345841933),
        (12.0, 1318, 1.4661157851631878e-31),
    ],
)
def test_p_of_students_t(t: float, freedom: int, p: float) -> None:
    assert t_two_sided_p(t, freedom) == pytest.approx(p, rel=1e-8)


@pytest.mark.parametrize(
    ("freedom", "t"),  # scipy: stats.t.ppf(0.975, freedom)
    [(1, 12.706204736174694), (4, 2.7764451051977934), (59, 2.000995378088267), (1318, 1.9617655127673146)],
)
def test_quantiles_of_students_t(freedom: int, t: float) -> None:
    assert t_quantile(freedom, 0.95) == pytest.approx(t, rel=1e-8)


def test_numbers_without_a_scale_get_an_interval_by_students_t() -> None:
    # scipy: ttest_1samp([1, 3, 0, 1, 0], 0).confidence_interval(0.95)
    assert mean_of_all(1, 3, 0, 1, 0).interval(None) == pytest.approx((-0.5207216137916353, 2.5207216137916353))
    assert mean_of_all(0.2, 0.2, 0.2).interval(None) is None  # nor does it say that it is sure


@given(st.lists(st.floats(1, 5), min_size=2, max_size=50))
def test_an_interval_is_within_the_scale_and_contains_the_mean(scores: list[float]) -> None:
    mean = mean_of_all(*scores)
    if found := mean.interval((1, 5)):
        assert 1 <= found.low <= mean.value + 1e-9
        assert mean.value - 1e-9 <= found.high <= 5
        assert found.high > found.low


def test_its_ends_are_where_wilson_would_have_them() -> None:
    """(mean - end)² = t² · SE² · what the variance would be, were the mean there: the equation that Wilson solved."""
    mean = mean_of_all(*[1, 2, 5, 4, 4, 3, 5])
    found = mean.interval((1, 5))
    assert found is not None
    assert mean.stderr is not None
    p, width = (mean.value - 1) / 4, t_quantile(6, 0.95) * mean.stderr / 4
    for end in found:
        q = (end - 1) / 4
        assert (p - q) ** 2 == pytest.approx(width**2 * q * (1 - q) / (p * (1 - p)))


@pytest.mark.parametrize(
    ("scores", "scale", "interval"),
    [
        ([1] * 10, (1, 5), (1, 1 + 4 * 0.27753279986288926)),  # not Wilson's of ten right answers
        ([5] * 10, (1, 5), (1 + 4 * 0.7224672001371106, 5)),
        ([1] * 10, (-1, 1), (-1 + 2 * 0.7224672001371106, 1)),
        ([3] * 10, (1, 5), None),
        ([7] * 10, (1, 5), None),
        ([1] * 10, (1, 1), None),
        ([1], (0, 1), (0.2065493143772374, 1)),
        ([0.5], (0, 1), None),
    ],
)
def test_scores_that_do_not_vary_are_sure_only_as_far_as_the_scale_goes(
    scores: list[float], scale: tuple[float, float], interval: tuple[float, float] | None
) -> None:
    assert mean_of_all(*scores).interval(scale) == (interval and pytest.approx(interval))


def test_samples_of_a_question_hold_the_truth_as_often_as_they_say() -> None:
    """Forty questions of their own difficulty, most of them easy, four samples of each."""
    covered, trials = 0, 400
    for seed in range(trials):
        rng = random.Random(seed)
        clusters = []
        for _ in range(40):
            chance = rng.betavariate(1.8, 0.2)
            clusters.append((4, float(sum(rng.random() < chance for _ in range(4)))))
        value = sum(total for _, total in clusters) / 160
        found = bounded_interval(value, clustered_stderr(clusters), 40, (0, 1))
        assert found is not None
        assert 0 <= found.low <= found.high <= 1
        covered += found.low <= 0.9 <= found.high
    assert covered >= 0.93 * trials


@given(st.lists(st.floats(0, 1), min_size=2, max_size=50))
def test_clusters_of_one_row_have_the_ordinary_standard_error(scores: list[float]) -> None:
    assert clustered_stderr((1, s) for s in scores) == pytest.approx(
        statistics.stdev(scores) / len(scores) ** 0.5, abs=1e-12
    )


def test_clusters_of_several_rows_have_that_of_statsmodels() -> None:
    clusters = [[1, 1, 0, 1], [0, 0, 0, 0], [1, 1, 1], [0, 1], [1, 0, 0, 1, 1]]
    got = clustered_stderr((len(c), sum(c)) for c in clusters)
    assert got == pytest.approx(0.1687681865986705, abs=1e-12)
    assert clustered_stderr([(4, 2.0)]) is None


def test_the_bounds_take_every_failed_row_for_wrong_and_for_right() -> None:
    assert worst_case_bounds(70, 90, 10) == Interval(0.7, 0.8)
    assert worst_case_bounds(0, 0, 0) == Interval(0, 1)
    assert worst_case_bounds(8, 4, 1, least=1, most=5) == (9 / 5, 13 / 5)


@given(st.integers(1, 9), st.data())
def test_pass_at_k_and_pass_all_are_the_shares_of_all_draws(n: int, data: st.DataObject) -> None:
    right, k = data.draw(st.integers(0, n)), data.draw(st.integers(1, n))
    draws = list(itertools.combinations([1] * right + [0] * (n - right), k))
    assert pass_at_k(k, n, right) == pytest.approx(statistics.fmean(map(any, draws)))
    assert pass_hat_k(k, n, right) == pytest.approx(statistics.fmean(map(all, draws)))


def test_the_most_frequent_answer_wins_and_of_equals_the_first() -> None:
    def vote(*answers: str) -> float:
        return majority_score([ScoredSample(n, answer, float(answer == "18")) for n, answer in enumerate(answers)])

    assert vote("17", "18", "18") == 1
    assert vote("18", "17") == 1
    assert vote("17", "18") == 0
    assert vote("18", "[invalid]", "[invalid]") == 0  # it has a vote


def test_scores_over_k_samples_count_only_questions_with_k_samples() -> None:
    def samples(*scores: int) -> list[ScoredSample]:
        return [ScoredSample(number, str(value), value) for number, value in enumerate(scores)]

    got = {r.name: r for r in sample_metrics([samples(1, 0, 1), samples(0, 0, 1), samples(1, 1)])}
    assert list(got) == ["mean@3", "pass@2", "pass@3", "pass^2", "pass^3", "maj@2", "maj@3"]
    assert (got["mean@3"].value, got["mean@3"].count) == (0.5, 2)
    assert got["pass@2"].value == pytest.approx((1 + 2 / 3 + 1) / 3)
    assert got["pass^2"].value == pytest.approx((1 / 3 + 0 + 1) / 3)
    assert (got["maj@3"].value, got["maj@3"].count) == (0.5, 2)
    assert got["pass@3"].stderr == 0
    assert sample_metrics([samples(1)])[0].stderr is None
    assert mean_at_k(samples(1, 0)) == 0.5


def test_samples_vote_in_the_order_of_their_numbers_not_in_that_in_which_they_finished() -> None:
    finished = [ScoredSample(1, "17", 0), ScoredSample(0, "18", 1)]
    assert {r.name: r.value for r in sample_metrics([finished])}["maj@2"] == 1


# pairs


@pytest.mark.parametrize(
    ("wins", "losses", "p"),
    [  # statsmodels: mcnemar([[0, wins], [losses, 0]], exact=True)
        (0, 0, 1.0),
        (1, 0, 1.0),
        (5, 5, 1.0),
        (12, 3, 0.03515625),
        (40, 61, 0.046044066929342785),
        (700, 800, 0.010559255466711506),
        (0, 1000, 1.8665272370064378e-301),
    ],
)
def test_p_is_mcnemars_exact(wins: int, losses: int, p: float) -> None:
    assert mcnemar(wins, losses) == pytest.approx(p, rel=1e-9)
    assert mcnemar(losses, wins) == mcnemar(wins, losses)


def test_a_difference_is_that_of_the_rows() -> None:
    found = paired_difference([(0, 1), (0, 1), (1, 0), (1, 1), (0, 0)])
    assert (found.value, found.wins, found.losses, found.ties, found.count) == (0.2, 2, 1, 2, 5)
    assert found.stderr == pytest.approx(statistics.stdev([1, 1, -1, 0, 0]) / 5**0.5)
    assert (found.test, found.p_value) == ("McNemar's, exact", 1.0)


def test_scores_that_are_no_share_are_compared_by_their_standard_error() -> None:
    found = paired_difference([(1, 2), (2, 5), (2, 2), (4, 5), (1, 1)])
    assert found.test == "Student's t of the differences"
    assert found.p_value == pytest.approx(0.14192744777405542)  # scipy: ttest_rel
    assert found.interval == pytest.approx((-0.5207216137916353, 2.5207216137916353))


@pytest.mark.parametrize("pair", [(0.5, 0.75), (0.5, 0.7), (0.5, 0.5), (0.1 + 0.2, 0.3)])
def test_differences_that_do_not_vary_are_no_proof(pair: tuple[float, float]) -> None:
    found = paired_difference([pair] * 3)
    assert (found.p_value, found.interval) == (None, None)
    assert found.test.startswith("N/A where every row changed by as much")


def test_what_rounding_leaves_is_a_tie() -> None:
    found = paired_difference([(0.1 + 0.2, 0.3), (0.3, 0.1 + 0.2), (0.5, 1)])
    assert (found.wins, found.losses, found.ties) == (1, 0, 2)


def test_scores_that_might_be_more_than_0_and_1_are_no_shares() -> None:
    pairs: list[tuple[float, float]] = [(0, 1), (0, 1), (1, 0), (1, 1), (0, 0)]
    assert paired_difference(pairs, binary=False).test == "Student's t of the differences"


def test_few_or_no_pairs_say_nothing_and_pairs_without_a_change_do_not_say_too_much() -> None:
    assert paired_difference([]).p_value is None
    assert paired_difference([(0, 1)]).interval is None
    same = paired_difference([(1, 1)] * 50)
    assert (same.value, same.stderr, same.p_value) == (0, 0, 1)
    assert same.interval is not None
    assert same.interval.low < -0.03 < 0.03 < same.interval.high


def test_several_ps_are_corrected_by_holm() -> None:
    """R: p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm")."""
    assert holm_adjust([0.01, 0.04, None, 0.03, 0.005]) == pytest.approx([0.03, 0.06, None, 0.06, 0.02])
    assert holm_adjust([0.9, 0.8]) == [1, 1]
    assert holm_adjust([]) == []


def test_two_models_two_points_apart() -> None:
    """1,000 questions, each of its own difficulty for both: the paired interval is narrower, and holds the truth."""
    covered = narrower = 0
    for seed in range(500):
        rng = random.Random(seed)
        chances = [rng.betavariate(0.7, 0.3) * 0.98 for _ in range(1000)]
        draws = [(rng.random(), p) for p in chances]
        pairs = [(float(u < p), float((u if rng.random() < 0.7 else rng.random()) < p + 0.02)) for u, p in draws]
        found = paired_difference(pairs)
        assert found.interval is not None
        assert found.stderr is not None
        assert found.unpaired_stderr is not None
        covered += found.interval.low <= 0.02 <= found.interval.high
        narrower += found.interval.high - found.interval.low < 2 * 1.96 * found.unpaired_stderr
    assert narrower == 500
    assert covered >= 465  # 93 %


# score


def _write(out: Path, rows: list[dict[str, Any]], manifest: dict[str, Any], failed: list[str] = []) -> None:  # noqa: B006
    folder = out.with_name(out.name + ".run")
    folder.mkdir()
    out.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "manifest.json").write_text(json.dumps(manifest))
    lines = (json.dumps({"id": f"x{n}", "kind": kind}) + "\n" for n, kind in enumerate(failed))
    (folder / "failures.jsonl").write_text("".join(lines))


def _row(name: str, said: str, **more: Any) -> dict[str, Any]:
    return {"id": name, "answer": "18", "response": f"The answer is {said}.", "finish_reason": "stop", **more}


def test_samples_of_a_question_are_one_cluster_and_get_their_own_table(tmp_path: Path) -> None:
    rows = [_row(f"q{q}#{k}", "18" if q < 5 else "7") for q in range(10) for k in range(4)]
    _write(tmp_path / "o.jsonl", rows, {"manycall_version": "1", "settings": {"job": "eval wordmath", "samples": True}})
    result = score(tmp_path / "o.jsonl")
    found = result.score("strict-match")
    assert found.stderr is not None
    assert found.clustered_stderr == pytest.approx(2 * found.stderr, rel=0.05)  # 40 rows tell no more than 10 questions
    assert {r.name for r in found.sample_metrics} == {
        f"{name}{k}" for name in ("pass@", "pass^", "maj@") for k in (2, 4)
    } | {"mean@4"}
    assert "| strict-match | pass@2              | 0.5000 | ±0.1667 | 10" in str(result)


def test_samples_that_are_all_right_are_as_sure_as_their_questions(tmp_path: Path) -> None:
    rows = [_row(f"q{q}#{k}", "18") for q in range(10) for k in range(4)]
    _write(tmp_path / "o.jsonl", rows, {"manycall_version": "1", "settings": {"job": "eval wordmath", "samples": True}})
    assert score(tmp_path / "o.jsonl").score("strict-match").interval == wilson(10, 10)


def test_the_texts_of_answers_to_samples_are_not_kept(tmp_path: Path) -> None:
    _write(tmp_path / "o.jsonl", [], {"manycall_version": "1", "settings": {"job": "eval mine", "samples": True}})
    accumulator = ScoreAccumulator("mine", ["f"], OutputReader(tmp_path / "o.jsonl"), 0)
    tracemalloc.start()
    for number in range(100):
        accumulator.add(f"q#{number}", {"f": (f"{number % 2}" * 100_000, float(number % 2))})
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 1_000_000  # of 10 MB
    (score,) = accumulator.scores()
    assert [metric.value for metric in score.sample_metrics if metric.name == "maj@100"] == [0.0]


def test_one_sample_of_each_question_is_no_cluster_and_has_no_metric_over_samples() -> None:
    rows = [{"question": str(n), "answer": "yes" if n else "no"} for n in range(4)]
    task = Task(rows, "{{ question }}", lambda text: "yes", lambda answer, target: answer == target, is_fast=True)
    options: dict[str, Any] = {"model": "m", "base_url": "sim", "progress": False}
    (one,) = manycall.evaluate(task, samples=1, out="one.jsonl", **options).scores
    (plain,) = manycall.evaluate(task, out="plain.jsonl", **options).scores
    assert one == plain
    assert (one.clustered_stderr, one.sample_metrics) == (None, [])


def test_failed_rows_are_in_no_score_but_in_its_bounds(tmp_path: Path) -> None:
    rows = [_row(str(n), "18" if n < 6 else "7") for n in range(8)]
    _write(
        tmp_path / "o.jsonl",
        rows,
        {"manycall_version": "1", "settings": {"job": "eval wordmath"}},
        ["call_error", "content_filter"],
    )
    found = score(tmp_path / "o.jsonl").score("strict-match")
    assert (found.value, found.count, found.worst_case) == (0.75, 8, (0.6, 0.8))
    assert "| 0.6000 … 0.8000         |" in str(score(tmp_path / "o.jsonl"))


@pytest.mark.parametrize(
    ("source", "outcome", "said"),
    [
        ({"count": 100}, "interrupted", "Incomplete: 3 of 100 rows. The last session ended with: inter"),
        ({"count": 100}, None, "Incomplete: 3 of 100 rows. Make the same call again"),  # killed: no session was noted
        ({"count": 100}, NOT_FINISHED, "Incomplete: 3 of 100 rows. The last session was killed or is still running."),
        ({"count": None}, "no more", "Incomplete: 3 rows. The last session ended with: no more"),
        ({"count": None}, "finished", ""),
        ({"count": 3}, "finished", ""),
        ({"count": 2}, "finished", ""),
    ],
)  # fmt: skip
def test_the_score_of_an_interrupted_run_says_that_it_is_partial(
    tmp_path: Path, source: dict[str, Any], outcome: str | None, said: str
) -> None:
    sessions = [] if outcome is None else [{"outcome": outcome}]
    manifest = {"manycall_version": "1", "settings": {"job": "eval wordmath"}, "source": source, "sessions": sessions}
    _write(tmp_path / "o.jsonl", [_row("1", "18"), _row("2", "18")], manifest, ["empty"])
    result = score(tmp_path / "o.jsonl")
    assert result.incomplete.startswith(said)
    assert bool(result.incomplete) == ("Incomplete" in str(result))
