"""A model judges answers, and is judged itself."""

import asyncio
import json
import re
import statistics
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import manycall
from manycall.errors import UsageError
from manycall.evals.stats.intervals import wilson
from manycall.evals.stats.paired_tests import mcnemar
from manycall.judging import verdict_format
from manycall.judging.judge_result import JudgeResult, read_judge_result
from manycall.judging.reliability import PairwiseResult, self_agreement
from manycall.judging.verdict_format import PAIRWISE_LABELS, VerdictFormat
from servers import http, read_request, serving
from shell import manycall as command
from shell import rows, sim

OUT = Path("judged.jsonl")
OPTIONS: dict[str, Any] = {"model": "judge", "out": OUT, "progress": False}
RUBRIC = "Is it good? {{ response }}"
PAIRWISE = "Which is better? First: {{ first.response }} Second: {{ second.response }}"


@contextmanager
def judging(
    say: Callable[[list[dict[str, str]]], str], ending: str = "stop"
) -> Iterator[tuple[str, list[list[dict[str, str]]]]]:
    """A judge that answers a conversation by a function; yields its URL, and the conversations."""
    asked: list[list[dict[str, str]]] = []

    async def server(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        messages = json.loads((await read_request(reader))[1])["messages"]
        asked.append(messages)
        choice = {"message": {"content": say(messages)}, "finish_reason": ending}
        writer.write(http(200, json.dumps({"choices": [choice]}).encode()))
        await writer.drain()

    with serving(server) as url:
        yield url, asked


def answers(name: str, *texts: str) -> Path:
    path = Path(f"{name}.jsonl")
    lines = (json.dumps({"id": f"q{n}", "response": text}) + "\n" for n, text in enumerate(texts))
    path.write_text("".join(lines))
    return path


# what is read


@pytest.mark.parametrize(
    ("labels", "reply", "verdict"),
    [
        ("1-5", "It is good.\nVerdict: 4", "4"),
        ("1-5", "Verdict: 2\nNo, wait.\nverdict:  5 \n", "5"),
        ("1-5", "**Verdict:** 4", "4"),
        ("1-5", "**Verdict: 4/5**", "4"),
        ("1-5", "**Verdict:**\n\n**4**\n", "4"),
        ("1-5", "Verdict:\nVerdict: 4\n2", "4"),
        ("1-5", "Verdict: 4.0", "4"),
        ("1-5", "Verdict: 4 / 5.", "4"),
        ("1-5", "Verdict： 4。", "4"),
        ("1-5", " 3\n", "3"),
        ("-2-2", "Verdict: -1", "-1"),
        ("right,wrong", "Verdict: WRONG.", "wrong"),
        ("right,wrong", 'Verdict: "right"', "right"),
        ("C*=1,D=0", "Verdict: C*", "C*"),
        ("A,B,tie", "Verdict: [[A]]", "A"),
    ],
)
def test_a_verdict_is_read_as_people_write_it(labels: str, reply: str, verdict: str) -> None:
    found = verdict_format.parse_labels(labels) if "," in labels else verdict_format.scale_labels(labels)
    assert VerdictFormat(found).parse(reply) == verdict


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("I like it.", "no line that begins"),
        ("I like it. 4", "no line that begins"),
        ("Verdict: 6", "'6' is not one of 1, 2, 3, 4, 5"),
        ("Verdict: 4.5", "'4.5' is not one of"),
        ("Verdict: 4/10", "'4/10' is not one of"),
        ("Verdict: 4 or 5", "'4 or 5' is not one of"),
        ("Verdict:", "'' is not one of"),
    ],
)
def test_a_verdict_is_never_guessed(reply: str, reason: str) -> None:
    with pytest.raises(ValueError, match=re.escape(reason)):
        VerdictFormat(verdict_format.scale_labels("1-5")).parse(reply)


