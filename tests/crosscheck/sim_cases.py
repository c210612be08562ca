"""Every task whose authority is lm-eval: its data for both programs, lm-eval's own files of it, and responses to it.

The data are made up and in the published form. lm-eval gets its shipped YAML files with nothing but the data replaced.
The only exceptions: BIG-Bench Hard's descriptions and examples, which lm-eval's files contain and which manycall reads
from the benchmark's repository, are made up too; AIME 2026, which lm-eval lacks, is its `aime25` under another name.
"""

import csv
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from crosscheck import bbh_responses, ifeval_responses, letters, responses
from crosscheck.choice_data import PRO_CATEGORIES, gpqa_file, pro_files
from crosscheck.task_cases import CASES
from crosscheck.texts import bbh_folder, made_up_prompts, write_punkt, write_rows
from manycall.evals.evaluate import resolve_task
from manycall.evals.scoring.bbh_answers import READERS
from manycall.evals.tasks.benchmark import LM_EVAL
from manycall.evals.tasks.mmlu_subjects import MMLU_SUBJECTS
from manycall.evals.tasks.registry import BENCHMARKS
from manycall.evals.tasks.task import Task
from manycall.evals.tasks.task_prompt import TaskPrompt
from manycall.records import Fields, Row

Splits = dict[str, Path]
"""Name of a split -> its file."""
Response = Callable[[random.Random, Fields], str]


class Shipped(NamedTuple):
    """A task of lm-eval: its file below lm_eval/tasks, the data, and further settings to replace."""

    yaml: str
    splits: Splits
    kind: str = "json"
    more: Fields = {}


class Case(NamedTuple):
    """What both programs evaluate in one go.

    Attributes:
        run: our task -> the words of its data options.
        tasks: lm-eval's tasks by name.
        asked: the names that lm-eval is asked for: a group, or the tasks.
        response: returns a response to a row of our task.
    """

    run: dict[str, list[str]]
    tasks: dict[str, Shipped]
    asked: list[str]
    response: Response


def compared_tasks() -> list[str]:
    """Return the names of the tasks whose authority is lm-eval."""
    return [name for name, each in BENCHMARKS.items() if each.authority.startswith(LM_EVAL)]


def left_out() -> dict[str, list[str]]:
    """Return the tasks that cannot be compared with lm-eval, by the authority of their protocol."""
    others: dict[str, list[str]] = {}
    for name, each in BENCHMARKS.items():
        if not each.authority.startswith(LM_EVAL):
            others.setdefault(each.authority, []).append(name)
    return others


def gsm8k(folder: Path) -> Case:
    """All ten tasks; four of the questions occur twice."""
    test = responses.write(folder / "test.jsonl", [*responses.made_up(24, 3), *responses.made_up(4, 3)])
    train = responses.write(folder / "train.jsonl", responses.made_up(40, 4))
    names = [name for name in compared_tasks() if name.startswith("gsm8k")]
    tasks = {}
    for name in names:
        place = "gsm8k_platinum" if "platinum" in name else "gsm8k"
        splits = {"test": test} if "platinum" in name else {"test": test, "train": train}
        tasks[name] = Shipped(f"{place}/{name.replace('_', '-')}.yaml", splits)
    run = {name: ["--data", str(test)] for name in names}
    run["gsm8k"] += ["--fewshot-data", str(train)]
    habit = "The answer is {n}. The final answer is {n}.\n#### {n}"
    return Case(run, tasks, names, lambda rng, row: responses.response(rng, _after_marks(row["answer"]), habit))


def _after_marks(answer: str) -> str:
    return answer.rpartition("#### ")[2]


