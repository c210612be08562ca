"""Chains of steps: each row goes its own way, and ends in one of three places."""

import asyncio
import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import manycall
from fakes import FakeTransport, answer
from manycall.data.prompt_error import PromptError
from manycall.errors import AnswerInvalid, UsageError
from manycall.records import Row, Usage
from manycall.run.row_client import RowClient
from manycall.synth import evolve
from manycall.synth.step_base import StepContext
from shell import finish, rows, sim, start
from shell import manycall as command
from test_scheduler import World

OUT, REJECTS = Path("out.jsonl"), Path("out.jsonl.run/rejected.jsonl")
CHAIN = """
[random_vars]
topic = ["tea", "rain", "fog"]

[[steps]]
generate = "Write about {{ topic }}, number {{ id }}."

[[steps]]
judge = "Is this good? {{ text }}"
min_score = 3

[[steps]]
keep = "text | length > 120"
reason = "too short"
"""


def chain(text: str = CHAIN) -> Path:
    Path("chain.toml").write_text(text)
    return Path("chain.toml")


def steps(given: Any, url: str, source: Any = None, **how: Any) -> manycall.results.RunResult:
    return manycall.run_steps(given, source, model="m", base_url=url, out=OUT, progress=False, **how)


def test_write_judge_keep_streams_and_every_row_ends_in_one_place() -> None:
    """3,000 rows; the judge is asked before the writer has been asked for all, and what comes out is accounted for."""
    with sim("--latency", "0", "--token-latency", "0.0001") as endpoint:
        ended = command("steps", chain(), "-n", "3000", "-m", "m", "-u", endpoint.url, "-o", OUT, "--json")
    report = json.loads(ended.out)
    done, rejected = rows(OUT), rows(REJECTS)
    assert ended.code == 0
    assert report["done"] + report["rejected"] + report["failed"] == 3_000 == len(done) + len(rejected)
    assert {str(row["id"]) for row in done} | {str(row["id"]) for row in rejected} == set(map(str, range(3_000)))
    assert all(row["score"] >= 3 and len(row["text"]) > 120 for row in done)
    reasons = Counter("short" if row["reason"] == "too short" else "score" for row in rejected)
    assert reasons.keys() == {"short", "score"}
    assert all(row["score"] < 3 for row in rejected if row["reason"] != "too short")
    assert all(row["text"] and row["topic"] for row in rejected)
    order = [call["body"].count('"completion_tokens":1,') for call in rows(Path("out.jsonl.run/calls.jsonl"))]
    assert sum(order) == 3_000  # the judge's answers are one token long
    assert order.index(1) < 500
    assert 0 in order[-500:]


def test_steps_that_are_killed_twice_lose_nothing_and_repeat_no_call() -> None:
    chain()
    with sim("--latency", "0.01", "--slots", "32") as endpoint:
        words = ("steps", "chain.toml", "-n", "1500", "-j", "32", "-m", "m", "-u", endpoint.url, "-o", OUT)
        for enough in (400, 1400):
            process = start(*words)
            deadline = time.monotonic() + 60
            while not _calls().exists() or _calls().read_bytes().count(b"\n") < enough:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            process.kill()
            process.communicate()
        ended = finish(start(*words, "--json"))
        finished = endpoint.stats["finished"]
    report = json.loads(ended.out)
    ends = [str(row["id"]) for row in [*rows(OUT), *rows(REJECTS)]]
    assert sorted(ends, key=int) == [str(n) for n in range(1500)]
    assert (report["done"], report["rejected"]) == (len(rows(OUT)), len(rows(REJECTS)))
    assert len(rows(_calls())) == 3000
    assert 3000 <= finished <= 3000 + 2 * 32  # those in flight at a kill


def _calls() -> Path:
    return Path("out.jsonl.run/calls.jsonl")


