"""IFEval and BIG-Bench Hard next to lm-eval.

python -m crosscheck.texts --python LM_EVALS_PYTHON [--bbh FOLDER] [--ifeval FILE] [--count 20000] [--record]

--bbh is a copy of suzgunmirac/BIG-Bench-Hard, --ifeval the published file of prompts. Without them only made-up
questions are compared, with made-up descriptions and few-shot examples of BIG-Bench Hard's subtasks.
"""

import argparse
import json
import math
import os
import random
import sys
import tempfile
from collections.abc import Iterable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

from crosscheck import bbh_responses, ifeval_responses, responses
from crosscheck.choices import run_harness
from crosscheck.compared import ENOUGH, Comparison, note
from manycall.evals.ifeval.instruction_checks import followed_instructions
from manycall.evals.rescore import score
from manycall.evals.scoring.bbh_answers import READERS
from manycall.evals.tasks.bbh_files import PROMPTS, QUESTIONS
from manycall.evals.tasks.benchmark import LM_EVAL
from manycall.evals.tasks.registry import TASKS
from manycall.evals.tasks.task import Task
from manycall.evals.tasks.task_prompt import TaskPrompt
from manycall.records import Fields, Row

RECORDED = Path(__file__).with_name("recorded_texts.json")
BBH = ("bbh_cot_zeroshot", "bbh_cot_fewshot")
RECORDED_PAIRS = 1000
RANDOM_KEYS = ("1122", "1129")
"""Prompts for which lm-eval draws a random letter."""


def digest(value: Any) -> str:
    """Return the SHA-256 of a value as JSON."""
    return sha256(json.dumps(value, sort_keys=True).encode("utf-8", "surrogatepass")).hexdigest()


def close(ours: float | None, theirs: float | None) -> bool:
    """Return whether two figures are equal but for rounding."""
    if ours is None or theirs is None:
        return ours is theirs
    return math.isclose(ours, theirs, rel_tol=1e-12, abs_tol=1e-15)


def write_punkt(folder: Path) -> None:
    """Write the sentence model in the form that nltk reads, from the package that our checks use."""
    import punkt

    model = punkt.load_model("english")
    place = folder / "nltk_data" / "tokenizers" / "punkt_tab" / "english"
    place.mkdir(parents=True)
    texts = {
        "abbrev_types.txt": sorted(model.abbrev_types),
        "sent_starters.txt": sorted(model.sent_starters),
        "collocations.tab": ["\t".join(pair) for pair in sorted(model.collocations)],
        "ortho_context.tab": [f"{word}\t{flags}" for word, flags in sorted(model.ortho_context.items())],
    }
    for name, words in texts.items():
        (place / name).write_text("\n".join(words), encoding="utf-8")


# --- made-up data and responses


def bbh_folder(folder: Path, count: int = 4) -> Path:
    """Write a few questions of each subtask, and a prompt with three examples, in the published form."""
    rng = random.Random(31)
    (folder / QUESTIONS).mkdir(parents=True)
    (folder / PROMPTS).mkdir()
    for number, subtask in enumerate(READERS):
        kind = bbh_responses.KINDS.get(subtask, "choice")
        pairs = [bbh_responses.question(rng, kind) for _ in range(count + number % 3)]
        rows = [{"input": question, "target": target} for question, target in pairs]
        (folder / QUESTIONS / f"{subtask}.json").write_text(json.dumps({"canary": "", "examples": rows}))
        text = "".join(f"\n\nQ: {q}\nA: Let's think step by step.\nSo the answer is {t}." for q, t in pairs[:3])
        (folder / PROMPTS / f"{subtask}.txt").write_text(f"canary\n-----\nDo it, {subtask}.{text}")
    return folder


