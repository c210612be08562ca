"""`lm_eval` and `manycall eval` on the same data at the simulated endpoint: the same bodies, samples and results.

python -m crosscheck.at_sim --python LM_EVALS_PYTHON [CASE ...]

For each task whose authority is lm-eval: `manycall sim` with an answer key that holds two responses to each prompt,
`lm_eval run --model local-chat-completions` on its shipped task with local data, and `manycall eval`. The request
bodies are compared as multisets. Then `manycall export-lm-eval` writes the output of manycall in lm-eval's form, and
the two results files are compared: scores and standard errors of tasks, subtasks and groups, versions, numbers of
examples and of samples, groups. So are the samples: prompts, responses, extracted answers and scores.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import shell
from crosscheck import responses
from crosscheck.over_http import CALLS_AT_ONCE, Endpoint, serving
from crosscheck.sim_cases import SIM_CASES, Case, answer_key, compared_tasks, left_out
from manycall.evals.evaluate import resolve_task

SECONDS = 1800
SECTIONS = ("versions", "n-shot", "n-samples", "higher_is_better")
"""Parts of a results file that are compared as they are, of each task. lm-eval's groups have versions of their own."""
SEED_LANGDETECT = "from langdetect import DetectorFactory\nDetectorFactory.seed = 0\n"
"""Runs when lm-eval's Python starts: without a seed, langdetect gives another verdict each time (IFEval)."""


class Recorder(Endpoint):
    """Passes request bodies on to an endpoint and keeps them, byte for byte.

    A body whose answer was empty is kept once: manycall sends it again, lm-eval does not.
    """

    def __init__(self, url: str) -> None:
        super().__init__({})
        self._url = f"{url}/chat/completions"

    def reply(self, body: bytes) -> bytes:
        """Return the reply to one request."""
        with urlopen(Request(self._url, body, {"content-type": "application/json"}), timeout=60) as reply:
            text = bytes(reply.read())
        is_empty = not json.loads(text)["choices"][0]["message"]["content"].strip()
        with self._lock:
            self.bodies[body] = 1 if is_empty else self.bodies[body] + 1
        return text


def write_tasks(case: Case, shipped: Path, folder: Path) -> None:
    """Write lm-eval's tasks under their own names, with their data replaced."""
    folder.mkdir(parents=True)
    for name, each in case.tasks.items():
        settings = {
            "include": str(shipped / each.yaml), "task": name, "dataset_path": each.kind, "dataset_name": None,
            "dataset_kwargs": {"data_files": {split: str(path) for split, path in each.splits.items()}}, **each.more,
        }  # fmt: skip
        (folder / f"{name}.yaml").write_text(json.dumps(settings), encoding="utf-8")


def run_lm_eval(python: str, url: str, case: Case, folder: Path) -> Path:
    """Run `lm_eval` on the tasks of a case; return the folder with its results and samples."""
    home = folder / "home"
    home.mkdir()
    (home / "sitecustomize.py").write_text(SEED_LANGDETECT)
    write_tasks(case, shipped_folder(python), folder / "tasks")
    model = f"model=any,base_url={url}/chat/completions,num_concurrent={CALLS_AT_ONCE},max_retries=1"
    environment = {
        "PATH": os.environ["PATH"], "HOME": str(folder), "HF_HOME": str(home), "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1", "OPENAI_API_KEY": "none", "PYTHONPATH": str(home),
        "NLTK_DATA": f"{folder / 'nltk_data'}:{folder / 'rows' / 'nltk_data'}",
    }  # fmt: skip
    command = [
        python, "-m", "lm_eval", "run", "--model", "local-chat-completions", "--model_args", model,
        "--tasks", ",".join(case.asked), "--include_path", str(folder / "tasks"), "--apply_chat_template",
        "--output_path", str(folder / "lm-eval"), "--log_samples",
    ]  # fmt: skip
    done = subprocess.run(
        command, check=False, cwd=folder, env=environment, capture_output=True, text=True, timeout=SECONDS
    )
    if done.returncode:
        sys.exit(f"lm-eval failed:\n{done.stderr[-4000:]}")
    return next((folder / "lm-eval").iterdir())