def test_the_steps_are_the_same_from_python_and_may_be_functions() -> None:
    same = [
        manycall.steps.Generate("Write about {{ topic }}, number {{ id }}."),
        manycall.steps.Judge("Is this good? {{ text }}", min_score=3),
        manycall.steps.Keep(lambda row: len(row["text"]) > 120, reason="too short"),
    ]
    ends = []
    for given in (chain(), same):
        with sim("--latency", "0") as endpoint:
            steps(
                given,
                endpoint.url,
                samples=50,
                random_vars={"topic": ["tea", "rain", "fog"]},
                overwrite=True,
                temperature=0,
            )
        ends.append(
            ({row["id"]: row["score"] for row in rows(OUT)}, {row["id"]: row["reason"] for row in rows(REJECTS)})
        )
    assert ends[0] == ends[1]
    assert all(map(len, ends[0]))


def test_the_same_in_one_function() -> None:
    async def write(row: dict[str, Any], llm: manycall.LLM) -> dict[str, Any]:
        text = (await llm.chat(f"Write about {row['topic']}.")).text
        score = int((await llm.chat(f"Good? digit only. {text}")).text)
        if score < 3:
            raise manycall.errors.RowRejected(f"score {score}", text=text)
        return {"text": text, "score": score}

    with sim("--latency", "0") as endpoint:
        for _ in range(2):
            report = manycall.map(
                write,
                [{"topic": f"t{n}"} for n in range(60)],
                model="m",
                base_url=endpoint.url,
                out=OUT,
                progress=False,
            )
        assert endpoint.stats["finished"] == 120
    assert report.done + report.rejected == 60
    assert report.done == len(rows(OUT)) > 0
    assert report.rejected == len(rows(REJECTS)) > 0
    assert "rejected.jsonl" in str(report)


class Model:
    """An `llm` that says these things, and remembers what it was asked."""

    def __init__(self, *says: str) -> None:
        self._says = list(says)
        self.asked: list[Any] = []

    async def chat(self, prompt: Any, **params: Any) -> manycall.Completion:
        self.asked.append(prompt[-1]["content"])
        return manycall.Completion(self._says.pop(0), "stop", Usage(), b"{}")


def through(step: Any, fields: dict[str, Any], *says: str) -> tuple[Any, list[Any]]:
    """What a step makes of a row, and what it asked."""
    llm = Model(*says)
    return asyncio.run(step.compile(StepContext(2, 0, {})).function(Row("r", fields), llm)), llm.asked


@pytest.mark.parametrize(
    ("said", "score"),
    [
        ("4", 4),
        ("Score: 4", 4),
        ("It has 12 faults, 2 of them grave.\n\n3", 3),
        ("<think>From 1 to 5, hm: 2? No.</think>\n**Score:** 4/5", 4),
        ("2 (on a scale from 1 to 5)", 2),
        ("On a scale of 1 to 5, this story is a 4.", 4),
        ("I rate it 4 on a scale of 1 to 5 (best).", 4),
        ("A range of 1–5 is possible, and I say 2", 2),
        ("Rating 4 of 5", 4),
        ("Score: 2. A child of 5 would not like it.", 2),
        ("9. So I say 4.", 4),
        ("4/5", 4),
        ("4 out of 5.", 4),
        ("3.5", 3.5),
        ("**2**", 2),
        ("4分（满分5分）", 4),
        ("1" * 5000 + " 4", 4),
    ],
)
def test_a_judge_reads_the_number_that_can_be_no_other(said: str, score: float) -> None:
    assert through(manycall.steps.Judge("Good? {{ t }}"), {"t": "x"}, said)[0] == {"score": score}


