"""What is said of how sure a number is. The references were reckoned with scipy 1.17 and statsmodels 0.15."""

import itertools
import json
import random
import statistics
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manycall.evals.evaluate import score
from manycall.evals.metrics import Mean
from manycall.evals.stats.intervals import Interval, bounds, clustered_stderr, wilson
from manycall.evals.stats.paired import difference, mcnemar
from manycall.evals.stats.repeats import Sample, majority, mean_of, pass_all, pass_at, repeated


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
    assert Mean().interval is None


def test_scores_that_are_no_share_get_an_interval_by_their_standard_error() -> None:
    mean = Mean()
    for x in (1.0, 2.0, 4.0):
        mean.add(x)
    assert mean.stderr is not None
    assert mean.interval == pytest.approx(
        (7 / 3 - 1.959963984540054 * mean.stderr, 7 / 3 + 1.959963984540054 * mean.stderr)
    )


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
    assert bounds(70, 90, 10) == Interval(0.7, 0.8)
    assert bounds(0, 0, 0) == Interval(0, 1)
    assert bounds(8, 4, 1, least=1, most=5) == (9 / 5, 13 / 5)


@given(st.integers(1, 9), st.data())
def test_pass_at_k_and_pass_all_are_the_shares_of_all_draws(n: int, data: st.DataObject) -> None:
    right, k = data.draw(st.integers(0, n)), data.draw(st.integers(1, n))
    draws = list(itertools.combinations([1] * right + [0] * (n - right), k))
    assert pass_at(k, n, right) == pytest.approx(statistics.fmean(map(any, draws)))
    assert pass_all(k, n, right) == pytest.approx(statistics.fmean(map(all, draws)))


def test_the_most_frequent_answer_wins_and_of_equals_the_first() -> None:
    def vote(*answers: str) -> float:
        return majority([Sample(n, answer, float(answer == "18")) for n, answer in enumerate(answers)])

    assert vote("17", "18", "18") == 1
    assert vote("18", "17") == 1
    assert vote("17", "18") == 0
    assert vote("18", "[invalid]", "[invalid]") == 0  # it has a vote


def test_scores_over_samples_count_only_questions_with_so_many() -> None:
    def samples(*scores: int) -> list[Sample]:
        return [Sample(number, str(value), value) for number, value in enumerate(scores)]

    got = {r.name: r for r in repeated([samples(1, 0, 1), samples(0, 0, 1), samples(1, 1)])}
    assert list(got) == ["mean@3", "pass@2", "pass@3", "pass^2", "pass^3", "maj@2", "maj@3"]
    assert (got["mean@3"].value, got["mean@3"].count) == (0.5, 2)
    assert got["pass@2"].value == pytest.approx((1 + 2 / 3 + 1) / 3)
    assert got["pass^2"].value == pytest.approx((1 / 3 + 0 + 1) / 3)
    assert (got["maj@3"].value, got["maj@3"].count) == (0.5, 2)
    assert got["pass@3"].stderr == 0
    assert repeated([samples(1)])[0].stderr is None
    assert mean_of(samples(1, 0)) == 0.5


def test_samples_vote_in_the_order_of_their_numbers_not_in_that_in_which_they_finished() -> None:
    finished = [Sample(1, "17", 0), Sample(0, "18", 1)]
    assert {r.name: r.value for r in repeated([finished])}["maj@2"] == 1


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
    found = difference([(0, 1), (0, 1), (1, 0), (1, 1), (0, 0)])
    assert (found.value, found.wins, found.losses, found.ties, found.count) == (0.2, 2, 1, 2, 5)
    assert found.stderr == pytest.approx(statistics.stdev([1, 1, -1, 0, 0]) / 5**0.5)
    assert (found.test, found.p) == ("McNemar, exact", 1.0)


def test_scores_that_are_no_share_are_compared_by_their_standard_error() -> None:
    found = difference([(1, 2), (3, 5), (2, 2), (4, 5), (1, 1)])
    assert found.stderr is not None
    assert found.test == "paired z"
    assert found.p == pytest.approx(2 * statistics.NormalDist().cdf(-found.value / found.stderr))
    assert difference([(0.5, 0.7)] * 3).p == pytest.approx(0, abs=1e-6)
    assert difference([(0.5, 0.5)] * 3).p == 1