def test_what_is_asked_for_goes_to_the_end_of_the_rubric() -> None:
    (last,) = VerdictFormat(PAIRWISE_LABELS).add_instruction([{"role": "user", "content": "Which?"}])
    assert last["content"] == "Which?\n\nEnd with one line of this form, where X is one of A, B, tie:\nVerdict: X"
    image = [{"type": "image_url", "image_url": {"base_url": "data:"}}]
    (last,) = VerdictFormat(PAIRWISE_LABELS).add_instruction([{"role": "user", "content": image}])
    assert [part["type"] for part in last["content"]] == ["image_url", "text"]
    assert len(image) == 1


# one answer at a time


def test_each_answer_gets_its_verdict_and_the_same_call_asks_nothing_again() -> None:
    good = answers("a", *"135")
    with judging(lambda messages: f"Well.\nVerdict: {re.findall('[135]', messages[0]['content'])[0]}") as (url, asked):
        for _ in range(2):
            found = manycall.judge(good, RUBRIC, base_url=url, **OPTIONS)
            assert len(asked) == 3
    assert [(s.verdict, s.count) for s in found.verdicts] == [("1", 1), ("2", 0), ("3", 1), ("4", 0), ("5", 1)]
    assert found.score is not None
    assert (found.score.value, found.score.count, found.score.worst_case) == (3, 3, (3, 3))
    row = next(row for row in rows(OUT) if row["id"] == "q1")
    reply = {"verdict": "3", "swapped": False, "reasked": False, "text": "Well.\nVerdict: 3"}
    assert row["judge"] == {"verdict": "3", "score": 3.0, "replies": [reply]}
    assert row["response"] == "3"
    assert "| judge | judge  | 3.0000 |" in str(found)


def test_a_verdict_that_cannot_be_read_is_asked_for_once_more_with_the_reason() -> None:
    with judging(lambda messages: "Verdict: 4" if len(messages) > 1 else "I like it, 9/10.") as (url, asked):
        found = manycall.judge(answers("a", "x"), RUBRIC, base_url=url, **OPTIONS)
    assert [len(messages) for messages in asked] == [1, 3]
    assert asked[1][1] == {"role": "assistant", "content": "I like it, 9/10."}
    assert 'no line that begins with "Verdict:"' in asked[1][2]["content"]
    assert (found.scored_rows, found.reasked_rows, found.failed) == (1, 1, 0)
    assert "1 verdicts needed a second request." in str(found)


def test_a_judge_truncated_before_its_verdict_is_asked_only_for_the_verdict() -> None:
    with judging(lambda messages: "Verdict: 4" if len(messages) > 1 else "Let me think", "length") as (url, asked):
        found = manycall.judge(answers("a", "x"), RUBRIC, base_url=url, **OPTIONS)
    said = asked[1][2]["content"]
    assert "cut at max_tokens before it was whole" in said
    assert "Answer with nothing but one line of this form, where X is one of 1, 2, 3, 4, 5:\nVerdict: X" in said
    assert (found.scored_rows, found.truncated) == (1, 1)
    with judging(lambda messages: "Let me think", "length") as (url, asked):
        found = manycall.judge(answers("b", "x"), RUBRIC, base_url=url, **{**OPTIONS, "out": "b-judged.jsonl"})
    assert found.run is not None
    (failure,) = found.run.failures()
    assert failure["error"].endswith('begins with "Verdict:"): raise max_tokens=')


def test_a_judge_without_a_verdict_fails_the_row_and_scores_it_nothing() -> None:
    mended = False

    def say(messages: list[dict[str, str]]) -> str:
        return "Verdict: 5" if mended or "x1" in messages[0]["content"] else "Who am I to judge?"

    given = answers("a", "x0", "x1")
    with judging(say) as (url, asked):
        found = manycall.judge(given, RUBRIC, base_url=url, **OPTIONS)
        assert (found.scored_rows, found.failed, found.failure_counts) == (1, 1, {"invalid": 1})
        assert found.score is not None
        assert (found.score.value, found.score.count, found.score.worst_case) == (5, 1, (3, 5))
        (failure,) = rows(Path("judged.jsonl.run/failures.jsonl"))
        assert failure["kind"] == "invalid"
        assert failure["error"].startswith("No valid answer after 2 calls. Last error: there is no line")
        assert failure["last_text"] == "Who am I to judge?"
        assert len(asked) == 3
        manycall.judge(given, RUBRIC, base_url=url, **OPTIONS)
        assert len(asked) == 5  # what was told before is not asked for again, nor taken for the last word
        mended = True
        found = manycall.judge(given, RUBRIC, base_url=url, **OPTIONS)
    assert (found.scored_rows, found.failed, len(asked)) == (2, 0, 6)


