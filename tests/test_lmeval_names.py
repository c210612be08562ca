"""Where `manycall lm-eval` writes: always in the folder that was named, whatever the model and the task are called."""

import json
import re
from pathlib import Path

import pytest

from manycall import evaluate
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