def pairs_of(name: str, count: int, seed: int) -> Iterator[Fields]:
    """Yield rows in the published form, with the subtask and a response."""
    rng = random.Random(f"{name} {seed}")
    if name == "ifeval":
        for row in ifeval_responses.made_up_rows(count, seed):
            yield {"subtask": name, "doc": row, "response": ifeval_responses.response(rng, row)}
        return
    for number in range(count):
        subtask = [*READERS][number % len(READERS)]
        kind = bbh_responses.KINDS.get(subtask, "choice")
        question, target = bbh_responses.question(rng, kind)
        row = {"input": question, "target": target}
        yield {"subtask": subtask, "doc": row, "response": bbh_responses.response(rng, row, kind)}


def by_subtask(task: Task) -> dict[str, list[tuple[int, Fields]]]:
    """Return the rows of each subtask with their positions."""
    found: dict[str, list[tuple[int, Fields]]] = {}
    assert isinstance(task.rows, list)
    for index, row in enumerate(task.rows):
        found.setdefault(row["subtask"] if task.subtask else task.name, []).append((index, row))
    return found


def said_to(task: Task, seed: int) -> dict[str, list[str]]:
    """Return a response to each row, by subtask; none is empty, because a row without an answer is not graded."""
    rng, said = random.Random(seed), dict[str, list[str]]()
    for subtask, rows in by_subtask(task).items():
        said[subtask] = [_response(rng, task.name, subtask, row) or "?" for _, row in rows]
    return said


def _response(rng: random.Random, name: str, subtask: str, row: Fields) -> str:
    if name == "ifeval":
        return ifeval_responses.response(rng, row)
    kind = bbh_responses.KINDS.get(subtask, "choice")
    text = bbh_responses.response(rng, {"input": row["question"], "target": row["answer"]}, kind)
    has_digits = any(character in "-0123456789" for character in text)
    return text if kind != "number" or has_digits else f"{text} 7"  # lm-eval stops at some numbers in words


# --- both sides


def our_whole(task: Task, said: dict[str, list[str]], folder: Path) -> dict[str, Any]:
    """Return what we send, read, score and report."""
    prompt, out = TaskPrompt(task), folder / f"{task.name}-out.jsonl"
    run = out.with_name(out.name + ".run")
    run.mkdir(parents=True)
    settings = {"job": f"eval {task.name}", "samples": False}
    (run / "manifest.json").write_text(json.dumps({"manycall_version": "0", "settings": settings}))
    prompts, graded = dict[str, Any](), dict[str, Any]()
    with out.open("w") as file:
        for subtask, rows in by_subtask(task).items():
            prompts[subtask] = [prompt.messages(Row("x", row, index)) for index, row in rows]
            pairs = [(row, text) for (_, row), text in zip(rows, said[subtask], strict=True)]
            file.writelines(json.dumps({**row, "response": text}) + "\n" for row, text in pairs)
            graded[subtask] = [task.score_response(text, row) for row, text in pairs]
    result = score(out, scorer=task.name)
    shown = {task.name: result.scores, **result.groups, **result.aggregates}
    return {
        "prompts": prompts,
        "rows": {
            name: sorted([n, key, *_read(grade[key])] for n, grade in enumerate(grades) for key in task.filters)
            for name, grades in graded.items()
        },
        "figures": {name: {s.filter: (s.value, s.stderr) for s in scores} for name, scores in shown.items()},
    }  # fmt: skip


def _read(grade: tuple[Any, float]) -> tuple[Any, float]:
    return (grade[0] if isinstance(grade[0], str) else None), grade[1]


def made_up_prompts(task: Task) -> dict[str, Any]:
    """Return our descriptions and few-shot examples of the subtasks, to replace lm-eval's."""
    fewshot, prompts = task.fewshot, dict[str, Any]()
    for subtask, rows in by_subtask(task).items() if task.subtask else ():
        index, row = rows[0]
        turns = [turn["content"] for turn in fewshot(index)] if callable(fewshot) else []
        asked = [turn.removeprefix("Q: ").removesuffix("\nA: Let's think step by step.\n") for turn in turns[::2]]
        samples = [{"input": q, "target": a} for q, a in zip(asked, turns[1::2], strict=True)]
        shots = {"fewshot_config": {"sampler": "first_n", "samples": samples}} if samples else {}
        prompts[subtask] = {"description": f"{row['description']}\n\n", **shots}
    return prompts