def test_labels_need_not_be_worth_a_number() -> None:
    with judging(lambda messages: "Verdict: spam") as (url, _):
        found = manycall.judge(answers("a", "x", "y"), RUBRIC, labels="ham,spam", base_url=url, **OPTIONS)
    assert found.score is None
    assert [(s.verdict, s.count) for s in found.verdicts] == [("ham", 0), ("spam", 2)]


def test_labels_may_be_worth_one() -> None:
    with judging(lambda messages: "Verdict: partly") as (url, _):
        found = manycall.judge(answers("a", "x"), RUBRIC, labels={"right": 1, "partly": 0.25}, base_url=url, **OPTIONS)
    assert found.score is not None
    assert found.score.value == 0.25


def test_a_list_of_labels_may_contain_numbers() -> None:
    labels: list[Any] = [1, 2.5, "x=3"]
    assert verdict_format.parse_labels(labels) == {"1": None, "2.5": None, "x": 3.0}


def test_the_self_agreement_of_a_judge_is_reported() -> None:
    counts: dict[str, int] = {}

    def say(messages: list[dict[str, str]]) -> str:
        text = messages[0]["content"]
        counts[text] = counts.get(text, 0) + 1
        return "Verdict: " + ("wrong" if "?! y" in text and counts[text] == 3 else "right")

    with judging(say) as (url, _):
        found = manycall.judge(
            answers("a", "x", "y"), "?! {{ response }}", labels="right,wrong", samples=3, base_url=url, **OPTIONS
        )
    assert found.self_agreement is not None
    assert found.self_agreement.questions == 2
    assert found.self_agreement.value == pytest.approx((1 + 1 / 3) / 2)
    assert "Self-agreement: 66.7% of pairs of verdicts on one row are equal" in str(found)


def test_kappa_is_fleisss() -> None:
    """The table of Fleiss (1971), by way of Wikipedia: 14 raters, 10 subjects, κ = 0.210."""
    table = [
        (0, 0, 0, 0, 14), (0, 2, 6, 4, 2), (0, 0, 3, 5, 6), (0, 3, 9, 2, 0), (2, 2, 8, 1, 1),
        (7, 7, 0, 0, 0), (3, 2, 6, 3, 0), (2, 5, 3, 2, 2), (6, 5, 2, 1, 0), (0, 2, 2, 3, 7),
    ]  # fmt: skip
    found = self_agreement([str(label) for label, count in enumerate(row) for _ in range(count)] for row in table)
    assert found is not None
    assert found.value == pytest.approx(0.378, abs=5e-4)
    assert found.kappa == pytest.approx(0.210, abs=5e-4)
    assert self_agreement([["a"], ["b"]]) is None
    same = self_agreement([["a", "a"]])
    assert same is not None
    assert same.kappa is None


# pairs


def by_length(messages: list[dict[str, str]]) -> str:
    """A fair judge, who likes the longer one."""
    first, second = re.findall(r"(?:First|Second): (x+)", messages[0]["content"])
    return "Verdict: " + ("A" if len(first) > len(second) else "B" if first < second else "tie")


def test_a_fair_judge_says_the_same_in_both_orders() -> None:
    a, b = answers("a", "xxx", "x", "xx"), answers("b", "xx", "xx", "xx")
    with judging(by_length) as (url, asked):
        found = manycall.judge(a, PAIRWISE, against=b, base_url=url, **OPTIONS)
    assert len(asked) == 6
    assert {row["id"]: row["judge"]["verdict"] for row in rows(OUT)} == {"q0": "A", "q1": "B", "q2": "tie"}
    assert found.score is not None
    assert found.score.value == 0.5
    assert found.position_bias is not None
    assert (found.position_bias.both, found.position_bias.consistent, found.position_bias.p_value) == (3, 3, 1)


