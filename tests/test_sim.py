import json
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manycall.errors import UsageError
from manycall.evals.tasks import wordmath
from manycall.evals.tasks.registry import TASKS
from manycall.evals.tasks.task import Task
from manycall.evals.tasks.task_prompt import TaskPrompt
from manycall.records import Row
from manycall.sim import process
from manycall.sim.continuous_batching import BatchedCall, ContinuousBatch
from manycall.sim.generated_text import TextGenerator, last_question, lognormal, token_count
from manycall.sim.rate_limits import TokenBucket
from manycall.sim.sim_settings import SimSettings, declared_settings
from shell import sim
from test_processes import wait_until


@given(st.floats(0, 1), st.integers(0, 1000))
def test_exactly_the_planted_fraction_is_answered_right(accuracy: float, seed: int) -> None:
    key = {f"q{n}": str(n) for n in range(40)}
    model = TextGenerator(SimSettings(accuracy=accuracy, seed=seed), key)
    right = sum(f"The answer is {answer}." in model.answer(f"Q: {q}", {}).text for q, answer in key.items())
    assert right == round(accuracy * 40) == model.expected_correct["right"]
    assert model.expected_correct["asked"] == 40


def test_every_question_of_a_task_is_recognised_in_its_prompt(gsm8k: Path) -> None:
    from manycall.cli.user_code import load_answer_key

    test, train = gsm8k / "test.jsonl", gsm8k / "train.jsonl"
    names = ("gsm8k_cot", "gsm8k_cot_zeroshot", "gsm8k_cot_llama", "gsm8k_platinum")
    tasks = [gsm8k_of("gsm8k", test, train), *(gsm8k_of(name, test) for name in names)]
    rows = [json.loads(line) for line in test.read_bytes().splitlines()]
    for task in tasks:
        model, asker = TextGenerator(SimSettings(accuracy=1), load_answer_key(str(test))), TaskPrompt(task)
        for index, row in enumerate(rows):
            prompt = "\n\n".join(message["content"] for message in asker.messages(Row("x", row, index)))
            found = task.score_response(model.answer(prompt, task.params).text, row)
            assert {value for _, value in found.values()} == {1.0}, row["question"]
    model, task = TextGenerator(SimSettings(accuracy=0), load_answer_key("wordmath")), TASKS["wordmath"]
    for problem in wordmath.problems():
        text = model.answer(TaskPrompt(task).messages(Row("x", dict(problem), 0))[0]["content"], {}).text
        assert {value for _, value in task.score_response(text, dict(problem)).values()} == {0.0}


def gsm8k_of(name: str, data: Path, fewshot_data: Path | None = None) -> Task:
    """A GSM8K task with its rows."""
    task = TASKS[name]
    assert task.loader is not None
    return task.loader(task, data, fewshot_data)


def test_the_same_seed_gives_the_same_answers_in_any_order() -> None:
    prompts = [f"Tell me of {n}" for n in range(20)]
    one, two = TextGenerator(SimSettings(seed=1), {}), TextGenerator(SimSettings(seed=1), {})
    assert {p: one.answer(p, {}) for p in prompts} == {p: two.answer(p, {}) for p in reversed(prompts)}
    assert one.answer("x", {}) != TextGenerator(SimSettings(seed=2), {}).answer("x", {})


def test_the_same_prompt_gets_another_story_each_time_unless_the_temperature_is_zero() -> None:
    model = TextGenerator(SimSettings(), {})
    assert len({model.answer("story", {}).text for _ in range(50)}) == 50
    assert len({model.answer("story", {"temperature": 0}).text for _ in range(5)}) == 1


def test_a_chinese_prompt_gets_a_chinese_story() -> None:
    text = TextGenerator(SimSettings(), {}).answer("讲一个故事。", {}).text
    assert all("\u4e00" <= c <= "\u9fff" for c in text.rstrip("。"))


def test_asked_for_a_digit_it_gives_one() -> None:
    model = TextGenerator(SimSettings(), {})
    for prompt in ("Grade this from 1 to 5, digit only: x", "\u53ea\u5199\u6570\u5b57: x"):
        assert model.answer(prompt, {}).text in "12345"


