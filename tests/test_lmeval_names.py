"""Where `manycall lm-eval` writes: always in the folder that was named, whatever the model and the task are called."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from manycall import evaluate
from manycall.errors import UsageError
from manycall.evals.lm_eval.export_files import export_lm_eval
from manycall.evals.tasks.task import Task

DATE = r"_\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.\d{6}\.jsonl?"
NAMES = {
    "meta-llama/Llama-3.1-8B": "meta-llama__Llama-3.1-8B",  # as lm-eval has it
    "qwen2.5:7b": "qwen2.5__7b",
    "模型": "模型",
    "..": "__",
    ".": "__",
    "": "__",
    "../../up": "____..__up",
    "/etc/passwd": "__etc__passwd",
    ".hidden": "__hidden",
    "a\0b\nc": "a__b__c",
    300 * "x": 180 * "x" + "_0d4e2ca9",
    100 * "模": 60 * "模" + "_9645d752",
}


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("evaluated") / "out.jsonl"
    evaluate("wordmath", model="any", base_url="sim:latency=0", out=out, limit=2, progress=False)
    return out


@pytest.mark.parametrize("name", NAMES, ids=lambda name: repr(name[:12]))
def test_a_model_has_one_folder_within_the_folder_that_was_named(evaluated: Path, tmp_path: Path, name: str) -> None:
    manifest = evaluated.with_name("out.jsonl.run") / "manifest.json"
    said = json.loads(manifest.read_bytes())
    said["settings"]["model"] = name
    manifest.write_text(json.dumps(said))
    folder = tmp_path / "deep" / "results"
    written = export_lm_eval(evaluated, folder)
    assert [path.parent for path in written] == [folder / NAMES[name]] * 2
    assert sorted(tmp_path.rglob("*.json*")) == sorted(written)
    results = json.loads(written[0].read_bytes())
    assert (results["model_name"], results["model_name_sanitized"]) == (said["settings"]["model"], NAMES[name])


@pytest.mark.parametrize("name", NAMES, ids=lambda name: repr(name[:12]))
def test_a_task_is_a_part_of_the_name_of_one_file(evaluated: Path, tmp_path: Path, name: str) -> None:
    rows = [{"id": n, "question": "?", "answer": "1"} for n in range(2)]
    evaluated.with_name("mine.jsonl").write_text("".join(json.dumps({**row, "response": "1"}) + "\n" for row in rows))
    task = Task(rows, "{{ question }}", str.strip, lambda extracted, target: float(extracted == target), name=name)
    samples = export_lm_eval(evaluated.with_name("mine.jsonl"), tmp_path, scorer=task)[1]
    assert samples.parent == tmp_path / "unknown"
    assert re.fullmatch("samples_" + re.escape(NAMES[name]) + DATE, samples.name)


def questions(tmp_path: Path) -> Path:
    lines = (json.dumps({"key": f"k{n}", "question": f"{n}?", "answer": "1"}) + "\n" for n in range(2))
    path = tmp_path / "mine.jsonl"
    path.write_text("".join(lines))
    return path


def test_rows_with_their_id_in_another_field_are_exported(tmp_path: Path) -> None:
    given, out = questions(tmp_path), tmp_path / "out.jsonl"
    evaluate(given, scorer="numeric", id_field="key", model="any", base_url="sim", out=out, progress=False)
    samples = [json.loads(line) for line in export_lm_eval(out, tmp_path / "lm")[1].read_text().splitlines()]
    assert [sample["doc"]["key"] for sample in samples] == ["k0", "k1"]


def test_a_prompt_function_is_not_exported_as_what_was_sent(tmp_path: Path) -> None:
    def prompt(fields: dict[str, Any]) -> str:
        return f"Solve {fields['question']}"

    given, out = questions(tmp_path), tmp_path / "out.jsonl"
    evaluate(given, scorer="numeric", prompt=prompt, model="any", base_url="sim", out=out, progress=False)
    with pytest.raises(UsageError, match="written with a prompt function, so the prompts that were sent are not known"):
        export_lm_eval(out, tmp_path / "lm")
    task = Task(given, prompt, str.strip, lambda answer, target: 1.0)
    assert "Solve 1?" in export_lm_eval(out, tmp_path / "lm", scorer=task)[1].read_text()