def test_a_judge_who_likes_the_first_place_finds_ties_and_is_found_out() -> None:
    a, b = answers("a", *["xxx"] * 20), answers("b", *["x"] * 20)
    with judging(lambda messages: "Verdict: A") as (url, _):
        found = manycall.judge(a, PAIRWISE, against=b, base_url=url, **OPTIONS)
    assert {row["judge"]["verdict"] for row in rows(OUT)} == {"tie"}
    assert found.position_bias is not None
    assert (found.position_bias.consistent, found.position_bias.first, found.position_bias.second) == (0, 20, 0)
    assert found.position_bias.p_value < 1e-5
    assert "Position bias: the first position won 20 questions, the second 0" in str(found)


def test_in_one_order_a_coin_decides_which_and_the_verdict_is_for_the_answer_not_the_place() -> None:
    a, b = answers("a", *["xxx"] * 40), answers("b", *["x"] * 40)
    with judging(by_length) as (url, asked):
        found = manycall.judge(a, PAIRWISE, against=b, both_orders=False, base_url=url, **OPTIONS)
    assert len(asked) == 40
    assert {row["judge"]["verdict"] for row in rows(OUT)} == {"A"}
    assert 8 < sum(row["judge"]["replies"][0]["swapped"] for row in rows(OUT)) < 32
    assert found.position_bias is not None
    assert found.position_bias.first + found.position_bias.second == 40
    assert found.position_bias.p_value > 0.01


def test_an_answer_without_a_counterpart_is_a_failed_row() -> None:
    with judging(by_length) as (url, _):
        found = manycall.judge(
            answers("a", "x", "x", "x"), PAIRWISE, against=answers("b", "x", "x"), base_url=url, **OPTIONS
        )
    assert (found.scored_rows, found.failure_counts) == (2, {"prompt_error": 1})
    assert rows(Path("judged.jsonl.run/failures.jsonl"))[0]["error"] == "b.jsonl has no row 'q2' to compare with."


def test_it_is_said_which_of_the_runs_is_a_and_which_is_b_and_which_is_better() -> None:
    for name, texts in (("a", ("xxx", "xxx", "x", "xx")), ("b", ["xx"] * 4)):
        answers(name, *texts)
        Path(f"{name}.jsonl.run").mkdir()
        identity = {"job": "eval t", "model": f"model-{name}"}
        Path(f"{name}.jsonl.run/manifest.json").write_text(json.dumps({"manycall_version": "1", "settings": identity}))
    with judging(by_length) as (url, _):
        found = manycall.judge("a.jsonl", PAIRWISE, against="b.jsonl", base_url=url, **OPTIONS)
    assert found.pairwise == PairwiseResult(2, 1, 1, mcnemar(2, 1))
    said = "A is a.jsonl (model-a): 2 wins. B is b.jsonl (model-b): 1. Ties: 1. p = 1 (exact sign test over questions)."
    assert said in str(found)
    manycall.write_report(found, "r.md")
    page = Path("r.md").read_text().replace("\\", "").replace("`", "")
    assert said in page
    assert "| judged" in page
    assert read_judge_result(OUT, "judge").against == "the answers of model-b"