def mmlu(folder: Path) -> Case:
    """All 57 subjects, a few questions each, with five examples of the subject."""
    tasks, places = {}, {split: folder / split for split in ("test", "dev")}
    for place in places.values():
        place.mkdir()
    for number, subject in enumerate(name for names in MMLU_SUBJECTS.values() for name in names):
        splits = {}
        for split, count in (("test", 2 + number % 4), ("dev", 6)):
            rows = list(responses.choices(count, 100 * number + count))
            with (places[split] / f"{subject}_{split}.csv").open("w", newline="", encoding="utf-8") as file:
                csv.writer(file).writerows(rows)
            published = [{"question": q, "choices": each, "answer": "ABCD".index(a)} for q, *each, a in rows]
            splits[split] = responses.write(folder / f"{subject}-{split}.jsonl", published)
        more = {"num_fewshot": 5}
        tasks[f"mmlu_{subject}_generative"] = Shipped(f"mmlu/generative/mmlu_{subject}.yaml", splits, more=more)
    words = ["--data", str(places["test"]), "--fewshot-data", str(places["dev"])]
    return Case({"mmlu_generative": words}, tasks, ["mmlu_generative"], _letter_first)


def _letter_first(rng: random.Random, row: Fields) -> str:
    return responses.response(rng, row["answer"]) if rng.random() < 0.5 else _letter(rng, row)


def _letter(rng: random.Random, row: Fields) -> str:
    return letters.response(rng, row["choices"], letters.LETTERS.index(row["answer"].strip("()")))


def shipped_case(name: str) -> Callable[[Path], Case]:
    """Return the case of a task without subtasks that `task_cases` describes."""

    def case(folder: Path) -> Case:
        known = CASES[name if name != "aime26" else "aime25"]
        path = responses.write(folder / f"{known.file}.jsonl", list(known.rows(random.Random(name), 60)))
        splits = dict.fromkeys((known.split, *known.more_splits), path)
        tasks = {name: Shipped(known.yaml, splits)}
        return Case({name: ["--data", str(path)]}, tasks, [name], _published_response(name))

    return case


def _published_response(name: str) -> Response:
    known = CASES[name if name != "aime26" else "aime25"]

    def response(rng: random.Random, row: Fields) -> str:
        number = int(row["answer"]) if str(row["answer"]).lstrip("-").isdecimal() else None
        same = {"Answer": row["answer"], "answer_number": number, "wrong": row.get("wrong", "8")}
        return known.response(rng, {**row, **same})

    return response


def mgsm(folder: Path) -> Case:
    """All 33 tasks."""
    names = [name for name in compared_tasks() if name.startswith("mgsm")]
    run, tasks = {}, {}
    for name in names:
        known = CASES[name]
        path = folder / f"{known.file}.jsonl"
        if not path.exists():
            responses.write(path, list(known.rows(random.Random(known.file), 20)))
        run[name] = ["--data", str(path)]
        tasks[name] = Shipped(known.yaml, dict.fromkeys((known.split, *known.more_splits), path))

    def response(rng: random.Random, row: Fields) -> str:
        return CASES[f"mgsm_native_cot_{row['language']}"].response(rng, {**row, "answer_number": int(row["answer"])})

    return Case(run, tasks, names, response)


def gpqa(folder: Path) -> Case:
    """Diamond, in a separate process: lm-eval shuffles the choices with the global generator."""
    name, path = "gpqa_diamond_cot_zeroshot", gpqa_file(folder)
    shipped = Shipped(f"gpqa/cot_zeroshot/{name}.yaml", {"train": path}, "csv")
    return Case({name: ["--data", str(path)]}, {name: shipped}, [name], _letter)


def mmlu_pro(folder: Path) -> Case:
    """All 14 categories."""
    test, validation = pro_files(folder)
    splits = {"test": test, "validation": validation}
    names = [f"mmlu_pro_{category.replace(' ', '_')}" for category in PRO_CATEGORIES]
    tasks = {name: Shipped(f"mmlu_pro/{name}.yaml", splits) for name in names}
    words = ["--data", str(test), "--fewshot-data", str(validation)]
    return Case({"mmlu_pro": words}, tasks, ["mmlu_pro"], _letter)


