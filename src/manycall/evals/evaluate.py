"""Ask a task's questions and score the answers; or score them again, from the file, with no call."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Unpack

import msgspec

from manycall.data.sources import Source
from manycall.engine.map import Job, Options, hide_key, run_job
from manycall.engine.row import RowCalls
from manycall.errors import UsageError
from manycall.evals.metrics import Mean
from manycall.evals.report import Evaluation, Score
from manycall.evals.tasks import SCORINGS, TASKS, Load, Scoring, Task
from manycall.records import Row
from manycall.sim import launch
from manycall.store.lines import UNREADABLE, corrupt, read_lines


def evaluate(
    task: str | Task,
    *,
    data: str | Path | None = None,
    shots: str | Path | None = None,
    samples: int | None = None,
    **options: Unpack[Options],
) -> Evaluation:
    """Ask a model the questions of a benchmark, and score what it answers.

    Args:
        task: "gsm8k", "gsm8k_cot_zeroshot", "wordmath", or a `Task`.
        data: a local file of questions, instead of the one that is downloaded; shots: likewise for the examples.
        samples: ask each question so many times.
        options: see `manycall.Options`.

    Returns:
        The scores of every row in the output, those of earlier runs included.

    Raises:
        UsageError: before any call.
        RunStopped: no call can succeed, or somebody interrupted; the same call goes on from there.
    """
    hide_key(options)
    if options.get("dry_run"):
        raise UsageError("a dry run has no score: dry_run is for generate, steps and map")
    asked = _named(task)(data, shots) if isinstance(task, str) else task
    running = {name: Mean() for name in asked.scoring.filters}

    async def one(row: Row, llm: RowCalls) -> dict[str, Any]:
        reply = await llm.chat(asked.prompt(row))
        found = asked.scoring.score(reply.text, str(row.fields[asked.scoring.target]))
        for name, (_, value) in found.items():
            running[name].add(value)
        return {
            "response": reply.text,
            "extracted": {name: answer for name, (answer, _) in found.items()},
            "score": {name: value for name, (_, value) in found.items()},
            "finish_reason": reply.finish_reason,
        }

    def note() -> str:
        name, mean = list(running.items())[-1]
        return f"{name} {mean}" if mean.count else ""

    source = Source(asked.rows, samples=samples, id_field=options.get("id_field"), limit=options.get("limit"))
    identity = {"job": f"eval {asked.name}", "samples": samples is not None, **asked.identity}
    writes = ("response", "extracted", "score", "finish_reason")
    job = Job(asked.name, identity, one, asked.params, note, writes, ending="finish_reason")
    report = run_job(job, source, _with_key(options, asked.key))
    result = score(report.out, as_=asked.name, scoring=asked.scoring)
    result.run = report
    return result


def score(out: str | Path, *, as_: str | None = None, scoring: Scoring | None = None) -> Evaluation:
    """Score the responses in an output again, with no call.

    Args:
        out: what `evaluate` wrote: rows with `response` and `answer`.
        as_: "task" or "task/filter"; default: the task that wrote it.
        scoring: instead of that task's own.

    Raises:
        UsageError: no such file, task or filter, or a row without a response.
    """
    out = Path(out)
    if not out.is_file():
        raise UsageError(f"{out}: there is no such file")
    name, _, only = (as_ or _task_of(out)).partition("/")
    if scoring is None:
        _named(name)
        scoring = SCORINGS[name]
    if only and only not in scoring.filters:
        raise UsageError(f"{name} has no filter {only!r}; it has {_listed(scoring.filters)}")
    means = {each: Mean() for each in scoring.filters if each == only or not only}
    rows = truncated = 0
    for offset, line in read_lines(out):
        response, target, cut = _answered(out, offset, line, scoring.target)
        rows += 1
        truncated += cut
        for each, (_, value) in scoring.score(response, target).items():
            if each in means:
                means[each].add(value)
    scores = [Score(name, each, mean.value, mean.stderr, mean.count) for each, mean in means.items()]
    unfinished = _unfinished(out)
    return Evaluation(
        task=name, out=out, scores=scores, rows=rows, truncated=truncated,
        failed=sum(unfinished.values()), unfinished=unfinished,
    )  # fmt: skip


def _named(name: str) -> Load:
    if name not in TASKS:
        raise UsageError(f"there is no task {name!r}; there are {_listed(TASKS)}")
    return TASKS[name]


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)


def _with_key(options: Options, key: str) -> Options:
    """The simulated endpoint is told the answers, so that it can give them, or wrong ones, on purpose."""
    if not key:
        return options
    given = options.get("url")
    urls: Sequence[str] = [given] if isinstance(given, str) else given or []
    told = [launch.with_option(url, "key", key) if launch.is_sim(url) else url for url in urls]
    return {**options, "url": told} if told else options


def _task_of(out: Path) -> str:
    """The task that wrote this output, from the manifest beside it."""
    try:
        manifest = msgspec.json.decode((out.with_name(out.name + ".run") / "manifest.json").read_bytes())
        job, _, name = manifest["identity"]["job"].partition(" ")
    except (OSError, msgspec.MsgspecError, LookupError, TypeError, AttributeError):
        job = name = ""
    if job != "eval":
        raise UsageError(f"{out} does not say which task wrote it: name one with --as ({_listed(TASKS)})")
    return str(name)


def _answered(out: Path, offset: int, line: bytes, target: str) -> tuple[str, str, bool]:
    """(response, target, whether it was cut) of one row."""
    try:
        row = msgspec.json.decode(line, type=dict[str, Any])
    except UNREADABLE as error:
        raise corrupt(out, offset, error) from None
    if not isinstance(row.get("response"), str) or target not in row:
        raise UsageError(f"{out}, the row at byte {offset:,}: to be scored it needs the fields response and {target}")
    return row["response"], str(row[target]), row.get("finish_reason") == "length"


class _Failed(msgspec.Struct):
    verdict: str


def _unfinished(out: Path) -> dict[str, int]:
    """Why rows have no answer, and how many."""
    path = out.with_name(out.name + ".run") / "failures.jsonl"
    counts: Counter[str] = Counter()
    for offset, line in read_lines(path):
        try:
            counts[msgspec.json.decode(line, type=_Failed).verdict] += 1
        except UNREADABLE as error:
            raise corrupt(path, offset, error) from None
    return dict(sorted(counts.items()))