@pytest.mark.parametrize(
    ("said", "scale"),
    [
        ("N/A (1-5)", "1-5"),
        ("I rate it 2 because it uses 3 words", "1-5"),
        ("I rate it 2.\nIt uses 3 words.", "1-5"),
        ("3-4", "1-5"),
        ("It deserves a score of 4 to 5 points.", "1-5"),
        ("From 2 out of 5 to 4 out of 5", "1-5"),
        ("From 2 of 5 to 4 of 5", "1-5"),
        ("4,5", "1-5"),
        ("7", "1-5"),
        ("1,000", "0-100"),
        ("score" + ":" * 50_000, "1-5"),
        ("1" * 50_000 + "-", "1-5"),
    ],
)
def test_a_judge_whose_answer_may_mean_another_number_is_asked_again(said: str, scale: str) -> None:
    made, asked_for = through(manycall.steps.Judge("Good?", scale=scale), {}, said, "3")
    assert (made, len(asked_for)) == ({"score": 3}, 2)


def test_a_scale_may_go_further_than_one_digit_and_below_nothing() -> None:
    assert through(manycall.steps.Judge("Good?", scale="1-10"), {}, "9 (of 10)")[0] == {"score": 9}
    assert through(manycall.steps.Judge("Good?", scale="-2-2"), {}, "-2")[0] == {"score": -2}


def test_a_judge_that_gives_no_score_is_asked_again_and_then_the_row_has_failed() -> None:
    made, asked_for = through(manycall.steps.Judge("Good?"), {}, "Well", "Hm, 9", "4")
    assert (made, len(asked_for)) == ({"score": 4}, 3)
    with pytest.raises(AnswerInvalid, match="No valid answer after 3 calls"):
        through(manycall.steps.Judge("Good?"), {}, "a", "b", "c")


def test_a_judge_may_be_shown_a_picture() -> None:
    parts = [{"type": "text", "text": "Good?"}, {"type": "image_url", "image_url": {"base_url": "data:"}}]
    judge = manycall.steps.Judge(lambda row: [{"role": "user", "content": parts}])
    made, (asked_for,) = through(judge, {}, "4")
    assert (made, [part["type"] for part in asked_for]) == ({"score": 4}, ["text", "image_url", "text"])
    assert len(parts) == 2


def test_below_the_threshold_a_row_is_rejected_with_its_score() -> None:
    with pytest.raises(manycall.errors.RowRejected, match="score 2 is below 3") as caught:
        through(manycall.steps.Judge("Good?", min_score=3), {}, "2")
    assert caught.value.fields == {"score": 2}


@pytest.mark.parametrize("name", ["reason", "self"])
def test_the_field_of_a_step_may_have_the_name_of_an_argument_of_the_rejection(name: str) -> None:
    judge = manycall.steps.Judge("Good?", min_score=3, output_field=name)
    for step, row in ((judge, {}), (manycall.steps.Evolve("q", output_field=name), {"q": "2"})):
        with pytest.raises(manycall.errors.RowRejected) as caught:
            through(step, row, "2")
        assert str(caught.value.fields[name]) == "2"


def test_an_instruction_is_evolved_in_ways_drawn_for_the_row() -> None:
    made, asked_for = through(
        manycall.steps.Evolve("q", rounds=3), {"q": "Why?"}, "Why so?", "Why so blue?", "Why so dark?"
    )
    assert made["evolved"] == "Why so dark?"
    assert made["evolved_operations"] == [evolve.pick_operation(evolve.OPERATIONS, 0, "r", turn) for turn in range(3)]
    assert [text.rpartition("\n")[2] for text in asked_for] == ["Why?", "Why so?", "Why so blue?"]
    with pytest.raises(manycall.errors.RowRejected, match="unchanged by evolve"):
        through(manycall.steps.Evolve("q"), {"q": "Why?"}, " why? ")
    drawn = Counter(evolve.pick_operation(evolve.OPERATIONS, 0, str(n), 0) for n in range(1000))
    assert drawn.keys() == evolve.OPERATIONS.keys()
    assert min(drawn.values()) > 150


