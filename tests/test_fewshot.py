"""The number of few-shot examples (`num_fewshot`): which examples are sent, resumed and named in the result."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

import manycall
from manycall.errors import SettingsMismatch, UsageError
from manycall.evals.evaluate import resolve_task
from manycall.evals.tasks.registry import TASKS
from manycall.evals.tasks.task_prompt import TaskPrompt
from manycall.records import Messages, Row
from shell import manycall as command

FIXED = ["gsm8k_cot", "gsm8k_cot_llama", "gsm8k_cot_self_consistency"]
OUT = Path("o.jsonl")
QUIET: dict[str, Any] = {"base_url": "sim:latency=0,token_latency=0", "model": "m", "progress": False}


def problems(name: str, count: int) -> Path:
    path = Path(name)
    path.write_text(
        "".join(json.dumps({"question": f"{name} {n}?", "answer": f"#### {n}"}) + "\n" for n in range(count))
    )
    return path


def messages(task: manycall.Task, index: int = 0) -> Messages:
    return TaskPrompt(task).messages(Row(str(index), {"question": "1 + 1?", "answer": "2"}, index))


@pytest.mark.parametrize("name", FIXED)
def test_fewer_shots_of_fixed_examples_are_the_first_ones(name: str) -> None:
    data = problems("t.jsonl", 3)
    for count in (0, 1, 3, 8):
        task = resolve_task(name, data=data, num_fewshot=count)
        assert messages(task)[:-1] == list(TASKS[name].fewshot)[: 2 * count]  # type: ignore[arg-type]
        assert len(messages(task)) == 2 * count + 1


@pytest.mark.parametrize(
    ("name", "count", "said"),
    [
        ("gsm8k_cot_llama", 9, "gsm8k_cot_llama has 8 few-shot examples, so num_fewshot= must be at most 8, not 9"),
        ("gsm8k_cot_zeroshot", 1, "gsm8k_cot_zeroshot has no few-shot examples"),
        ("wordmath", 1, "wordmath has no few-shot examples"),
        ("gsm8k", -1, "num_fewshot= must be a whole number of at least 0, not -1"),
        ("gsm8k", 2.5, "num_fewshot= must be a whole number of at least 0, not 2.5"),
        ("gsm8k", 31, "The few-shot examples need 31 problems, but the data has 30"),
        ("gsm8k_platinum", 3, "The few-shot examples need 4 problems, but the data has 3"),
    ],
)
def test_a_number_of_shots_that_a_task_cannot_have_is_refused(name: str, count: Any, said: str) -> None:
    data, shots = problems("t.jsonl", 3), problems("s.jsonl", 30)
    files: dict[str, Any] = (
        {} if name == "wordmath" else {"data": data, "fewshot_data": shots if name == "gsm8k" else None}
    )
    with pytest.raises(UsageError, match=said):
        resolve_task(name, num_fewshot=count, **files)


def test_no_shots_need_no_examples() -> None:
    data = problems("t.jsonl", 3)
    assert len(messages(resolve_task("gsm8k", data=data, num_fewshot=0))) == 1  # the training set is not downloaded
    assert len(messages(resolve_task("gsm8k_cot_zeroshot", data=data, num_fewshot=0))) == 1
    with pytest.raises(UsageError, match="fewshot_data= and num_fewshot=0 cannot be combined"):
        resolve_task("gsm8k", data=data, fewshot_data=data, num_fewshot=0)


def test_gsm8k_samples_as_many_examples_as_lm_eval_with_num_fewshot() -> None:
    data, shots = problems("t.jsonl", 4), problems("s.jsonl", 30)
    task = resolve_task("gsm8k", data=data, fewshot_data=shots, num_fewshot=2)
    generator = random.Random(1234)
    for index in range(4):
        sent = [each["content"] for each in messages(task, index)[:-1:2]]
        assert sent == [f"Question: s.jsonl {n}?\nAnswer:" for n in generator.sample(range(30), 2)]


def test_mmlu_takes_the_first_examples_of_the_subject() -> None:
    for name in ("anatomy_test.csv", "anatomy_dev.csv"):
        Path(name).write_text("".join(f"{name} {n},a,b,c,d,A\n" for n in range(4)))
    files: dict[str, Any] = {"data": "anatomy_test.csv", "fewshot_data": "anatomy_dev.csv"}
    task = resolve_task("mmlu_generative", num_fewshot=2, **files)
    assert not isinstance(task.fewshot, list)
    shots = task.fewshot(0)  # type: ignore[operator]
    assert [each["content"].split("\n")[0] for each in shots[::2]] == ["anatomy_dev.csv 0", "anatomy_dev.csv 1"]
    with pytest.raises(UsageError, match="fewer than 5 few-shot examples for the subject anatomy"):
        resolve_task("mmlu_generative", **files)
    with pytest.raises(UsageError, match="num_fewshot=2 and fewshot_data= need each other"):
        resolve_task("mmlu_generative", data="anatomy_test.csv", num_fewshot=2)
    with pytest.raises(UsageError, match="need each other"):
        resolve_task("mmlu_generative", num_fewshot=0, **files)


def test_the_examples_of_a_function_are_limited_too() -> None:
    def examples(index: int) -> Messages:
        return [{"role": "user", "content": f"{index}"}, {"role": "assistant", "content": "x"}] * 2

    task = manycall.Task([{"question": "a", "answer": "b"}], "{{ question }}", str, lambda a, b: 1.0, fewshot=examples)
    assert [each["content"] for each in messages(resolve_task(task, num_fewshot=1), 7)] == ["7", "x", "1 + 1?"]
    with pytest.raises(UsageError, match="task has 2 few-shot examples, so num_fewshot= must be at most 2, not 3"):
        manycall.evaluate(task, num_fewshot=3, out=OUT, **QUIET)


def test_another_number_of_shots_is_another_run_and_named_in_the_result() -> None:
    data = problems("t.jsonl", 3)
    words = ("eval", "gsm8k_cot", "--data", data, "-m", "m", "-u", "sim:latency=0,token_latency=0", "-o", OUT)
    done = command(*words, "--num-fewshot", "2", "--report", "r.md")
    assert "| gsm8k_cot, 2-shot (protocol: 8) |" in done.out
    assert "# gsm8k\\_cot, 2-shot (protocol: 8): `o.jsonl`" in Path("r.md").read_text()
    assert json.loads(Path("o.jsonl.run/manifest.json").read_text())["settings"]["num_fewshot"] == 2
    for other in ((), ("--num-fewshot", "3")):
        refused = command(*words, *other)
        assert (refused.code, "  num_fewshot\n" in refused.err) == (2, True)
    told = json.loads(command("score", OUT, "--json").out)
    assert (told["task"], told["num_fewshot"], told["protocol_num_fewshot"]) == ("gsm8k_cot", 2, 8)
    assert "| numeric, 2-shot |" in command("score", OUT, "--scorer", "numeric").out
    manycall.export_lm_eval(OUT, "exported", data=data)
    (results,) = Path("exported/m").glob("results_*.json")
    assert json.loads(results.read_text())["n-shot"] == {"gsm8k_cot": 2}


def test_the_protocols_own_number_of_shots_changes_nothing() -> None:
    data = problems("t.jsonl", 3)
    first = manycall.evaluate("gsm8k_cot", data=data, out=OUT, **QUIET)
    again = manycall.evaluate("gsm8k_cot", data=data, num_fewshot=8, out=OUT, **QUIET)
    assert (first.label, again.label, again.num_fewshot) == ("gsm8k_cot", "gsm8k_cot", None)
    with pytest.raises(SettingsMismatch):
        manycall.evaluate("gsm8k_cot", data=data, num_fewshot=0, out=OUT, **QUIET)
