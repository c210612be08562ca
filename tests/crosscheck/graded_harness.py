"""Runs simple-evals' code of DROP and SimpleQA: python graded_harness.py JOB.json

It needs a Python with pandas, numpy, scipy, jinja2, requests and tqdm, for example that of lm-eval. `authorities` is a
folder with a checkout of openai/simple-evals.
"""

import gzip
import importlib
import io
import json
import os
import sys
import types
from pathlib import Path
from typing import Any


def package(folder: Path) -> Any:
    """Import simple-evals without its samplers; one call runs after another."""
    os.environ["debug"] = "1"  # noqa: SIM112
    module = types.ModuleType("simple_evals")
    module.__path__ = [str(folder / "simple-evals")]
    sys.modules["simple_evals"] = module
    return importlib.import_module("simple_evals.common")


def replaying(replies: list[str], sent: list[Any]) -> Any:
    """Return a sampler that replies in turn and keeps what it is asked."""
    base, waiting = importlib.import_module("simple_evals.types"), iter(replies)

    class Sampler(base.SamplerBase):  # type: ignore[misc,name-defined]
        def _pack_message(self, role: str, content: str) -> dict[str, str]:
            return {"role": role, "content": content}

        def __call__(self, messages: list[dict[str, str]]) -> Any:
            sent.append(messages)
            return base.SamplerResponse(next(waiting), messages, {})

    return Sampler()


def drop(common: Any, job: dict[str, Any]) -> dict[str, Any]:
    """Return what is sent for DROP, and the scores of the responses and of more pairs."""
    files = iter((job["train"], job["dev"]))
    common.url_to_fileobj = lambda _, binary: io.BytesIO(gzip.compress(Path(next(files)).read_bytes()))
    module, sent, scores = importlib.import_module("simple_evals.drop_eval"), list[Any](), list[Any]()
    aggregate = common.aggregate_results

    def keep(results: Any) -> Any:
        scores.extend(each.metrics for each in results)
        return aggregate(results)

    common.aggregate_results = keep
    result = module.DropEval()(replaying(job["responses"], sent))
    pairs = []
    for text, references in job["pairs"]:
        match = module.re.search(module.ANSWER_PATTERN, text)
        pairs.append(module.drop_metric(match.group(1) if match else text, references.split("|")))
    return {
        "sent": sent,
        "scores": scores,
        "metrics": result.metrics,
        "pairs": [list(map(float, each)) for each in pairs],
    }


def simpleqa(common: Any, job: dict[str, Any]) -> dict[str, Any]:
    """Return what is sent for SimpleQA to the model and to the judge, the grades, and the reading of more replies."""
    pandas: Any = importlib.import_module("pandas")
    read = pandas.read_csv
    pandas.read_csv = lambda _: read(job["simpleqa"])
    module, sent, judged, grades = (
        importlib.import_module("simple_evals.simpleqa_eval"),
        list[Any](),
        list[Any](),
        list[Any](),
    )
    common.aggregate_results = lambda results: grades.extend(r.metrics for r in results)
    evaluation = module.SimpleQAEval(replaying(job["grades"], judged))
    evaluation(replaying(job["answers"], sent))
    reader = module.SimpleQAEval(replaying(job["replies"], []))
    return {
        "sent": sent, "judged": judged, "grades": grades,
        "read": [reader.grade_sample("q", "t", "p") for _ in job["replies"]],
    }  # fmt: skip


if __name__ == "__main__":
    given = json.loads(Path(sys.argv[1]).read_text())
    library = package(Path(given["authorities"]))
    Path(given["out"]).write_text(
        json.dumps({name: globals()[name](library, given[name]) for name in ("drop", "simpleqa")})
    )
