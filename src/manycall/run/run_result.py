"""The result of a run: figures for programs, printed as a table."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from manycall.option_flags import option, rerun
from manycall.render import format_failure_counts, format_money, format_share, markdown_table
from manycall.run.endpoint_spending import EndpointSpending
from manycall.run.result_views import OutputViews
from manycall.store.paths import run_folder_path

MIN_REPORTED_SHARE = 0.1
"""Share of the run's time that this machine must have been the limit before the result reports it."""


class RunResult(OutputViews, msgspec.Struct, kw_only=True, frozen=True, weakref=True):
    """The result of a run. `print` shows it as a table.

    Attributes:
        job: name of the job.
        out: path of the output.
        total_rows: number of rows of the whole input; None if unknown.
        done: rows in the output, including those of earlier runs.
        failed: rows that failed in this run; they are listed in failures.jsonl.
        failure_counts: number of failed rows by kind (records.FailureKind).
        truncated: rows of `done` with an answer truncated at max_tokens (after `map` and with `parse`: those of this
            run only).
        done_before: rows of `done` that earlier runs had done.
        retried: rows that were answered with a larger max_tokens (after `retry`).
        rejected: rejected rows, including those of earlier runs. After a complete run,
            done + rejected + failed = total_rows.
        output_rows: lines in the output if a row may become several; otherwise None.
        counts: additional counts of the job in this run.
        calls: calls answered in this run.
        replayed: calls answered from the journal.
        retries: attempts that were retries.
        http_429: responses with status 429.
        probes: calls of one token that found out how many calls a self-hosted server works on.
        possibly_billed: attempts without an answer that may have been charged.
        invalid_responses: attempts of `possibly_billed` that had a response (for example an empty one). Their
            tokens are counted.
        prompt_tokens, completion_tokens: tokens of this run's responses.
        cost: cost of this run; None if prices are missing.
        total_prompt_tokens, total_completion_tokens, total_cost: the same for all sessions of this output, including
            killed ones.
        total_cached_tokens: prompt tokens of all sessions that the servers read from their caches.
        currency: currency of the costs, as an ISO code.
        budget_usage: how much of each budget is spent.
        endpoints: calls, tokens and cost of each endpoint, over all sessions; empty with one endpoint, or if nothing
            has a price and there is one pool.
        seconds: wall time of this run.
        client_bound_seconds: part of that time in which this machine was the limit.
        client_bound_detail: the worst measured load in that time.
        top_errors: the most frequent errors of failed rows, each with its count.
        parameter_changes: for each model and endpoint that did not accept the parameters as they are, a sentence that
            says how they were sent.
        sim: statistics of the simulated endpoint; None with a real one.
    """

    job: str
    out: Path
    total_rows: int | None
    done: int
    failed: int
    failure_counts: dict[str, int] = {}
    truncated: int = 0
    done_before: int = 0
    retried: int = 0
    rejected: int = 0
    output_rows: int | None = None
    counts: dict[str, int] = {}
    calls: int = 0
    replayed: int = 0
    retries: int = 0
    http_429: int = 0
    probes: int = 0
    possibly_billed: int = 0
    invalid_responses: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float | None = None
    total_prompt_tokens: int = 0
    total_completion_tokens: int = 0
    total_cached_tokens: int = 0
    total_cost: float | None = None
    currency: str = "USD"
    budget_usage: list[str] = []
    endpoints: list[EndpointSpending] = []
    seconds: float = 0.0
    client_bound_seconds: float = 0.0
    client_bound_detail: str = ""
    top_errors: list[tuple[str, int]] = []
    parameter_changes: list[str] = []
    sim: dict[str, Any] | None = None

    @property
    def run_folder(self) -> Path:
        """The folder with the manifest, the journal, the failures and the timeline."""
        return run_folder_path(self.out)

    def lines(self) -> list[tuple[str, str]]:
        """Return the lines of the table as (label, value)."""
        lines = [
            ("rows", self._rows()),
            ("calls", self._calls()),
            *self._spent(),
            *([("budget", ", ".join(self.budget_usage))] if self.budget_usage else []),
            ("time", f"{self.seconds:.1f} s"),
            ("output", str(self.out)),
            ("run folder", f"{self.run_folder}/"),
        ]
        if self.client_bound_seconds > MIN_REPORTED_SHARE * self.seconds:
            detail = f"{self.client_bound_seconds:.0f} s ({self.client_bound_detail})"
            lines.insert(lines.index(("time", f"{self.seconds:.1f} s")) + 1, ("limited by this machine", detail))
        lines += [(label, f"{count:,}") for label, count in self.counts.items()]
        lines += [("parameters", sentence) for sentence in self.parameter_changes]
        if self.rejected:
            lines.append(("rejected", f"{self.run_folder / 'rejected.jsonl'} (with the reasons)"))
        if self.retried:
            lines.append(("retried", f"{self.retried:,} rows were answered with the larger max_tokens"))
        if self.truncated:
            lines.append(("truncated", f"{self.truncated} rows reached max_tokens; their answers are kept"))
        if thinking := self.failure_counts.get("reasoning_only"):
            remedy = (
                f"raise {option('max_tokens')}, or max_tokens in requests that set it themselves, or lower "
                f"{option('thinking')}"
            )
            share = format_share(thinking, self.done + self.failed)
            lines.append(("no answer", f"{share} rows ended while the model was thinking: {remedy}"))
        if self.probes:
            lines.insert(2, ("probes", f"{self.probes} calls of one token to the server, without a key"))
        if without_response := self.possibly_billed - self.invalid_responses:
            lines.insert(2, ("possibly billed", f"{without_response} attempts without a response"))
        if self.invalid_responses:
            lines.insert(2, ("invalid responses", f"{self.invalid_responses} (tokens counted)"))
        return lines + self._failures()

    def _failures(self) -> list[tuple[str, str]]:
        if not self.failed:
            return []
        others = self.failed - sum(count for _, count in self.top_errors)
        return [
            ("failures", f"{self.run_folder / 'failures.jsonl'} ({rerun()} to retry them)"),
            *((f"{count} ×", error) for error, count in self.top_errors),
            *([(f"{others} ×", "other errors, listed in that file")] if self.top_errors and others > 0 else []),
        ]

    def _calls(self) -> str:
        if self.done == self.done_before > 0 and not (self.calls or self.replayed or self.failed):
            return "none: every row was done before"
        rate = self.calls / self.seconds if self.seconds > 0 else 0.0
        return f"{self.calls} ({rate:.1f}/s), {self.retries} retries, {self.replayed} replayed from the journal"

    def _spent(self) -> Iterator[tuple[str, str]]:
        """Yield the lines for tokens and cost: of all sessions, and of this one if there were others."""
        cached = f", {self.total_cached_tokens:,} of the prompts cached" if self.total_cached_tokens else ""
        total = _tokens(self.total_prompt_tokens, self.total_completion_tokens)
        session = _tokens(self.prompt_tokens, self.completion_tokens)
        resumed = total != session
        yield "tokens", (f"{total} in all sessions; {session} in this one" if resumed else total) + cached
        if self.total_cost is not None and self.cost is not None:
            cost = format_money(self.total_cost, self.currency)
            session_cost = format_money(self.cost, self.currency)
            yield "cost", f"{cost} in all sessions; {session_cost} in this one" if resumed else cost
        yield from ((f"at {each.endpoint}", each.describe(self.currency)) for each in self.endpoints)

    @property
    def rows_of_other_sessions(self) -> int:
        """Done or rejected rows of an earlier run that are not part of this run's input."""
        return 0 if self.total_rows is None else max(0, self.done + self.rejected + self.failed - self.total_rows)

    def _rows(self) -> str:
        total = "" if self.total_rows is None else f" of {self.total_rows + self.rows_of_other_sessions}"
        others = (
            f", {self.rows_of_other_sessions} of them not part of this run's input"
            if self.rows_of_other_sessions
            else ""
        )
        truncated = f" ({self.truncated} truncated)" if self.truncated else ""
        written = "" if self.output_rows is None else f" ({self.output_rows} output rows)"
        rejected = f", {self.rejected} rejected" if self.rejected else ""
        failed = f", {format_failure_counts(self.failure_counts)}" if self.failed else ""
        return f"{self.done}{total} done{truncated}{written}{others}{rejected}{failed}"

    def __str__(self) -> str:
        return markdown_table((self.job, ""), self.lines())


def _tokens(prompt: int, completion: int) -> str:
    return f"{prompt + completion:,} ({prompt:,} in, {completion:,} out)"