def test_two_questions_of_one_id_are_not_judged_against_each_other() -> None:
    for name, second in (("a", "What?"), ("b", "Who?")):
        lines = ({"id": f"q{n}", "question": q, "response": "xx"} for n, q in enumerate(("How?", second)))
        Path(f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    with judging(by_length) as (url, asked):
        found = manycall.judge("a.jsonl", PAIRWISE, against="b.jsonl", base_url=url, **OPTIONS)
    assert (found.scored_rows, found.failure_counts, len(asked)) == (1, {"prompt_error": 1}, 2)
    (failure,) = rows(Path("judged.jsonl.run/failures.jsonl"))
    assert failure["error"] == "b.jsonl has a different question or answer in row 'q1'."


# rows that are not independent


def judged(identity: dict[str, Any], verdicts: Mapping[str, str]) -> JudgeResult:
    """What is said of an output with these verdicts; each row was shown in one order, the first answer first."""
    Path("judged.jsonl.run").mkdir()
    known = {"job": "judge", "labels": list(PAIRWISE_LABELS.items()), "orders": 1, **identity}
    Path("judged.jsonl.run/manifest.json").write_text(json.dumps({"manycall_version": "1", "settings": known}))
    replies = {
        name: {"verdict": v, "score": PAIRWISE_LABELS[v], "replies": [{"verdict": v}]} for name, v in verdicts.items()
    }
    OUT.write_text("".join(json.dumps({"id": name, "judge": reply}) + "\n" for name, reply in replies.items()))
    return read_judge_result(OUT, "judge")


SAMPLED = {"answers": {"job": "eval x", "samples": True}}


@pytest.mark.parametrize(
    ("identity", "name"),
    [({"samples": True}, "q{}#{}"), (SAMPLED, "q{}#{}"), (SAMPLED | {"samples": True}, "q{}#0#{}")],
    ids=["judged several times", "several answers", "both"],
)
def test_ten_verdicts_on_a_question_are_no_ten_questions(identity: dict[str, Any], name: str) -> None:
    questions = "AAAAAAB" + "B" * 3
    found = judged(identity, {name.format(q, k): v for q, v in enumerate(questions) for k in range(10)})
    assert found.scored_rows == 100
    assert found.position_bias is not None
    assert (found.position_bias.first, found.position_bias.second) == (6, 4)
    assert found.position_bias.p_value == pytest.approx(mcnemar(6, 4))
    assert found.score is not None
    assert found.score.clustered_stderr == pytest.approx(statistics.stdev([1] * 6 + [0] * 4) / 10**0.5)
    share = found.verdicts[0].interval
    assert share is not None
    assert share == found.score.interval
    assert share.high - share.low > 2 * 1.96 * 0.13  # ten questions; by a hundred rows it would be 2 * 1.96 * 0.05
    assert found.verdicts[2].interval == wilson(0, 10)


def test_several_answers_to_a_question_say_nothing_of_how_far_the_judge_agrees_with_itself() -> None:
    found = judged(SAMPLED, {"q0#0": "A", "q0#1": "B"})
    assert found.self_agreement is None


def test_a_place_wins_a_question_that_it_wins_more_often() -> None:
    found = judged(
        {"samples": True}, {f"q{q}#{k}": v for q, said in enumerate(("AAB", "ABB", "AB")) for k, v in enumerate(said)}
    )
    assert found.position_bias is not None
    assert (found.position_bias.first, found.position_bias.second) == (1, 1)
    assert found.self_agreement is not None
    assert found.self_agreement.questions == 3


def test_judgements_of_samples_are_compared_question_by_question() -> None:
    for path, verdicts in (("a.jsonl", "AABB"), ("b.jsonl", "AAAA")):
        judged(SAMPLED, {f"q{n // 2}#{n % 2}": v for n, v in enumerate(verdicts)})
        OUT.rename(path)
        Path("judged.jsonl.run").rename(f"{path}.run")
    (versus,) = manycall.compare("a.jsonl", "b.jsonl").differences
    assert versus.difference.count == 2


# the command


def test_another_runs_answers_into_the_same_output_are_refused() -> None:
    with sim("--latency", "0") as endpoint:
        options = ("-m", "any", "-u", endpoint.url, "-o", OUT)
        assert command("judge", answers("a", "x"), "--rubric", RUBRIC, *options).code == 0
        done = command("judge", answers("b", "y"), "--rubric", RUBRIC, *options)
    assert done.code == 2
    assert "-a.jsonl" in done.err
    assert "+b.jsonl" in done.err


@pytest.mark.parametrize("role", ["judged", "against"])
def test_other_answers_under_the_same_ids_are_refused(role: str) -> None:
    a, b = answers("a", "x", "y"), answers("b", "x", "y")

    def again() -> Any:
        return manycall.judge(a, PAIRWISE, against=b, base_url=url, **OPTIONS)

    with judging(lambda messages: "Verdict: tie") as (url, asked):
        again()
        answers("a" if role == "judged" else "b", "x", "z")
        with pytest.raises(manycall.errors.ManycallError, match=r"-[ab]\.jsonl: 2 rows, (?s:.*)Use another out="):
            again()
    assert len(asked) == 4


def test_overwritten_answers_are_other_answers_but_resumed_ones_are_not() -> None:
    with judging(lambda messages: "Verdict: 3") as (url, asked):

        def make(**options: Any) -> None:
            options = {"model": "m", "out": "a.jsonl", "progress": False, "base_url": url, "samples": 3, **options}
            manycall.generate("Say something.", **options)

        make(limit=2)
        manycall.judge("a.jsonl", "{{ text }}", base_url=url, **OPTIONS)
        make()
        assert manycall.judge("a.jsonl", "{{ text }}", base_url=url, **OPTIONS).scored_rows == 3
        make(overwrite=True)
        with pytest.raises(manycall.errors.ManycallError, match=r"answers\n(?s:.*)started_at(?s:.*)Use another out="):
            manycall.judge("a.jsonl", "{{ text }}", base_url=url, **OPTIONS)
    assert len(asked) == 3 + 3 + 3


@pytest.mark.parametrize("options", [{"max_tokens": 50, "retry": "truncated"}, {"max_tokens": 5, "from_": "a.jsonl"}])
def test_answers_whose_rows_were_replaced_are_other_answers(options: dict[str, Any]) -> None:
    with sim("--latency", "0") as endpoint, judging(lambda messages: "Verdict: 3") as (url, _):

        def make(**options: Any) -> None:
            given: dict[str, Any] = {
                "model": "m",
                "out": "a.jsonl",
                "progress": False,
                "base_url": endpoint.url,
                "samples": 3,
                **options,
            }
            manycall.generate("Say something.", **given)

        make(max_tokens=5)
        manycall.judge("a.jsonl", "{{ text }}", base_url=url, **OPTIONS)
        make(**options)
        with pytest.raises(manycall.errors.ManycallError, match=r"answers\n(?s:.*)started_at(?s:.*)Use another out="):
            manycall.judge("a.jsonl", "{{ text }}", base_url=url, **OPTIONS)


def test_rows_without_an_answer_are_named_because_the_verdicts_leave_them_out() -> None:
    """Otherwise a model that answers one question of four, and that one well, would seem to be right about all."""

    def say(messages: list[dict[str, str]]) -> str:
        return "It is 4." if "n 0" in messages[0]["content"] else ""

    with judging(say) as (url, _):
        questions = [{"id": f"q{n}", "n": n} for n in range(4)]
        options: dict[str, Any] = {"model": "m", "out": "a.jsonl", "progress": False, "base_url": url}
        manycall.generate("n {{ n }}", questions, **options)
    with judging(lambda messages: "Verdict: 5") as (url, _):
        found = manycall.judge("a.jsonl", "{{ text }}", base_url=url, **OPTIONS)
    said = (
        "3 of 4 rows of a.jsonl have no answer (3 empty) and were not judged. The verdicts and scores leave them out."
    )
    assert found.scored_rows == 1
    assert said in found.messages()
    assert said in str(found)


def test_a_judge_says_that_the_answers_are_incomplete() -> None:
    answers("a", "x", "y")
    Path("a.jsonl.run").mkdir()
    identity = {"settings": {"job": "generate"}, "source": {"count": 5}, "sessions": [{"outcome": "interrupted"}]}
    Path("a.jsonl.run/manifest.json").write_text(json.dumps({"manycall_version": "1", **identity}))
    with judging(lambda messages: "Verdict: 5") as (url, _):
        found = manycall.judge("a.jsonl", RUBRIC, base_url=url, **OPTIONS)
    (said,) = found.not_judged
    assert said.startswith("a.jsonl: Incomplete: 2 of 5 rows.")


def test_the_command_judges_with_the_simulated_endpoint() -> None:
    answers("a", *"abcdefgh"), answers("b", *"ABCDEFGH")
    Path("pair.j2").write_text(PAIRWISE)
    words = ("judge", "a.jsonl", "--against", "b.jsonl", "--rubric", "pair.j2", "-m", "any", "-u", "sim:latency=0")
    done = command(*words, "-n", "2", "-o", OUT, "--json")
    assert done.code == 0
    found = json.loads(done.out)
    assert (found["scored_rows"], found["position_bias"]["both"], found["self_agreement"]["questions"]) == (16, 16, 8)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--rubric", "Is it good?"), "does not use any field of the rows. Add a field"),
        (("--rubric", "Is ｛｛response｝｝ good?"), "It contains ｛｛response｝｝: write {{ response }} instead."),
        (("--rubric", "{{ text }}"), "uses the field 'text', which this row does not have. Its fields: id, response."),
        (("--rubric", "none.j2"), "file 'none.j2' not found"),
        (("--rubric", RUBRIC, "--scale", "5"), "--scale 5 is not valid. Expected LOW-HIGH"),
        (("--rubric", RUBRIC, "--scale", "0-1000"), "at most 101 steps"),
        (("--rubric", RUBRIC, "--labels", "good"), "Expected 2 to 101 different labels"),
        (("--rubric", RUBRIC, "--labels", "a,A"), "Expected 2 to 101 different labels"),
        (("--rubric", RUBRIC, "--labels", "a=1,b=x"), "must be a finite number"),
        (("--rubric", RUBRIC, "--labels", "a,b", "--scale", "1-5"), "--scale and --labels cannot be combined"),
        (("--rubric", PAIRWISE, "--against", "none.jsonl"), "file not found"),
        (("--rubric", PAIRWISE, "--against", "a.jsonl", "--scale", "1-3"), "--against and --scale cannot be combined"),
        (("--rubric", PAIRWISE, "--against", "a.jsonl", "--output-field", "response"), "Rename it"),
        (("--rubric", "{{ first.text }}{{ second }}", "--against", "a.jsonl"), "no attribute 'text'"),
        (("--rubric", RUBRIC, "--against", "b.jsonl"), "must use both answers"),
        (("--rubric", RUBRIC, "--output-field", "id"), "the field id holds the row id"),
    ],
)
def test_what_cannot_be_judged_is_one_sentence(words: tuple[str, ...], said: str) -> None:
    answers("a", "x"), answers("b", "y")
    done = command("judge", "a.jsonl", *words, "-m", "any", "-u", "sim", "-o", OUT)
    assert done.code == 2, done.err
    assert said in done.err
    assert done.err.count("\n") == 1


def test_a_row_with_labels_of_no_kind_is_refused() -> None:
    with pytest.raises(UsageError, match="must be a finite number"):
        verdict_format.parse_labels({"a": 1, "b": "x"})  # type: ignore[dict-item]
    for value in ("nan", "inf", "-inf", "1e999"):
        with pytest.raises(UsageError, match="must be a finite number"):
            verdict_format.parse_labels(f"a=1,b={value}")
    with pytest.raises(UsageError, match="must be a finite number"):
        verdict_format.parse_labels({"a": 1, "b": 10**400})


def test_a_dry_run_has_no_verdict() -> None:
    with pytest.raises(TypeError, match="dry_run"):
        manycall.judge(answers("a", "x"), RUBRIC, base_url="http://127.0.0.1:9", dry_run=True, **OPTIONS)  # type: ignore[call-arg]


def test_a_rubric_for_pairs_that_shows_but_one_answer_is_refused() -> None:
    a, b = answers("a", "same", "one"), answers("b", "same", "other")  # the first row would not show it
    for rubric in (RUBRIC, "{{ first.response }}"):
        with pytest.raises(UsageError, match="must use both answers"):
            manycall.judge(a, rubric=rubric, against=b, base_url="http://127.0.0.1:9", **OPTIONS)
