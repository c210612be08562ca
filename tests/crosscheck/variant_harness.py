"""Runs the code of the authorities of mathematics: python variant_harness.py JOB.json

It needs a Python with math-verify, pydantic, pandas, numpy, jinja2, requests and tqdm, for example that of lm-eval.
`authorities` is a folder with checkouts of openai/gpt-oss and openai/simple-evals, and the unpacked wheel of evalscope
(fetch_authorities.py). A job names an authority, a file with [row, response] pairs in the published form, and where to
write. Out comes {"sent": messages of each pair, "graded": [what was read, score] of each pair, "figures": ...}, as far
as the authority has them.
"""

import importlib
import io
import json
import os
import signal
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SECONDS = 30
"""Limit of one comparison by evalscope, which has the same."""
Pairs = list[tuple[dict[str, Any], str]]
Said = dict[str, Any]


def package(name: str, folder: Path) -> None:
    """Make the modules of a folder importable as those of a package, without the imports of its __init__."""
    module = types.ModuleType(name)
    module.__path__ = [str(folder)]
    sys.modules[name] = module


def replaying(base: Any, pairs: Pairs, sent: list[Any]) -> Any:
    """Return a sampler that replies in turn and keeps what it is asked."""
    waiting = iter(pairs)

    class Sampler(base.SamplerBase):  # type: ignore[misc]
        def _pack_message(self, role: str, content: str) -> dict[str, str]:
            return {"role": role, "content": content}

        def __call__(self, messages: list[dict[str, str]]) -> Any:
            sent.append(messages)
            return base.SamplerResponse(next(waiting)[1], messages, {})

    return Sampler()


def gpt_oss(folder: Path, pairs: Pairs) -> Said:
    """Evaluate as `AIME25Eval` does. The pairs are in the order of its calls, one for each row."""
    os.environ["debug"] = "1"  # noqa: SIM112 (its name there) one call after another
    package("gpt_oss_evals", folder / "gpt-oss" / "gpt_oss" / "evals")
    module: Any = importlib.import_module("gpt_oss_evals.aime_eval")
    rows = [{"question": row["problem"], "answer": row["answer"]} for row, _ in pairs]
    frame, files = module.pandas.DataFrame, iter((rows[:15], rows[15:]))
    module.pandas.read_json = lambda path, lines: frame(next(files))
    sent: list[Any] = []
    evaluation = module.AIME25Eval(n_repeats=1)
    scores: list[float] = []
    aggregate = module.report.aggregate_results

    def noted(results: list[Any]) -> Any:
        scores.extend(each.score for each in results)
        return aggregate(results)

    module.report.aggregate_results = noted
    result = evaluation(replaying(importlib.import_module("gpt_oss_evals.types"), pairs, sent))
    read = [module.extract_boxed_text(text) for _, text in pairs]
    return {"sent": sent, "graded": list(zip(read, scores, strict=True)), "figures": {"mean": float(result.score)}}


def simple_evals(folder: Path, pairs: Pairs) -> Said:
    """Evaluate as `MGSMEval` does. The pairs are ordered by language."""
    os.environ["debug"] = "1"  # noqa: SIM112
    package("simple_evals", folder / "simple-evals")
    module: Any = importlib.import_module("simple_evals.mgsm_eval")
    lines: dict[str, list[str]] = {}
    for row, _ in pairs:
        lines.setdefault(row["language"], []).append(f"{row['question']}\t{row['answer_number']}\n")
    languages = {path: language for language, path in module.LANG_TO_FPATH.items()}
    module.common.url_to_fileobj = lambda path, binary: io.BytesIO("".join(lines[languages[path]]).encode())
    sent: list[Any] = []
    scores: list[float] = []
    aggregate = module.common.aggregate_results

    def noted(results: list[Any], **options: Any) -> Any:
        scores.extend(float(each.score) for each in results)
        return aggregate(results, **options)

    module.common.aggregate_results = noted
    evaluation = module.MGSMEval(num_examples_per_lang=len(pairs), languages=list(lines))
    result = evaluation(replaying(importlib.import_module("simple_evals.types"), pairs, sent))
    read = [module.parse_answer(text, module.LANG_TO_ANSWER_PREFIX[row["language"]]) for row, text in pairs]
    return {
        "sent": sent, "graded": list(zip(read, scores, strict=True)),
        "figures": {"mean": float(result.score), **{key: float(value) for key, value in result.metrics.items()}},
    }  # fmt: skip


def math_verify(folder: Path, pairs: Pairs) -> Said:
    """Compare with the library as its README does: in the main thread, with its default limits."""
    from math_verify import parse, verify

    graded = []
    for row, text in pairs:
        found = parse(text)
        graded.append([str(found[-1]) if found else None, float(verify(parse(f"${row['answer']}$"), found))])
    return {"graded": graded}