def write_rows(task: Task, folder: Path) -> dict[str, str]:
    """Write the rows in the published form, and the sentence model; return the files by subtask."""
    folder.mkdir(parents=True)
    write_punkt(folder)
    data = dict[str, str]()
    for subtask, rows in by_subtask(task).items():
        published = [
            {"key": row["id"], "prompt": row["question"], "instruction_id_list": row["instruction_id_list"],
             "kwargs": row["kwargs"]} if task.name == "ifeval" else {"input": row["question"], "target": row["answer"]}
            for _, row in rows
        ]  # fmt: skip
        data[subtask] = str(responses.write(folder / f"{subtask}.jsonl", published))
    return data


def lm_eval_whole(
    python: str, task: Task, said: dict[str, list[str]], folder: Path, prompts: dict[str, Any]
) -> dict[str, Any]:
    """Return what lm-eval sends, reads, scores and reports of the same rows and responses."""
    data = write_rows(task, folder)
    (folder / "responses.json").write_text(json.dumps(said))
    job = {
        "task": task.name, "data": data, "prompts": prompts, "filters": [*task.filters],
        "responses": str(folder / "responses.json"),
    }  # fmt: skip
    theirs = json.loads(run_harness(python, "text_harness.py", job, folder).read_text())
    theirs["prompts"] = {name: [json.loads(text) for text in texts] for name, texts in theirs["prompts"].items()}
    theirs["rows"] = {name: sorted(rows) for name, rows in theirs["rows"].items()}
    return dict(theirs)