def shipped_folder(python: str) -> Path:
    """Return the folder of the task files in lm-eval's environment."""
    program = "import importlib.util as u; print(u.find_spec('lm_eval').submodule_search_locations[0])"
    found = subprocess.run([python, "-c", program], check=True, capture_output=True, text=True)
    return Path(found.stdout.strip()) / "tasks"


def run_manycall(url: str, case: Case, folder: Path) -> list[Path]:
    """Run `manycall eval` and `export-lm-eval` for each task of a case; return the folders with results and samples."""
    exported = []
    for name, data in case.run.items():
        out, place = folder / "manycall" / f"{name}.jsonl", folder / "exported" / name
        out.parent.mkdir(exist_ok=True)
        words = ("-m", "any", "-u", url, "-o", out, "-j", str(CALLS_AT_ONCE), "--no-progress")
        done = shell.manycall("eval", name, *data, *words, seconds=SECONDS)
        if done.code not in (0, 3):  # 3: some rows have no answer
            sys.exit(f"manycall eval {name} failed: {done.err}")
        written = shell.manycall("export-lm-eval", out, place, *data)
        if written.code:
            sys.exit(f"manycall export-lm-eval {name} failed: {written.err}")
        exported.append(next(place.iterdir()))
    return exported


def compare(python: str, name: str, folder: Path) -> list[str]:
    """Run both programs on a case; return all differences."""
    folder.mkdir(parents=True)
    case = SIM_CASES[name](folder)
    options = {each: words[1::2] for each, words in case.run.items()}
    tasks = {each: resolve_task(each, data=files[0], fewshot_data=(*files, None)[1]) for each, files in options.items()}
    key = responses.write(folder / "key.jsonl", answer_key(case, tasks))
    words = ("--answer-key", str(key), "--latency", "0", "--token-latency", "0")
    with shell.sim(*words, seconds=SECONDS) as endpoint:
        recorder = Recorder(endpoint.url)
        with serving(recorder) as url:
            theirs_at = run_lm_eval(python, url, case, folder)
            theirs = recorder.taken()
            ours_at = run_manycall(url, case, folder)
            ours = recorder.taken()
    bad = [
        f"sent {ours[body]} times by manycall, {theirs[body]} times by lm-eval: {body[:2000]!r}"
        for body in [*(ours - theirs), *(theirs - ours)][:4]
    ]
    bad += different_results(merged(map(results, ours_at)), results(theirs_at))
    bad += different_samples(merged(map(samples, ours_at)), samples(theirs_at))
    tables = numbers_of(results(theirs_at))
    print(
        f"{name:26} {ours.total():6,} bodies of manycall, {theirs.total():6,} of lm-eval, {len(theirs):6,} different; "
        f"{sum(map(len, tables.values())):4} numbers of {len(tables)} tasks and groups: {len(bad)} differences",
        flush=True,
    )
    return [f"{name}: {line}" for line in bad]


def merged(parts: Iterator[dict[str, Any]]) -> dict[str, Any]:
    """Return the files of several tasks as one."""
    whole: dict[str, Any] = {}
    for part in parts:
        for key, value in part.items():
            whole[key] = {**whole.get(key, {}), **value} if isinstance(value, dict) else value
    return whole


def results(place: Path) -> dict[str, Any]:
    """Return a results file."""
    (path,) = place.glob("results_*.json")
    return dict(json.loads(path.read_text(encoding="utf-8")))