def test_fields_can_be_made_of_others() -> None:
    made, _ = through(manycall.steps.Assign({"best": "{{ a if x > y else b }}"}), {"a": "A", "b": "B", "x": 1, "y": 2})
    assert made == {"best": "B"}


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("{{ x - y }}", -1),
        ("{{- t | length -}}", 3),
        ("{{ x < y }}", True),
        ("{{ many }}", ["a"]),
        ("{{ many[0] }}", "a"),
        ("{{ '{{' }}", "{{"),
        ("{{ x }} of {{ y }}", "1 of 2"),
        ("{{ x }}{{ y }}", "12"),
        ("{% if x %}{{ y }}{% endif %}", "2"),
        ("12", "12"),
        ("{# a remark #}{{ x }}", "1"),
    ],
)
def test_a_field_made_by_one_expression_alone_is_of_its_kind(template: str, value: Any) -> None:
    made, _ = through(manycall.steps.Assign({"f": template}), {"x": 1, "y": 2, "t": "abc", "many": ["a"]})
    assert made == {"f": value}
    assert type(made["f"]) is type(value)


@pytest.mark.parametrize("template", ["{{ absent }}", "{{ t.absent }}", "{{ t - 1 }}", "{{ 'x' * 10 ** 9 }}"])
def test_a_field_that_cannot_be_made_is_the_rows_failure(template: str) -> None:
    with pytest.raises(PromptError, match=r"cannot be rendered for this row|which this row does not have"):
        through(manycall.steps.Assign({"f": template}), {"t": "abc"})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("steps = 3", "Expected `array`, got `int`"),
        ('seed = "x"\nsteps = []', "Expected `int`, got `str` - at `$.seed`"),
        ("[[steps]]\ngenerate = 3", "The prompt must be a string, not int"),
        ('[[steps]]\ngenerate = "x"\n[[steps]]\ngenerate = "{{ txt }}"', "Defined: id, text"),
        ("steps = [3]", "Step 1: expected exactly one of"),
        ('[[steps]]\ngenerate = "Say what is not well-defined by default in {{ txt }}."', "uses the field 'txt'"),
        ('[[steps]]\ngenerate = "{{ mood | default(tone) }}"', "Step 1 uses the field 'tone'"),
        ('[[steps]]\ngenerate = "x"\nsystem = "{{ txt }}"', "Step 1 uses the field 'txt'"),
        ('[[steps]]\ngenerate = "x"\noutput_field = "id"', "The output field cannot be 'id'"),
        ('[[steps]]\njudge = "x"\noutput_field = "id"', "Step 1 writes 'id', which is reserved"),
        ('[[steps]]\nassign.id = "x"', "Step 1 writes 'id', which is reserved"),
        ('[[steps]]\nkeep = "scor > 3"', "Step 1 uses the field 'scor'"),
        ('[[steps]]\nevolve = "q"', "Step 1 uses the field 'q'"),
        ('[[steps]]\ngenerate = "x"\n[[steps]]\ngenerate = "y"', "Step 2: field 'text' is already written"),
        ("steps = []", "No steps are given"),
        ('[[steps]]\nwrite = "x"', "Step 1: expected exactly one of generate, messages, evolve, judge, keep, assign"),
        ('[[steps]]\ngenerate = "x"\n[[steps]]\njudge = "x"\nmax = 3', "Step 2 (judge): Object contains unknown field"),
        ('[[steps]]\njudge = "x"\nmin_score = 7', "the scale is 1 to 5"),
        ('[[steps]]\njudge = "x"\nscale = "5"', "scale '5' is not valid. Expected LOW-HIGH, for example 1-5"),
        ('[[steps]]\nkeep = "score >"', "keep = 'score >' is not a Jinja expression (line 1: "),
        ('[[steps]]\nevolve = "q"\noperations = ["sideways"]', "Unknown evolve operation 'sideways'"),
        ('[[steps]]\ngenerate = "{{ x"', "The prompt, line 1"),
        ('[[stebs]]\ngenerate = "x"', "chain.toml: Object"),
        ("[[steps", "chain.toml: "),
        ("[[steps]]\ngenerate = “x”", "line 2, column 12): “ is not ASCII. Use the quotes and punctuation of ASCII"),
        ("[random_vars]\n难度 = ['易']", "line 2, column 1): 难 is not ASCII. Use the quotes"),
        ('[[steps]]\ngenerate = "x"\nschema = {type = "array"}', "cannot split a row into several"),
    ],
)
def test_steps_that_cannot_run_are_refused_before_any_call(text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        steps(chain(text), "http://127.0.0.1:1")
    assert said in str(caught.value)


def test_a_step_may_ask_whether_the_row_has_a_field() -> None:
    given = chain('[[steps]]\ngenerate = "{{ a | default(1) }}{{ b | d(2) }}{% if c is defined %}{{ c }}{% endif %}"')
    with sim("--latency", "0") as endpoint:
        assert steps(given, endpoint.url, samples=1).done == 1


def test_an_invalid_number_of_attempts_is_refused() -> None:
    for words in (("steps", chain()), ("generate", "-p", "x", "-n", "1")):
        assert command(*words, "--reask", "-1", "-m", "m", "-u", "sim", "-o", OUT).code == 2
    with pytest.raises(UsageError, match="reask= must be at least 0, not -1"):
        steps(chain(), "sim", reask=-1)


def test_a_changed_step_is_another_run() -> None:
    with sim("--latency", "0") as endpoint:
        steps(chain(), endpoint.url, samples=5)
        for change in (("min_score = 3", "min_score = 4"), ("> 120", "> 100"), ("good", "fine"), ('"fog"', '"mud"')):
            ended = command("steps", chain(CHAIN.replace(*change)), "-n", "5", "-m", "m", "-u", endpoint.url, "-o", OUT)
            assert (ended.code, "was created with different settings" in ended.err) == (2, True), change


def test_a_step_asks_with_its_own_parameters_schema_and_raw_text() -> None:
    given = chain(
        """
        [[steps]]
        generate = "<|user|>"
        api = "completions"
        output_field = "instruction"
        params = {temperature = 1.0, stop = ["<|end|>"]}
        [[steps]]
        generate = "{{ instruction }}"
        schema = {type = "object", properties = {a = {type = "integer"}}, required = ["a"]}
        """
    )
    with sim("--latency", "0") as endpoint:
        report = steps(given, endpoint.url, samples=3)
    assert report.done == 3
    assert all(isinstance(row["a"], int) and row["instruction"] for row in rows(OUT))
    assert not any("<|end|>" in row["instruction"] for row in rows(OUT))


def test_a_judge_may_be_another_model(tmp_path: Path) -> None:
    judge = manycall.steps.Judge("{{ q }}", params={"model": "judge", "temperature": 0}).compile(StepContext(2, 0, {}))
    world = World(tmp_path, lambda body: answer("4" if body["model"] == "judge" else "no"))
    world.go([{"id": "a", "q": "x"}], judge.function)
    assert world.rows["a"]["score"] == 4
    assert '"temperature":0' in world.transport.requests[0].body.decode()


def test_the_answers_of_a_row_that_fails_midway_are_not_paid_again(tmp_path: Path) -> None:
    """The judge fails at first; the text that it was to judge is there already in the next run."""
    compiled = [
        step.compile(StepContext(2, 0, {}))
        for step in (manycall.steps.Generate("{{ q }}"), manycall.steps.Judge("{{ text }}"))
    ]

    async def both(row: Row, llm: RowClient) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for each in compiled:
            made |= await each.function(Row(row.id, {**row.fields, **made}), llm)
        return made

    says = {"judge": "no idea"}
    world = World(tmp_path, lambda body: answer(says["judge"] if "digit only" in str(body) else "a text"))
    world.go([{"id": "a", "q": "x"}], both)
    assert world.failures["a"]["kind"] == "invalid"
    assert isinstance(world.transport, FakeTransport)
    says["judge"] = "4"
    world.go([{"id": "a", "q": "x"}], both)
    assert world.rows["a"]["score"] == 4
    assert sum(text == "x" for _, text in world.transport.log) == 1