def test_few_or_no_pairs_say_nothing_and_pairs_without_a_change_do_not_say_too_much() -> None:
    assert difference([]).p is None
    assert difference([(0, 1)]).interval is None
    same = difference([(1, 1)] * 50)
    assert (same.value, same.stderr, same.p) == (0, 0, 1)
    assert same.interval is not None
    assert same.interval.low < -0.03 < 0.03 < same.interval.high


def test_two_models_two_points_apart() -> None:
    """1,000 questions, each of its own difficulty for both: the paired interval is narrower, and holds the truth."""
    covered = narrower = 0
    for seed in range(500):
        rng = random.Random(seed)
        chances = [rng.betavariate(0.7, 0.3) * 0.98 for _ in range(1000)]
        draws = [(rng.random(), p) for p in chances]
        pairs = [(float(u < p), float((u if rng.random() < 0.7 else rng.random()) < p + 0.02)) for u, p in draws]
        found = difference(pairs)
        assert found.interval is not None
        assert found.stderr is not None
        assert found.unpaired is not None
        covered += found.interval.low <= 0.02 <= found.interval.high
        narrower += found.interval.high - found.interval.low < 2 * 1.96 * found.unpaired
    assert narrower == 500
    assert covered >= 465  # 93 %


# score


def _write(out: Path, rows: list[dict[str, Any]], manifest: dict[str, Any], failed: list[str] = []) -> None:  # noqa: B006
    folder = out.with_name(out.name + ".run")
    folder.mkdir()
    out.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "manifest.json").write_text(json.dumps(manifest))
    lines = (json.dumps({"id": f"x{n}", "verdict": verdict}) + "\n" for n, verdict in enumerate(failed))
    (folder / "failures.jsonl").write_text("".join(lines))


def _row(name: str, said: str, **more: Any) -> dict[str, Any]:
    return {"id": name, "answer": "18", "response": f"The answer is {said}.", "finish_reason": "stop", **more}


def test_samples_of_a_question_are_one_cluster_and_get_their_own_table(tmp_path: Path) -> None:
    rows = [_row(f"q{q}#{k}", "18" if q < 5 else "7") for q in range(10) for k in range(4)]
    _write(tmp_path / "o.jsonl", rows, {"version": "1", "identity": {"job": "eval wordmath", "samples": True}})
    result = score(tmp_path / "o.jsonl")
    found = result.score("strict-match")
    assert found.stderr is not None
    assert found.clustered == pytest.approx(2 * found.stderr, rel=0.05)  # 40 rows tell no more than 10 questions
    assert {r.name for r in found.repeated} == {f"{name}{k}" for name in ("pass@", "pass^", "maj@") for k in (2, 4)} | {
        "mean@4"
    }
    assert "| strict-match | pass@2       | 0.5000 | ±0.1667 | 10" in str(result)


def test_failed_rows_are_in_no_score_but_in_its_bounds(tmp_path: Path) -> None:
    rows = [_row(str(n), "18" if n < 6 else "7") for n in range(8)]
    _write(tmp_path / "o.jsonl", rows, {"version": "1", "identity": {"job": "eval wordmath"}}, ["empty", "filtered"])
    found = score(tmp_path / "o.jsonl").score("strict-match")
    assert (found.value, found.count, found.bounds) == (0.75, 8, (0.6, 0.8))
    assert "| 0.6000 … 0.8000                    |" in str(score(tmp_path / "o.jsonl"))


@pytest.mark.parametrize(
    ("source", "ending", "said"),
    [
        ({"count": 100}, "interrupted", "Partial: only 3 of 100 rows were asked; the last session ended with: inter"),
        ({"count": 100}, None, "Partial: only 3 of 100 rows were asked. The same"),  # killed: no session was noted
        ({"count": None}, "no more", "Partial: only 3 rows were asked; the last session ended with: no more"),
        ({"count": None}, "finished", ""),
        ({"count": 3}, "finished", ""),
        ({"count": 2}, "finished", ""),
    ],
)  # fmt: skip
def test_the_score_of_an_interrupted_run_says_that_it_is_partial(
    tmp_path: Path, source: dict[str, Any], ending: str | None, said: str
) -> None:
    sessions = [] if ending is None else [{"ending": ending}]
    manifest = {"version": "1", "identity": {"job": "eval wordmath"}, "source": source, "sessions": sessions}
    _write(tmp_path / "o.jsonl", [_row("1", "18"), _row("2", "18")], manifest, ["empty"])
    result = score(tmp_path / "o.jsonl")
    assert result.missing.startswith(said)
    assert bool(result.missing) == ("Partial" in str(result))