def samples(place: Path) -> dict[str, Any]:
    """Return what is compared of the samples, by task: (document, filter) -> prompt, responses, answer, scores."""
    found: dict[str, Any] = {}
    for path in sorted(place.glob("samples_*.jsonl")):
        name = path.name.removeprefix("samples_").rpartition("_")[0]
        for line in path.read_text(encoding="utf-8").split("\n")[:-1]:
            sample = json.loads(line)
            scores = {metric: sample[metric] for metric in sample["metrics"] if metric in sample}
            entry = found.setdefault(name, {}).setdefault((sample["doc_id"], sample["filter"]), {})
            extracts = sample["filter"] != "none" and sample["resps"] != [[""]]  # an empty answer is not read by us
            kept = ("resps", "prompt_hash", *(("filtered_resps",) if extracts else ()))
            entry |= {key: sample[key] for key in kept}
            entry.setdefault("scores", {}).update(scores)
    return found


def numbers_of(said: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the scores and standard errors of tasks and groups."""
    tables = {**said["results"], **said.get("groups", {})}
    return {name: {key: v for key, v in values.items() if "," in key} for name, values in tables.items()}


def different_results(ours: dict[str, Any], theirs: dict[str, Any]) -> Iterator[str]:
    """Yield the differences of two results files. We may have filters that lm-eval lacks, such as `official`."""
    mine, said = numbers_of(ours), numbers_of(theirs)
    for name, values in said.items():
        for key, value in values.items():
            own = mine.get(name, {}).get(key)
            if not same(own, value):
                yield f"results of {name}: {key} {own}, lm-eval {value}"
    if set(ours.get("groups", {})) != set(theirs.get("groups", {})):
        yield f"groups {sorted(ours.get('groups', {}))}, lm-eval {sorted(theirs.get('groups', {}))}"
    members = {name: names for name, names in ours["group_subtasks"].items() if names}
    if members != theirs["group_subtasks"]:
        yield f"group_subtasks {members}, lm-eval {theirs['group_subtasks']}"
    for section in SECTIONS:
        for name in {**ours["results"], **theirs["results"]}.keys() - theirs.get("groups", {}).keys():
            own, value = ours[section].get(name), theirs[section].get(name)
            is_ours = section == "versions" and own is None  # AIME 2026
            if own != value and not is_ours:
                yield f"{section} of {name}: {own}, lm-eval {value}"


def different_samples(ours: dict[str, Any], theirs: dict[str, Any]) -> Iterator[str]:
    """Yield the first difference of each task."""
    if set(ours) != set(theirs):
        yield f"samples of {sorted(ours)}, lm-eval {sorted(theirs)}"
    for name, entries in theirs.items():
        own = ours.get(name, {})
        differing = [(key, own.get(key), entry) for key, entry in entries.items() if own.get(key) != entry]
        if differing:
            key, mine, said = differing[0]
            yield f"{len(differing)} samples of {name} differ, first {key}: {mine}, lm-eval {said}"


def same(ours: Any, theirs: Any) -> bool:
    """Return whether two numbers are equal but for rounding; "N/A" only equals itself."""
    if isinstance(ours, str) or isinstance(theirs, str) or ours is None:
        return bool(ours == theirs)
    return math.isclose(ours, theirs, rel_tol=1e-12, abs_tol=1e-15)


def main() -> None:
    """Compare, list what cannot be compared, and fail if anything differs."""
    parser = argparse.ArgumentParser(prog="crosscheck.at_sim")
    parser.add_argument(
        "--python", type=os.path.abspath, required=True, help="the Python that has lm_eval[ifeval,math]"
    )
    parser.add_argument("cases", nargs="*", default=[*SIM_CASES], help=f"some of {', '.join(SIM_CASES)}")
    options = parser.parse_args()
    bad = list[str]()
    with tempfile.TemporaryDirectory() as name:
        for case in options.cases:
            bad += compare(options.python, case, Path(name) / case)
    print(f"{len(compared_tasks())} tasks follow lm-eval. Not compared here, because their authority is another one:")
    for authority, names in left_out().items():
        print(f"  {authority}: {', '.join(names)}")
    sys.exit("\n".join(bad) or 0)


if __name__ == "__main__":
    main()