def test_answers_end_at_the_stop_sequence() -> None:
    model = TextGenerator(SimSettings(accuracy=1), {"q": "18"})
    assert model.answer("Q: q", {"stop": ["####"]}).text.endswith("The answer is 18.\n")
    cut = model.answer("Q: q", {"max_tokens": 3})
    assert (cut.tokens, cut.finish_reason) == (3, "length")
    assert len(cut.text) < 20


@pytest.mark.parametrize(
    ("prompt", "question"),
    [
        ("Question: a b?\nAnswer:", "a b?"),
        ("Question: one\nAnswer:\n\n#### 1\n\nQuestion: two\nAnswer:", "two"),
        ("Q: why?\nA: Let's think step by step.", "why?"),
        ("Tell me more.", "Tell me more."),
    ],
)
def test_the_last_question_of_a_prompt_is_found(prompt: str, question: str) -> None:
    assert last_question(prompt) == question


def test_faults_come_as_often_as_ordered() -> None:
    b = SimSettings(error_rate=0.2, drop_rate=0.1, slow_rate=0.1)
    faults = [b.random_fault(n) for n in range(10_000)]
    assert faults.count("error") / 10_000 == pytest.approx(0.2, abs=0.02)
    assert faults.count("drop") / 10_000 == pytest.approx(0.1, abs=0.02)
    assert sum(b.slowness(n) == 10 for n in range(10_000)) / 10_000 == pytest.approx(0.1, abs=0.02)


def finish(behaviour: SimSettings, calls: list[tuple[float, int, int]]) -> dict[int, float]:
    """When each call, (comes at, prompt tokens, tokens of output), is done."""
    batch, ended = ContinuousBatch(behaviour), {}
    todo = [(at, BatchedCall(n, prompt, output, behaviour.latency)) for n, (at, prompt, output) in enumerate(calls)]
    while todo or batch.due() is not None:
        due = batch.due()
        if todo and (due is None or todo[0][0] <= due):
            at, work = todo.pop(0)
            done = batch.add(work, at)
        else:
            assert due is not None
            at, done = due, batch.advance(due)
        ended.update({work.ticket: at for work in done})
    return ended


def test_calls_share_the_steps_and_slow_each_other() -> None:
    b = SimSettings(latency=0, token_latency=0.01, batch_latency=0.001)
    assert finish(b, [(0, 0, 100)]) == pytest.approx({0: 1.1})
    assert finish(b, [(0, 0, 100), (0, 0, 100)]) == pytest.approx({0: 1.2, 1: 1.2})
    assert finish(b, [(0, 0, 100), (0, 0, 50)]) == pytest.approx({1: 0.6, 0: 1.15})


def test_a_call_without_a_slot_or_memory_waits_for_one() -> None:
    assert finish(SimSettings(slots=1, latency=0.5, token_latency=0.01), [(0, 0, 50), (0, 0, 50)]) == pytest.approx(
        {0: 1.0, 1: 2.0}
    )
    b = SimSettings(latency=0, token_latency=0.01, kv_cache_tokens=100)
    assert finish(b, [(0, 10, 50), (0, 10, 50)]) == pytest.approx({0: 0.5, 1: 1.0})
    assert finish(b, [(0, 10, 500)]) == pytest.approx({0: 5.0})  # larger than all memory, but alone


def test_prompts_hold_up_everybody_unless_they_are_cached() -> None:
    b = SimSettings(latency=0, token_latency=0.01, prefill_latency=0.001)
    assert finish(b, [(0, 1000, 10), (0, 1000, 10)]) == pytest.approx({0: 2.1, 1: 2.1})
    batch = ContinuousBatch(SimSettings(latency=0, prefill_latency=0.001, prefix_cache_tokens=1000))
    batch.add(BatchedCall(1, 130, 1, 0, [11, 12]), 0.0)
    batch.add(BatchedCall(2, 130, 1, 0, [11, 13]), 0.0)
    assert batch.reused == 64


