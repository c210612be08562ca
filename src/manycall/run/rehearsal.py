"""Count the new calls that a job needs, with the answers of a journal, without making any.

The row functions run as in a session. A call that is not in the journal ends its row: what the row would do with the
answer is not known. So each count of new calls is a lower bound, except zero.
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from manycall import clock
from manycall._version import __version__
from manycall.client.call_counters import CallCounters
from manycall.client.encoded_call import EncodedCall
from manycall.client.pool_names import PoolNames
from manycall.client.requests import ModelReply
from manycall.errors import ManycallError, RunStopped, SettingsMismatch
from manycall.ids import IdTable
from manycall.option_flags import option
from manycall.providers import openai
from manycall.providers.reasoning import is_thinking_model
from manycall.records import Usage
from manycall.run.call_forecast import KnownPrices, forecast_from_journal
from manycall.run.dry_run import ASSUMED_IN_FLIGHT, DryRunResult
from manycall.run.job import Job, job_params, job_settings
from manycall.run.options import RunOptions
from manycall.run.row_client import RowClient
from manycall.store.disk import REAL_DISK
from manycall.store.earlier_run import resume_or_refuse
from manycall.store.manifest import Manifest, as_stored, real_output
from manycall.store.staged_output import output_paths
from manycall.store.stored_calls import StoredCalls

REHEARSAL_SECONDS = 30.0
"""Time after which the count covers only the rows so far."""
ROW_SECONDS = 10.0
"""Time after which a row is given up. Its function may call again and again."""
DECISION_SETTINGS = frozenset(
    ("output_field", "min_score", "keep", "assign", "schema", "extract", "parse", "reasoning", "earlier_settings")
)
"""Settings that decide what is done with answers. A change of the others changes the requests. The journaled answers to
an earlier schema are read with the new one."""


class Rehearsal(NamedTuple):
    """The number of calls that a job needs.

    Attributes:
        rows: number of rows that were examined.
        incomplete_rows: how many of them need a new call.
        new_calls: lower bound of the new calls of these rows.
        replayed: calls that the journal answers.
        is_whole: all rows were examined.
    """

    rows: int
    incomplete_rows: int
    new_calls: int
    replayed: int
    is_whole: bool

    def __str__(self) -> str:
        rows = f"{self.rows:,} rows" if self.is_whole else f"the first {self.rows:,} rows"
        if not self.new_calls:
            return f"New calls: none. The journal has every answer that {rows} need."
        return (
            f"New calls: at least {self.new_calls:,}. Of {rows}, {self.incomplete_rows:,} need an answer that is not "
            "in the journal."
        )


class RehearsalClient:
    """Makes no calls, and counts those that would be made."""

    def __init__(self, model: str, params: dict[str, Any], pools: PoolNames) -> None:
        self.model, self.params, self.pools = model, params, pools
        self.counters, self.had_success, self.new_calls = CallCounters(), False, 0

    async def call(self, call: EncodedCall, priority: int, origin: Any = None) -> ModelReply:
        """Count a call that the journal does not answer.

        Raises:
            RunStopped: always.
        """
        self.new_calls += 1
        raise RunStopped("the answer to this call is not in the journal")

    def stop(self, why: ManycallError) -> None:
        """Do nothing: there are no calls to stop."""

    def decode(self, call: EncodedCall, body: bytes, replayed: bool = False) -> ModelReply:
        """Return the answer in a response, as `JobClient.decode` does."""
        return openai.decode(call.api, body, replayed, is_thinker=is_thinking_model(call.model))


async def rehearse(job: Job[Any], options: RunOptions, stored: StoredCalls, pools: PoolNames) -> Rehearsal:
    """Count the new calls of a job whose rows are all decided again.

    Args:
        pools: the pools that the job's calls may name.

    Raises:
        UsageError: a row is not valid.
    """
    client = RehearsalClient(options.model, job_params(job, options), pools)
    rows = incomplete = 0
    until, is_whole = clock.now() + REHEARSAL_SECONDS, True
    async for row in job.source.pending_rows(IdTable()):
        llm = RowClient(client, row.id, rows, stored)
        with suppress(Exception, SystemExit, GeneratorExit):  # the outcome of the row does not matter
            async with asyncio.timeout(ROW_SECONDS):
                await job.process_row(row, llm)
        llm.end()
        rows, incomplete = rows + 1, incomplete + llm.has_sent
        if clock.now() > until:
            is_whole = False
            break
    return Rehearsal(rows, incomplete, client.new_calls, client.counters.replayed, is_whole)


async def dry_run_from_journal(job: Job[Any], options: RunOptions, earlier: Path, known: KnownPrices) -> DryRunResult:
    """Count the new calls of a job that takes its answers from a journal, and estimate their cost."""
    out = Path(options.out)
    journal = out if output_paths(out).manifest.exists() else earlier  # a new output has a copy of the calls
    with StoredCalls(journal) as stored:
        counted = await rehearse(job, options, stored, known.pools)
    expected = forecast_from_journal(journal, known.book)
    calls = counted.new_calls
    used = Usage() if expected is None else expected.tokens(calls)
    concurrency = options.concurrency or ASSUMED_IN_FLIGHT
    return DryRunResult(
        job=f"{job.name} (dry run)", out=out, total_rows=job.source.total, done=0, failed=0, calls=calls,
        replayed=counted.replayed, prompt_tokens=used.prompt_tokens, completion_tokens=used.completion_tokens,
        cost=None if expected is None else expected.total_cost(calls), currency=known.book.currency,
        seconds=0.0 if expected is None else expected.seconds * -(-calls // concurrency),
        estimate_basis=f"the journal of {journal}. {counted}",
        is_lower_bound=calls > 0 or not counted.is_whole,
    )  # fmt: skip


async def refuse_other_settings(job: Job[Any], options: RunOptions, pools: PoolNames) -> None:
    """Refuse an output that was created with other settings, as the run itself would.

    Raises:
        SettingsMismatch: it was. The message says how many new calls the settings need.
    """
    out, manifest = real_output(Path(options.out)), Manifest(__version__, job_settings(job, options, pools))
    try:
        resume_or_refuse(out, manifest, REAL_DISK, options.retry == "truncated")
    except SettingsMismatch as refusal:
        explained = await explain_refusal(refusal, job, options, pools)
    else:
        return
    raise explained


async def explain_refusal(
    refusal: SettingsMismatch, job: Job[Any], options: RunOptions, pools: PoolNames
) -> SettingsMismatch:
    """Return the refusal with the number of new calls that the changed settings need, and what to do.

    If no journaled answer can be used, `from_` would only replace the old rows, and is not proposed. A job whose rows
    share calls has no such option.
    """
    out = Path(options.out)
    old = Manifest.load(output_paths(out).manifest)
    if old is None or job.block_size is not None:
        return refusal
    with StoredCalls(out) as stored:
        if not stored.has_replays:
            return refusal
        counted = await rehearse(job, options, stored, pools)
    explanation = [*_describe_changes(old.settings, as_stored(job_settings(job, options, pools))), str(counted)]
    if counted.new_calls and not counted.replayed:
        return refusal.replace("\n".join([str(refusal), *explanation, "No journaled answer fits the new settings."]))
    explanation.append(
        f"{option('from_', str(out))} decides all rows again: it takes the journaled answers and makes the missing "
        f"calls. The new rows replace the old ones when all are done. With another {option('out')}, both are kept."
    )
    return refusal.replace("\n".join([str(refusal), *explanation]), from_=str(out))


def _describe_changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Return a sentence about the changed settings that change requests, and one about the others."""
    changed = [name for name in sorted(old.keys() | new.keys()) if old.get(name) != new.get(name)]
    requests = [name for name in changed if _of_requests({name: old.get(name)}) != _of_requests({name: new.get(name)})]
    decisions = [name for name in changed if name not in requests]
    sentences = []
    if requests:
        sentences.append(f"Changes of requests, which need new calls: {', '.join(requests)}.")
    if decisions:
        sentences.append(
            f"Changes of what is done with answers, which need none by themselves: {', '.join(decisions)}."
        )
    return sentences


def _of_requests(settings: Any) -> Any:
    """Return the part of settings that is in the requests: without decisions, and without steps that only decide."""
    if isinstance(settings, dict):
        return {name: _of_requests(value) for name, value in settings.items() if name not in DECISION_SETTINGS}
    if isinstance(settings, list):
        return [part for each in settings if (part := _of_requests(each)) != {}]
    return settings