def mmlu_redux(folder: Path) -> Case:
    """All 57 subjects; questions with an error, which lm-eval's data set lacks, are in our file only."""
    rng, everything, tasks = random.Random(13), [], {}
    for number, subject in enumerate(name for names in MMLU_SUBJECTS.values() for name in names):
        rows = []
        for _ in range(2 + number % 4):
            row = letters.question(rng, 4)
            rows.append({"question": row["question"], "choices": row["choices"], "answer": row["right"]})
        file = responses.write(folder / f"redux-{subject}.jsonl", rows)
        everything += [{"subject": subject, **row, "error_type": "ok", "correct_answer": None} for row in rows]
        everything.append({"subject": subject, **rows[0], "error_type": "wrong_groundtruth", "correct_answer": "1"})
        shipped = Shipped(f"mmlu-redux/generative/mmlu_{subject}.yaml", {"test": file})
        tasks[f"mmlu_redux_{subject}_generative"] = shipped
    path, name = responses.write(folder / "redux.jsonl", everything), "mmlu_redux_generative"
    return Case({name: ["--data", str(path)]}, tasks, [name], _letter)


def ifeval(folder: Path) -> Case:
    """Every instruction. Its two checks that draw a random letter do not occur."""
    rows = list(ifeval_responses.made_up_rows(50, 21))
    path = responses.write(folder / "ifeval.jsonl", rows)
    write_punkt(folder)
    tasks = {"ifeval": Shipped("ifeval/ifeval.yaml", {"train": path})}
    return Case({"ifeval": ["--data", str(path)]}, tasks, ["ifeval"], ifeval_responses.response)


def bbh(name: str) -> Callable[[Path], Case]:
    """Return the case of a group of BIG-Bench Hard with its 27 subtasks."""

    def case(folder: Path) -> Case:
        data = bbh_folder(folder / "bbh", 3)
        task = resolve_task(name, data=data)
        prompts, files = made_up_prompts(task), write_rows(task, folder / "rows")
        place = name.replace("bbh_", "bbh/")
        tasks = {
            f"{name}_{subtask}": Shipped(f"{place}/{subtask}.yaml", {"test": Path(file)}, more=prompts[subtask])
            for subtask, file in files.items()
        }
        return Case({name: ["--data", str(data)]}, tasks, [name], _bbh_response)

    return case


def _bbh_response(rng: random.Random, row: Fields) -> str:
    assert row["subtask"] in READERS
    kind = bbh_responses.KINDS.get(row["subtask"], "choice")
    text = bbh_responses.response(rng, {"input": row["question"], "target": row["answer"]}, kind)
    has_digits = any(character in "-0123456789" for character in text)
    return text if kind != "number" or has_digits else f"{text} 7"  # lm-eval stops at some numbers in words


SIM_CASES: dict[str, Callable[[Path], Case]] = {
    "gsm8k": gsm8k, "mmlu_generative": mmlu, "gpqa_diamond_cot_zeroshot": gpqa, "mmlu_pro": mmlu_pro,
    "mmlu_redux_generative": mmlu_redux, "ifeval": ifeval, "mgsm": mgsm,
    **{name: shipped_case(name) for name in ("aime24", "aime25", "aime26", "minerva_math500")},
    **{name: bbh(name) for name in ("bbh_cot_zeroshot", "bbh_cot_fewshot")},
}  # fmt: skip
"""Name -> the function of an empty folder that writes the data of one comparison."""


def answer_key(case: Case, tasks: dict[str, Task]) -> Iterator[dict[str, Any]]:
    """Yield the answer key of the simulated endpoint: two responses to each prompt, of which it chooses one."""
    known = set[str]()
    for name, task in tasks.items():
        prompt, rows = TaskPrompt(task), task.rows
        assert isinstance(rows, list)
        for index, row in enumerate(rows):
            asked = prompt.messages(Row("x", row, index))[-1]["content"]
            if asked not in known:
                known.add(asked)
                rng = random.Random(f"{name} {asked}")
                right, wrong = (_without_thinking(case.response(rng, row)) for _ in range(2))
                yield {"prompt": asked, "right": right, "wrong": wrong}


def _without_thinking(response: str) -> str:
    """Return a response that does not begin with thinking text, which manycall does not score, other than lm-eval."""
    return f"So: {response}" if response.lstrip().startswith("<think") else response
