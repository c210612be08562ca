"""Work that takes long, or that renders templates of a file: it runs in a separate process (background_work.py).

The process reads one line of JSON, `{"work": name, ...}`, and prints one: `{"result": ...}` or `{"error": ..., "hint":
...}`. No code of a manifest is run: tasks are those that manycall has, and templates are rendered in the sandbox.
"""

import resource
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from manycall.comparison.compare_runs import compare
from manycall.data.content_parts import messages_as_text
from manycall.data.prompt_error import PromptError
from manycall.data.prompt_template import PromptTemplate
from manycall.dataset.answer_reader import AnswerReader
from manycall.dataset.check_data import check_data
from manycall.dataset.normalize import normalize
from manycall.errors import ManycallError, UsageError
from manycall.evals.lm_eval.samples import open_output
from manycall.evals.rescore import score
from manycall.judging.judge_result import read_judge_result
from manycall.option_flags import spelled_as_flags
from manycall.providers import openai
from manycall.records import Messages, Request, Row
from manycall.store.journal_line import request_hash
from manycall.store.output_reader import OutputReader

TEMPLATE_SECONDS, TEMPLATE_BYTES = 2, 512 << 20
MAX_GROUPS, MAX_GROUP_ROWS, MAX_TEXT = 100, 50, 300
WRITTEN_FIELDS = ("response", "response_reasoning", "extracted", "score", "finish_reason")
FILE_ENDINGS = (".j2", ".jinja", ".txt", ".md", ".toml", ".json")
EXACT = "The hash equals that of a journaled call: this is exactly what was sent."
UNKNOWN = "Rendered again. No journaled call has the hash of this request, so what was sent may differ."


def _scores(given: Mapping[str, Any]) -> Any:
    return score(given["path"]).to_dict()


def _compare(given: Mapping[str, Any]) -> Any:
    metric, allowed, force = given["metric"] or None, given["allow"], given["force"]
    return compare(*given["paths"], metric=metric, allow_different=allowed, force=force).to_dict()


def _judge(given: Mapping[str, Any]) -> Any:
    settings = OutputReader(given["path"]).settings
    if not str(settings.get("job", "")).startswith("judge"):
        raise UsageError("This run has no judge.")
    result = read_judge_result(Path(given["path"]), str(settings.get("output_field", "judge")))
    rubric = settings.get("rubric", settings.get("prompt", ""))
    return result.to_dict() | {"rubric": messages_as_text(rubric) if isinstance(rubric, str | list) else ""}


def _data(given: Mapping[str, Any]) -> Any:
    """Return the counts of `check-data`, and the groups of rows with equal texts."""
    output = open_output(given["path"])
    field = "response" if str(output.settings.get("job", "")).startswith("eval") else None
    answers = AnswerReader(output, field)
    groups: dict[int, list[int]] = defaultdict(list)
    texts: dict[int, str] = {}
    for n, (_, row) in enumerate(output.rows()):
        text = answers.text(row)
        groups[hash(normalize(text))].append(n)
        if len(groups[hash(normalize(text))]) == 2:
            texts[hash(normalize(text))] = text[:MAX_TEXT]
    largest = sorted((key for key in groups if len(groups[key]) > 1), key=lambda key: -len(groups[key]))
    rejects = output.rejected_counts() if output.manifest is not None else {}
    return check_data(given["path"], text_field=field).to_dict() | {
        "groups": [
            {"n": groups[key][:MAX_GROUP_ROWS], "count": len(groups[key]), "text": texts[key]}
            for key in largest[:MAX_GROUPS]
        ],
        "rejects": [{"reason": reason, "count": count} for reason, count in rejects.items()],
        "near": f"manycall check-data {given['argument']} --near-duplicates 0.7 --flagged flagged.jsonl",
    }  # fmt: skip


def _prompt(given: Mapping[str, Any]) -> Any:
    """Return the messages of a row, and whether a journaled call has the hash of this request."""
    resource.setrlimit(resource.RLIMIT_CPU, (TEMPLATE_SECONDS, TEMPLATE_SECONDS + 1))
    limit = _address_space() + TEMPLATE_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    output = OutputReader(given["path"])
    settings = output.require_manifest().settings
    messages = _messages(output, settings, given["row"])
    params = dict(settings.get("params") or {})
    sample = int(given["id"].rpartition("#")[2]) if given["id"].rpartition("#")[2].isdecimal() else 0
    seeds = [params, {**params, "seed": params["seed"] + sample}] if isinstance(params.get("seed"), int) else [params]
    requests = [
        Request("chat", str(settings.get("model", "")), messages, each, spelling)
        for each in seeds
        for spelling in ("compact", "lm-eval")
    ]  # fmt: skip
    is_known = any(request_hash("chat", openai.encode(request)) in given["keys"] for request in requests)
    return {"known": is_known, "messages": messages, "note": EXACT if is_known else UNKNOWN}


def _address_space() -> int:
    """Return how much address space this process uses already; 1 GiB if that is not known."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except OSError:
        return 1 << 30


def _messages(output: OutputReader, settings: Mapping[str, Any], row: dict[str, Any]) -> Messages:
    job, source = str(settings.get("job", "")).partition(" ")[0], settings.get("prompt")
    if isinstance(source, str) and "\n" not in source and source.endswith(FILE_ENDINGS):
        raise UsageError("The manifest names a file as the prompt, which is not read.")
    if job == "generate":
        return AnswerReader(output).prompt_messages(row)
    few = settings.get("fewshot", [])
    if job != "eval" or not isinstance(source, str | list) or not isinstance(few, list):
        raise UsageError("The prompts of this run are made by a function, which is not in the manifest.")
    fields = {name: value for name, value in row.items() if name not in WRITTEN_FIELDS}
    record = Row(str(row.get("id", "")), fields)
    system = settings.get("system")
    first = [] if not isinstance(system, str) else PromptTemplate(system).messages(record)
    return [*({**turn, "role": "system"} for turn in first), *few, *PromptTemplate(source).messages(record)]


WORK: Mapping[str, Callable[[Mapping[str, Any]], Any]] = {
    "scores": _scores,
    "compare": _compare,
    "judge": _judge,
    "data": _data,
    "prompt": _prompt,
}


def main() -> None:
    """Do the work that standard input names."""
    given = msgspec.json.decode(sys.stdin.buffer.read(), type=dict[str, Any])
    try:
        with spelled_as_flags():
            reply: dict[str, Any] = {"result": WORK[given["work"]](given)}
    except (ManycallError, PromptError) as error:
        reply = {"error": str(error), "hint": ""}
    except (MemoryError, RecursionError):
        reply = {"error": "This needs too much memory.", "hint": ""}
    except Exception as error:  # a row or a manifest that other programs wrote
        reply = {"error": f"{type(error).__name__}: {error}", "hint": ""}
    sys.stdout.buffer.write(msgspec.json.encode(reply, enc_hook=str))