def test_who_hangs_up_leaves_the_slot_to_the_next() -> None:
    batch = ContinuousBatch(SimSettings(slots=1, latency=0, token_latency=0.01))
    first, second, third = (BatchedCall(n, 0, 100, 0) for n in range(3))
    for work in (first, second, third):
        batch.add(work, 0.0)
    batch.remove(second, 0.2)
    batch.remove(first, 0.3)
    assert batch.due() == 0.3  # the third gets its slot
    assert [work.ticket for work in batch.advance(1.3)] == [2]
    assert (batch.running, batch.waiting) == (0, 0)


@given(st.integers(1, 5), st.lists(st.tuples(st.floats(0, 3), st.integers(0, 9), st.integers(1, 200)), max_size=30))
def test_every_call_is_done_once_and_in_no_less_than_its_own_time(
    slots: int, calls: list[tuple[float, int, int]]
) -> None:
    calls.sort()
    b = SimSettings(slots=slots, latency=0.1, token_latency=0.01, batch_latency=0.001)
    ended = finish(b, calls)
    assert sorted(ended) == list(range(len(calls)))
    assert all(ended[n] >= at + 0.1 + output * 0.011 - 1e-6 for n, (at, _, output) in enumerate(calls))


@given(st.integers(1, 6000), st.lists(st.floats(0, 5), max_size=200))
def test_no_minute_lets_more_through_than_the_quota_and_one_burst(rpm: int, gaps: list[float]) -> None:
    quota, now, taken = TokenBucket(rpm), 0.0, 0
    for gap in gaps:
        now += gap
        taken += quota.take(1, now) == 0
    assert taken <= now * rpm / 60 + max(1, rpm / 60) + 1e-6


def test_a_refusal_says_when_to_come_back() -> None:
    quota = TokenBucket(60)
    assert quota.take(1, 0.0) == 0
    wait = quota.take(1, 0.0)
    assert wait == pytest.approx(1.0)
    assert quota.take(1, wait) == 0


def test_draws_have_the_mean_they_should() -> None:
    draws = [lognormal(60, 0.5, (n + 0.5) / 10_000) for n in range(10_000)]
    assert sum(draws) / len(draws) == pytest.approx(60, rel=0.05)


def test_tokens_are_counted_about_as_a_tokenizer_would() -> None:
    assert token_count("hello world!") == 3
    assert token_count("你好，世界") == 5


NUMBERS = [name for name, _, default, _ in declared_settings() if not isinstance(default, str) and name != "seed"]


@pytest.mark.parametrize("value", [-1, 2_000_000_000, float("nan"), float("inf")])
@pytest.mark.parametrize("name", NUMBERS)
def test_a_setting_outside_its_range_is_refused(name: str, value: Any) -> None:
    with pytest.raises(UsageError, match=f"{name}= must be from"):
        SimSettings(**{name: value})


def test_sim_urls_carry_their_options() -> None:
    assert process.is_sim("sim")
    assert process.is_sim("sim:latency=1")
    assert not process.is_sim("http://sim:80")
    assert process.with_option("sim", "answer_key", "wordmath") == "sim:answer_key=wordmath"
    assert process.with_option("sim:slots=2", "answer_key", "wordmath") == "sim:slots=2,answer_key=wordmath"
    assert process.with_option("sim:answer_key=mine", "answer_key", "wordmath") == "sim:answer_key=mine"
    with pytest.raises(UsageError, match="'slots' is not valid"):
        process.SimProcess("sim:slots")


def running_calls(url: str) -> int:
    """Number of calls that have a slot."""
    with urlopen(url.removesuffix("/v1") + "/metrics", timeout=10) as reply:
        return int(reply.read().partition(b"running{")[2].splitlines()[0].split()[-1])


@pytest.mark.parametrize(("options", "streams"), [((), False), ((), True), (("--provider", "openai"), False)])
def test_a_client_that_closes_its_connection_leaves_its_slot_to_the_next_call(
    options: tuple[str, ...], streams: bool
) -> None:
    body = json.dumps({"model": "sim", "stream": streams, "messages": [{"role": "user", "content": "Hello"}]})
    with sim("--latency", "600", *options) as endpoint:
        client = HTTPConnection(endpoint.url.split("/")[2])
        client.request("POST", "/v1/chat/completions", body)
        wait_until(lambda: running_calls(endpoint.url) == 1)
        client.close()
        wait_until(lambda: running_calls(endpoint.url) == 0)
