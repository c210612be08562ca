"""Runs the code of simple-evals, OpenCompass and MMLU-Pro: python authority_harness.py JOB.json

It needs a Python with pandas, numpy, jinja2, requests and tqdm, for example that of lm-eval. `authorities` is a folder
with checkouts of openai/simple-evals and TIGER-AI-Lab/MMLU-Pro and the unpacked wheel of opencompass 0.5.4.
"""

import ast
import importlib
import json
import os
import re
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

OPENCOMPASS = {
    "ceval_opencompass": "ceval/ceval_gen_5f30c7.py",
    "cmmlu_opencompass": "cmmlu/cmmlu_0shot_cot_gen_305931.py",
}


def functions(path: Path, names: set[str]) -> dict[str, Callable[..., Any]]:
    """Return functions of a module that cannot be imported here, without what decorates them."""
    tree = ast.parse(path.read_text())
    found = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name in names]
    for node in found:
        node.decorator_list = []
    space: dict[str, Any] = {"re": re, "print": lambda *_: None}
    exec(compile(ast.Module([*found], []), str(path), "exec"), space)  # the authority's own code
    return {name: space[name] for name in names}


def simple_evals(folder: Path, job: dict[str, Any]) -> dict[str, Any]:
    """Return what simple-evals sends and scores in GPQA, with the responses in the order of its calls."""
    os.environ["debug"] = "1"  # noqa: SIM112 (its name there) one call after another
    package = types.ModuleType("simple_evals")
    package.__path__ = [str(folder / "simple-evals")]
    sys.modules["simple_evals"] = package
    gpqa: Any = importlib.import_module("simple_evals.gpqa_eval")
    common: Any = importlib.import_module("simple_evals.common")
    types_of: Any = importlib.import_module("simple_evals.types")
    pandas: Any = importlib.import_module("pandas")
    read, sent, replies = pandas.read_csv, [], iter(job["gpqa_responses"])
    pandas.read_csv = lambda _: read(job["gpqa"], keep_default_na=False)

    class Sampler(types_of.SamplerBase):  # type: ignore[misc]
        def _pack_message(self, role: str, content: str) -> dict[str, str]:
            return {"role": role, "content": content}

        def __call__(self, messages: list[dict[str, str]]) -> Any:
            sent.append(messages)
            return types_of.SamplerResponse(next(replies), messages, {})

    evaluation = gpqa.GPQAEval(n_repeats=job["samples"])
    scores: list[float] = []
    aggregate = common.aggregate_results

    def noted(results: list[Any]) -> Any:
        scores.extend(each.score for each in results)
        return aggregate(results)

    common.aggregate_results = noted
    result = evaluation(Sampler())
    pattern = common.ANSWER_PATTERN_MULTICHOICE
    first = [re.search(pattern, text) for text in job["texts"]]
    return {
        "sent": sent, "scores": scores, "mean": float(result.score),
        "read": [None if match is None else match[1] for match in first],
    }  # fmt: skip


class Anything(types.ModuleType):
    """A module with every attribute, for imports of which only the names matter."""

    def __getattr__(self, name: str) -> Any:
        if name == "__path__":
            return []
        return name


def templates(folder: Path, file: str) -> dict[str, list[dict[str, str]]]:
    """Return the turns of OpenCompass's prompt for each subject, with {question}, {A}, ... in the place of a row's."""
    path = folder / "opencompass" / "opencompass" / "configs" / "datasets" / file
    for line in path.read_text().splitlines():
        if line.startswith("from "):
            parts = line.split()[1].split(".")
            for n in range(1, len(parts) + 1):
                sys.modules[".".join(parts[:n])] = Anything(".".join(parts[:n]))
    space: dict[str, Any] = {}
    exec(path.read_text(), space)  # the authority's own configuration
    (datasets,) = (value for name, value in space.items() if name.endswith("_datasets"))
    found = {}
    for each in datasets:
        config = each["infer_cfg"]
        found[each["name"]] = config.get("ice_template", config.get("prompt_template"))["template"]["round"]
    return found


def opencompass(folder: Path, job: dict[str, Any]) -> dict[str, Any]:
    """Return OpenCompass's templates, and what it reads."""
    texts = folder / "opencompass" / "opencompass" / "utils" / "text_postprocessors.py"
    readers = functions(texts, {"first_capital_postprocess", "match_answer_pattern"})
    config = (
        folder / "opencompass" / "opencompass" / "configs" / "datasets" / OPENCOMPASS["cmmlu_opencompass"]
    ).read_text()
    pattern = re.findall(r"(?m)^ +answer_pattern=r'(.*)',$", config)[-1]
    return {
        "templates": {task: templates(folder, file) for task, file in OPENCOMPASS.items()},
        "ceval_opencompass": [readers["first_capital_postprocess"](text) for text in job["texts"]],
        "cmmlu_opencompass": [readers["match_answer_pattern"](text, pattern) for text in job["texts"]],
    }


def mmlu_pro(folder: Path, job: dict[str, Any]) -> list[str | None]:
    """Return what the script of MMLU-Pro's authors reads."""
    found = functions(
        folder / "MMLU-Pro" / "evaluate_from_local.py", {"extract_answer", "extract_again", "extract_final"}
    )
    return [found["extract_answer"](text) for text in job["texts"]]


def main(job_file: str) -> None:
    """Do a job."""
    job = json.loads(Path(job_file).read_text())
    folder = Path(job["authorities"])
    said = {
        "simple_evals": simple_evals(folder, job),
        "opencompass": opencompass(folder, job),
        "mmlu_pro": mmlu_pro(folder, job),
    }
    Path(job["out"]).write_text(json.dumps(said))


if __name__ == "__main__":
    main(sys.argv[1])