def compare_whole(name: str, ours: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    """Return every difference."""
    bad = list[str]()
    for part in ("prompts", "rows"):
        for subtask, mine in ours[part].items():
            said = theirs[part][subtask]
            differing = [f"{name}/{subtask}: {o}, lm-eval {t}" for o, t in zip(mine, said, strict=True) if o != t]
            bad += differing
    for group, figures in ours["figures"].items():
        for key, (value, stderr) in figures.items():
            said = theirs["figures"].get(group, {})
            if key in said and not (close(value, said[key]) and close(stderr, said[f"{key}_stderr"])):
                if group == name and TASKS[name].groups:
                    continue  # over all rows; lm-eval's figure of the group is compared with our aggregate
                bad.append(f"{name}/{group}/{key}: {value} {stderr}, lm-eval {said[key]} {said[f'{key}_stderr']}")
    return bad


def our_fuzz(name: str, pairs: Iterable[Fields]) -> Iterator[Any]:
    """Yield what our readers and scorers make of each pair, in the form of `text_harness.fuzzed`."""
    for pair in pairs:
        doc, response = pair["doc"], pair["response"]
        if name == "ifeval":
            verdicts = (followed_instructions(doc, response, loose=loose) for loose in (False, True))
            yield [[kind, found] for kind, found in zip(("strict", "loose"), verdicts, strict=True)]
            continue
        fields = {"question": doc["input"], "answer": doc["target"], "subtask": pair["subtask"]}
        yield [[key, read, value] for key, (read, value) in TASKS[name].score_response(response, fields).items()]


def compare_fuzz(python: str, name: str, count: int, folder: Path, seed: int = 41) -> tuple[list[str], int]:
    """Return the differences in what both make of made-up responses, and in how many of them lm-eval failed."""
    pairs, bad, failed = list(pairs_of(name, count, seed)), list[str](), 0
    folder.mkdir(parents=True)
    write_punkt(folder)
    path = responses.write(folder / "pairs.jsonl", pairs)
    data = {
        p["subtask"]: str(responses.write(folder / f"{p['subtask']}.jsonl", [p["doc"]])) for p in pairs[: len(READERS)]
    }
    job = {"task": name, "data": data, "prompts": {}, "filters": [], "pairs": str(path)}
    with run_harness(python, "text_harness.py", job, folder).open() as lines:
        for pair, ours, line in zip(pairs, our_fuzz(name, pairs), lines, strict=True):
            theirs = json.loads(line)
            if isinstance(theirs, str):
                failed += 1
            elif theirs != ours:
                bad.append(f"{name}: {pair}: {ours}, lm-eval {theirs}")
    return bad, failed


def recorded_digest(name: str) -> str:
    """Return the digest of what our code makes of the recorded pairs, without those that lm-eval cannot score."""
    return digest(list(our_fuzz(name, pairs_of(name, RECORDED_PAIRS, 51))))


def whole_of(name: str, data: Path, folder: Path) -> tuple[Task, dict[str, list[str]], dict[str, Any]]:
    """Return a task on these files, a response to each row, and what we make of it."""
    task = TASKS[name]
    assert task.loader is not None
    task = task.loader(task, data)
    if name == "ifeval" and isinstance(task.rows, list):
        task = _without_random_keys(task)
    said = said_to(task, 61)
    return task, said, our_whole(task, said, folder)


def _without_random_keys(task: Task) -> Task:
    from msgspec.structs import replace

    assert isinstance(task.rows, list)
    return replace(task, rows=[row for row in task.rows if row["id"] not in RANDOM_KEYS])


def main() -> None:
    """Compare, print what was compared, and fail if anything differs."""
    parser = argparse.ArgumentParser(prog="crosscheck.texts")
    parser.add_argument("--python", type=os.path.abspath, required=True, help="the Python that has lm_eval[ifeval]")
    parser.add_argument("--bbh", type=Path, help="a copy of suzgunmirac/BIG-Bench-Hard")
    parser.add_argument("--ifeval", type=Path, help="the published file of prompts")
    parser.add_argument("--count", type=int, default=ENOUGH, help="made-up responses of each task")
    parser.add_argument("--record", action="store_true", help="write recorded_texts.json, and what was compared")
    options = parser.parse_args()
    bad, noted, compared = list[str](), dict[str, Any](), list[Comparison]()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = {"ifeval": responses.write(folder / "ifeval.jsonl", ifeval_responses.made_up_rows(100, 21))}
        data |= dict.fromkeys(BBH, bbh_folder(folder / "bbh"))
        real = {
            **({"ifeval": options.ifeval} if options.ifeval else {}),
            **(dict.fromkeys(BBH, options.bbh) if options.bbh else {}),
        }
        for title, files in (("made-up", data), ("real", real)):
            for each, file in files.items():
                place = folder / f"{title}-{each}"
                task, said, ours = whole_of(each, file, place)
                prompts = made_up_prompts(task) if title == "made-up" else {}
                theirs = lm_eval_whole(options.python, task, said, place / "lm-eval", prompts)
                bad += compare_whole(each, ours, theirs)
                noted |= {f"{title}/{each}": digest(ours)} if title == "made-up" else {}
                print(f"{title:8} {each:18} {theirs['figures'].get(each, {})}")
        for each in data:
            count = options.count * 51 // 50
            found, failed = compare_fuzz(options.python, each, count, folder / f"fuzz-{each}")
            bad += found
            print(f"{each}: {count:,} made-up responses, {len(found)} differences, lm-eval fails in {failed}")
            compared += [Comparison(each, name, LM_EVAL, count - failed) for name in TASKS[each].filters]
            same, _ = compare_fuzz(options.python, each, RECORDED_PAIRS, folder / f"record-{each}", 51)
            bad += same
            noted[f"fuzz/{each}"] = recorded_digest(each)
    if options.record and not bad:
        note(compared)
        RECORDED.write_text(json.dumps(noted, indent=1, sort_keys=True) + "\n")
    sys.exit("\n".join(bad[:20]) or 0)


if __name__ == "__main__":
    main()