def evalscope(folder: Path, pairs: Pairs) -> Said:
    """Read and compare as evalscope's `math_500` and `cmath` do, in this process. None: it excludes the row."""
    api = types.ModuleType("evalscope.api.metric")
    api.MetricUnavailableError = type("MetricUnavailableError", (Exception,), {})  # type: ignore[attr-defined]
    root = folder / "evalscope" / "evalscope"
    for name, place in (("evalscope", root), ("evalscope.api", root / "api"), ("evalscope.metrics", root / "metrics")):
        package(name, place)
    sys.modules["evalscope.api.metric"] = api
    module: Any = importlib.import_module("evalscope.metrics.math.parser")
    module.isolation_available = lambda: False

    def graded(row: dict[str, Any], text: str) -> list[Any]:
        read = module.extract_answer(text)
        return [read, float(module.compare_answers(read, str(row.get("answer", row.get("golden"))).strip()).matched)]

    return {"graded": [_limited(graded, row, text) for row, text in pairs], "templates": templates(root)}


def _limited(function: Callable[..., list[Any]], *values: Any) -> list[Any]:
    try:
        with _deadline():
            return function(*values)
    except Exception as error:  # evalscope leaves the row out
        return [f"{type(error).__name__}: {error}"[:200], None]


@contextmanager
def _deadline() -> Iterator[None]:
    signal.signal(signal.SIGALRM, _too_slow)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)


def _too_slow(number: int, frame: Any) -> None:
    raise TimeoutError("too slow")


def evalscope_letters(folder: Path, pairs: Pairs) -> Said:
    """Read a letter as evalscope does in English and Chinese. Its last resort is the last capital letter."""
    api: Any = types.ModuleType("evalscope.api.evaluator")
    api.Choices, api.Target, api.TaskState = list, str, object  # only for its annotations
    root = folder / "evalscope" / "evalscope"
    for name, place in (("evalscope", root), ("evalscope.api", root / "api"), ("evalscope.utils", root / "utils")):
        package(name, place)
    sys.modules["evalscope.api.evaluator"] = api
    module: Any = importlib.import_module("evalscope.utils.multi_choices")
    template = module.MultipleChoiceTemplate
    ways = {
        "en": (template.SINGLE_ANSWER_COT, module.parse_answers),
        "zh": (template.CHINESE_SINGLE_ANSWER_TEMPLATE_COT, module.parse_answers_zh),
    }
    last_resort, used = module._fallback_parse_answer, list[Any]()

    def counted(*values: Any) -> Any:
        used.append(values)
        return last_resort(*values)

    module._fallback_parse_answer = counted
    sent, graded = list[Any](), list[Any]()
    for row, text in pairs:
        form, parse = ways["zh" if "A" in row else "en"]
        choices = row["choices"] if "choices" in row else [row[letter] for letter in "ABCD"]
        shown = "\n".join(f"{letter}) {choice}" for letter, choice in zip("ABCD", choices, strict=True))
        question = row.get("question", row.get("Question"))
        content = form.format(letters="A,B,C,D", choices=shown, question=question)
        sent.append([{"role": "user", "content": content}])
        used.clear()
        read = "".join(parse(types.SimpleNamespace(choices=choices), completion=text))
        answer = row.get("answer", row.get("Answer"))
        right = "ABCD"[answer] if isinstance(answer, int) else answer
        graded.append([[read, bool(used)], float(read == right)])
    return {"sent": sent, "graded": graded}


def templates(root: Path) -> dict[str, str]:
    """Return evalscope's prompt templates of its benchmarks, by folder."""
    import ast

    found = {}
    for name in ("math_500", "cmath"):
        tree = ast.parse((root / "benchmarks" / name / f"{name}_adapter.py").read_text(encoding="utf-8"))
        values = {
            target.id: node.value
            for node in tree.body
            if isinstance(node, ast.Assign) and isinstance(target := node.targets[0], ast.Name)
        }
        (given,) = (
            keyword.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Call)
            for keyword in node.keywords
            if keyword.arg == "prompt_template"
        )
        source = values[given.id] if isinstance(given, ast.Name) else given
        found[name] = eval(compile(ast.Expression(source), name, "eval"))  # the authority's own text
    return found


def main(job_file: str) -> None:
    """Do a job."""
    job = json.loads(Path(job_file).read_text(encoding="utf-8"))
    with Path(job["pairs"]).open(encoding="utf-8") as lines:
        pairs = [tuple(json.loads(line)) for line in lines]
    said = {name: globals()[name](Path(job["authorities"]), pairs) for name in job["names"]}
    Path(job["out"]).write_text(json.dumps(said), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
