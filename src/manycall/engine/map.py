"""A whole run: rows through a function into a file, and a report of it. Every job is this with its own function.

source -> Run (lock, manifest, what is done) -> Client -> Scheduler -> close -> Report
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any, Required, TypedDict, Unpack

import msgspec

from manycall import clock
from manycall._version import __version__
from manycall.data.sources import Rows, Source
from manycall.engine.allowance import Allowance, allowance
from manycall.engine.blocking import blocking
from manycall.engine.calls import Calls
from manycall.engine.client import DEFAULT_TIMEOUT, Client
from manycall.engine.interrupts import Interrupts
from manycall.engine.plan import plan
from manycall.engine.progress import Progress
from manycall.engine.report import Report
from manycall.engine.row import RowCalls
from manycall.engine.scheduler import RowFunction, Scheduler
from manycall.engine.watch import load, obeying, ticking
from manycall.errors import ManycallError, RunStopped, StoreError, UsageError
from manycall.records import Row, Secret
from manycall.store.inplace import Shape
from manycall.store.manifest import NOT_ENDED, Manifest
from manycall.store.run import Run


class Common(TypedDict, total=False):
    """What every job takes, as keywords.

    out: the output file; beside it `<out>.run/` is made.
    url: the endpoint, or several; "sim" is the built-in one; default: OPENAI_BASE_URL, endpoints.toml, OpenAI.
    api_key: default: OPENAI_API_KEY; "": none.
    plain_http: let the key go unencrypted to another machine (False).
    concurrency: calls in flight (default: it finds out how many are best).
    timeout: seconds for one attempt (600).
    temperature, max_tokens, params: parameters of every call; `params` holds any others.
    limit: take only so many rows.
    max_tokens_total: tokens, of prompts and answers, that the output may cost, all sessions together.
    max_cost: dollars that it may cost; needs `price`.
    price: dollars per million tokens of prompts and of answers: (0.15, 0.60) or "0.15/0.60".
    deadline: no new call so long after the start: seconds, or "90s", "30m", "2h".
    id_field: the field that names a row (default: `id` or `custom_id`, else a hash of the row).
    dry_run: make no call; return a `Plan`, the report of what the run would do.
    fresh: move an earlier output aside and start over.
    progress: show the status line on stderr (True).
    """

    out: Required[str | Path]
    url: str | Sequence[str] | None
    api_key: str | Secret | None
    plain_http: bool
    concurrency: int | None
    timeout: float
    temperature: float
    max_tokens: int
    params: dict[str, Any]
    limit: int | None
    max_tokens_total: int | None
    max_cost: float | None
    price: str | tuple[float, float] | None
    deadline: str | float | None
    id_field: str | None
    dry_run: bool
    fresh: bool
    progress: bool


class Options(Common):
    """What every job takes, as keywords: those of `Common`, and

    model: the model's name, as the endpoint knows it.
    """

    model: str


class Job(msgspec.Struct, frozen=True):
    """What is to be done.

    Attributes:
        name: for the status line and the report.
        identity: whatever changes an answer, besides the model and the parameters.
        function: what is done with a row.
        params: the job's own parameters, which the user's override.
        note: something for the status line.
        writes: the fields it adds to a row; a row that brings one of them along is refused.
        may_cancel: the function may cancel its calls (wait_for, a TaskGroup that fails): once sent, they are kept.
        ending: which of them says why the answer ended, the last that it writes; "" if none does.
        shape: the lines of its output, if what the function returns is not written beside the row's own fields.
        may_be_many: a row may become many (it returns a list).
        tally: what it counts by itself, for the report: "re-asked", ...
    """

    name: str
    identity: dict[str, Any]
    function: RowFunction
    params: dict[str, Any] = {}
    note: Callable[[], str] = str
    writes: tuple[str, ...] = ()
    may_cancel: bool = False
    ending: str = ""
    shape: Shape | None = None
    may_be_many: bool = False
    tally: dict[str, int] = {}

    @property
    def cut(self) -> bytes | None:
        """How the line of a row ends that was cut at max_tokens."""
        return msgspec.json.encode(self.ending) + b':"length"}\n' if self.ending else None


def map(
    function: Callable[[dict[str, Any], Calls], Awaitable[dict[str, Any]]],
    rows: Rows,
    *,
    samples: int | None = None,
    **options: Unpack[Options],
) -> Report:
    """Run your own async function over rows.

    >>> async def grade(row, llm):
    ...     draft = await llm.chat(row["question"])
    ...     verdict = await llm.chat(f"Is this right? {draft.text}", max_tokens=4)
    ...     return {"draft": draft.text, "verdict": verdict.text}
    >>> report = manycall.map(
    ...     grade, [{"question": "6 times 7?"}], url="sim", model="any", out="graded.jsonl", progress=False
    ... )
    >>> report.done, report.calls
    (1, 2)

    The function gets the row's fields (with its `id`) and an `llm` with `chat`, `complete`, `embed`; it may call
    as often as it likes. What it returns is written beside the row's own fields. If it raises, that row has
    failed, and the others go on; its finished calls are kept, so once the function is mended the row is
    finished without paying again. If it raises `Rejected("why")`, the row is not wanted: it goes to rejected.jsonl.

    Args:
        rows: a path (.jsonl, .json, .csv, .tsv, .parquet) or an iterable or async iterable of mappings.
        samples: do each row so many times, as `id#0`, `id#1`, ...
        options: see `Options`.

    Raises:
        UsageError: before any call.
        RunStopped: no call can succeed, or somebody interrupted; the same call goes on from there.
    """
    hide_key(options)
    name = getattr(function, "__name__", "function")
    if not asyncio.iscoroutinefunction(function):
        raise UsageError(f"{name!r} must be an async function: async def {name}(row, llm)")

    async def one(row: Row, llm: RowCalls) -> dict[str, Any]:
        return await function({**deepcopy(row.fields), "id": row.id}, llm)  # theirs to change; we write ours

    source = Source(rows, samples=samples, id_field=options.get("id_field"), limit=options.get("limit"))
    identity = {"job": f"run {name}", "samples": samples is not None}
    return run_job(Job(name, identity, one, may_cancel=True), source, options)


def hide_key(options: Options) -> None:
    """Make the key a Secret, in place and before all else: a traceback may be printed with what variables hold."""
    if (key := options.pop("api_key", None)) is not None:
        options["api_key"] = Secret(key)


def run_job(job: Job, source: Source, options: Options) -> Report:
    """Do the job; block until it is done.

    Works inside a running loop too (a notebook), by way of a thread.
    """
    interrupts = Interrupts()
    return blocking(_run_job(job, source, options, interrupts), interrupts)


async def _run_job(job: Job, source: Source, options: Options, interrupts: Interrupts) -> Report:
    out = _output(job, source, options)
    params = {**job.params, **_params(options)}
    allowed = allowance(
        options.get("max_tokens_total"), options.get("max_cost"), options.get("price"), options.get("deadline")
    )
    if options.get("dry_run"):
        in_flight = options.get("concurrency")
        return await plan(job.name, job.function, source, out, options["model"], params, allowed.price, in_flight)
    client = Client(
        options["model"],
        url=options.get("url"),
        api_key=options.get("api_key"),
        plain_http=options.get("plain_http", False),
        concurrency=options.get("concurrency"),
        timeout=options.get("timeout", DEFAULT_TIMEOUT),
        params=params,
    )
    client.sees_calls_through = job.may_cancel
    identity = {**job.identity, "model": options["model"], "params": params}
    manifest = Manifest(__version__, identity, source.about)
    fresh, many = options.get("fresh", False), job.may_be_many
    run = Run(out, manifest, fresh=fresh, expected=source.total, cut=job.cut, shape=job.shape, parted=many)
    before = len(run.known) - run.rejected
    client.counters.had_success = len(run.known) > 0 or bool(run.failures.before)
    with _session(run, client, allowed) as session:
        spending = allowed.spending(run.journal)
        client.permits.budget = spending.budget
        async with client:
            began = clock.now()
            await _drive(job, source, client, run, allowed, interrupts, show=options.get("progress", True))
            session["seconds"] = clock.now() - began
            run.ended = True
    c = client.counters
    return Report(
        name=job.name, out=run.out, rows=source.total, done=before + c.done, failed=c.failed,
        rejected=run.rejected, written=run.written if job.may_be_many else None, tally=job.tally,
        unfinished=c.unfinished, truncated=run.truncated + c.truncated,
        calls=c.answered, replayed=c.replayed, retries=c.retries, throttled=c.throttled, maybe_billed=c.maybe_billed,
        unanswered=c.unanswered, seconds=session["seconds"],
        client_bound=client.pool.effort.bound_seconds, client=client.pool.effort.worst,
        reasons=run.failures.reasons.most_common(3), sim=client.pool.sims[0].stats if client.pool.sims else None,
        **spending.figures(c),
    )  # fmt: skip


@contextmanager
def _session(run: Run, client: Client, allowed: Allowance) -> Iterator[dict[str, Any]]:
    """However it ends, the manifest says how, and the files are closed."""
    session: dict[str, Any] = {"started": clock.wall(), "ending": NOT_ENDED, "seconds": 0.0, "version": __version__}
    session.update(endpoints=client.pool.names, price=allowed.price)
    before = len(run.known) - run.rejected
    try:
        run.begin(session)
        yield session
    except BaseException as error:
        session["ending"] = str(error) or repr(error)
        if isinstance(error, RunStopped):
            error.done = before + client.counters.done
        try:
            _close(run, client, session)
        except StoreError as second:  # the first is the one to tell, and then this
            if not isinstance(error, ManycallError):
                raise
            if str(second) != str(error):
                error.args = (f"{error}. {second}",)
        raise
    session["ending"] = "finished"
    _close(run, client, session)


def _close(run: Run, client: Client, session: dict[str, Any]) -> None:
    session.update(ended=clock.wall(), **msgspec.structs.asdict(client.counters))
    run.close()


def _output(job: Job, source: Source, options: Options) -> Path:
    """The output's path, when everything that was asked for can be.

    Raises:
        UsageError: an option that is missing or unknown, an output that is the input, a field that is taken.
    """
    if unknown := options.keys() - Options.__annotations__:
        raise UsageError(f"there is no option {min(unknown)!r}; there are {', '.join(Options.__annotations__)}")
    if missing := {"model", "out"} - options.keys():
        raise UsageError(f"the option {min(missing)!r} is missing (-m names the model, -o the output)")
    out = Path(options["out"])
    if not out.name or str(out) == "-" or (out.exists() and not out.is_file()):
        raise UsageError(f"-o {str(out)!r} is not the name of a file")
    if source.path is not None and source.path.resolve() == out.resolve():
        raise UsageError(f"{out} cannot be the rows and the output at once")
    if clash := set(job.writes) & (source.first or {}).keys():
        raise UsageError(
            f"{source.name}: the field {min(clash)!r} is where the answer would go: rename it, or name another for the "
            "answer (--field; in a step, `into`)"
        )
    return out


def _params(options: Options) -> dict[str, Any]:
    params = dict(options.get("params") or {})
    for name in ("temperature", "max_tokens"):
        if options.get(name) is not None:
            params[name] = options[name]
    if params.get("n", 1) != 1:
        raise UsageError("n, several answers to one call, would lose all but the first: ask for samples (-n) instead")
    return params


async def _drive(
    job: Job, source: Source, client: Client, run: Run, allowed: Allowance, interrupts: Interrupts, *, show: bool
) -> None:
    """The rows through the scheduler, with somebody watching the clock and the signals."""
    left = None if source.total is None else source.total - len(run.known)
    scheduler = Scheduler(client, run, job.function, job.writes, total=left, may_be_many=job.may_be_many)
    progress = Progress(
        job.name,
        client.counters,
        total=source.total,
        before=len(run.known),
        rejected=run.rejected,
        truncated=run.truncated,
        load=lambda now: load(client, now),
        note=job.note,
        stream=sys.stderr if show else None,
    )
    with obeying(interrupts, scheduler), allowed.deadline(scheduler):
        async with ticking(scheduler, progress, run, client):
            await scheduler.run(source.rows(run.known))
    source.must_be_unchanged()
