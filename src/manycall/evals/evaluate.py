"""Ask a task's questions, and score the answers."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Unpack

from manycall.data.sources import Source
from manycall.data.templates import BadPrompt, Prompt
from manycall.engine.map import Job, Options, hide_key, run_job
from manycall.engine.plan import Plan
from manycall.engine.row import RowCalls
from manycall.errors import UsageError
from manycall.evals.metrics import Mean
from manycall.evals.own import ENDINGS, listed, own
from manycall.evals.report import Evaluation
from manycall.evals.score import score
from manycall.evals.scorer_process import grade_function
from manycall.evals.tasks import TASKS, Asker, Task
from manycall.records import Completion, Request, Row
from manycall.sim import launch

WRITES = ("response", "extracted", "score", "finish_reason")


def evaluate(
    task: str | Path | Task,
    *,
    data: str | Path | None = None,
    shots: str | Path | None = None,
    prompt: Prompt | None = None,
    match: str | None = None,
    samples: int | None = None,
    **options: Unpack[Options],
) -> Evaluation:
    """Ask a model the questions of a benchmark, and score what it answers.

    >>> result = manycall.evaluate("wordmath", limit=20, url="sim", model="any", out="math.jsonl", progress=False)
    >>> result.score("strict-match").count
    20
    >>> print(result)
    | task     | filter ...

    Args:
        task: the name of a benchmark ("gsm8k"; `manycall.TASKS` has all), a `Task`, or the path of a file
            whose rows have `question` and `answer`.
        data: a local file of questions, instead of the one that is downloaded; shots: likewise for the examples.
        prompt, match: for a file of one's own: what to ask (default: the question), and how to read and compare
            answers: "exact", "numeric", "choice", "boxed", "regex:PATTERN".
        samples: ask each question so many times.
        options: see `manycall.Options`.

    Returns:
        The scores of every row in the output, those of earlier runs included; of a dry run none, but `run`, the plan.

    Raises:
        UsageError: before any call.
        RunStopped: no call can succeed, or somebody interrupted; the same call goes on from there.
    """
    hide_key(options)
    asked = resolve(task, data=data, shots=shots, prompt=prompt, match=match)
    repeats_seed = samples is None  # where lm-eval asks several times, it does
    samples = asked.samples if samples is None else samples
    source = Source(asked.rows, samples=samples, id_field=options.get("id_field"), limit=options.get("limit"))
    asker = Asker(asked)
    source.try_first(lambda row: (_target(asked, row.fields), asker.messages(row)))
    running, grade = {name: Mean() for name in asked.filters}, grade_function(asked)

    async def one(row: Row, llm: RowCalls) -> dict[str, Any]:
        target = _target(asked, row.fields)
        params = llm.params if repeats_seed else _own_seed(llm.params, row.sample)
        reply = await llm.ask(Request("chat", llm.model, asker.messages(row), params, asked.spelling))
        assert isinstance(reply, Completion)
        # a user's own functions may take long; in a thread, calls go out and answers come in meanwhile
        grades = grade(reply.text, target) if asked.quick else await asyncio.to_thread(grade, reply.text, target)
        for name, (_, value) in grades.items():
            running[name].add(value)
        return {
            "response": reply.text,
            "extracted": {name: answer for name, (answer, _) in grades.items()},
            "score": {name: value for name, (_, value) in grades.items()},
            "finish_reason": reply.finish_reason,
        }

    def note() -> str:
        name, mean = list(running.items())[-1]
        return f"{name} {mean}" if mean.count else ""

    checksum = {"data": known} if (known := source.checksum()) else {}
    identity = {"job": f"eval {asked.name}", "samples": samples is not None, **checksum, **asker.identity}
    job = Job(asked.name, identity, one, asked.params, note, WRITES, ending="finish_reason")
    report = run_job(job, source, _with_key(options, asked.key))
    if isinstance(report, Plan):
        return Evaluation(task=asked.name, out=report.out, scores=[], rows=0, truncated=0, failed=0, run=report)
    result = score(report.out, as_=asked)
    result.run = report
    return result


def resolve(
    task: str | Path | Task,
    *,
    data: str | Path | None = None,
    shots: str | Path | None = None,
    prompt: Prompt | None = None,
    match: str | None = None,
) -> Task:
    """The task that is meant, with its rows.

    Raises:
        UsageError: there is none, or what is given with it does not go with it.
    """
    if not isinstance(task, str | Path | Task):
        raise UsageError(
            f"a task is a name, a path or a manycall.Task, not {type(task).__name__}: Task(rows=...) takes rows"
        )
    is_named = isinstance(task, str) and task in TASKS
    if not is_named and (data is not None or shots is not None):
        raise UsageError("--data and --shots go with the tasks that have a name; yours brings its own rows")
    if (is_named or isinstance(task, Task)) and (prompt is not None or match is not None):
        raise UsageError("--prompt and --match go with a file of your own; a task has them already")
    if isinstance(task, Task):
        return task
    if is_named:
        named = TASKS[str(task)]
        return named if named.load is None else named.load(named, data, shots)
    path = Path(task)
    if path.suffix.lower() not in ENDINGS and not path.is_file():
        raise UsageError(f"there is no task {str(task)!r}; there are {listed()}, or a file of your own (.jsonl, .csv)")
    return own(path, prompt, match)


def _own_seed(params: dict[str, Any], sample: int) -> dict[str, Any]:
    """A server that honours the seed would give equal answers to the samples of a question."""
    seed = params.get("seed")
    return {**params, "seed": seed + sample} if sample and isinstance(seed, int) else params


def _target(task: Task, fields: dict[str, Any]) -> Any:
    if task.target not in fields:
        raise BadPrompt(f"the row has no field {task.target!r}, which the score compares with: name it with target=")
    return fields[task.target]


def _with_key(options: Options, key: str) -> Options:
    """The simulated endpoint is told the answers, so that it can give them, or wrong ones, on purpose."""
    if not key:
        return options
    given = options.get("url")
    urls: Sequence[str] = [given] if isinstance(given, str) else given or []
    told = [launch.with_option(url, "key", key) if launch.is_sim(url) else url for url in urls]
    return {**options, "url": told} if told else options
