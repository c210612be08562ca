"""Counters of one run: attempts, calls, tokens, rows."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from manycall.errors import CallError, FailureClass, HttpStatusError, InvalidResponse
from manycall.records import Completion, Embeddings, FailureKind, Usage

MAX_REASON_CHARACTERS = 300
"""Longest text of a retried error that is kept."""


@dataclass(slots=True)
class CallCounters:
    """Counters of this session. Not a `msgspec.Struct`: Python does not specialise setting its attributes.

    Attributes:
        attempts: attempts, including retries and hedges.
        calls: calls that were answered.
        retries: attempts that were retries.
        http_429: responses with status 429.
        probes: calls of one token that found out how many calls a self-hosted server works on. No row waits for them.
        hedged: stalled calls of which a copy was sent to another endpoint.
        possibly_billed: attempts without an answer that the server may have charged.
        invalid_responses: attempts of `possibly_billed` that had a response. Their tokens are counted.
        replayed: calls answered from the journal.
        done, failed, rejected: rows.
        failure_counts: number of failed rows by kind.
        truncated: done rows with an answer truncated at max_tokens.
        prompt_tokens, completion_tokens: tokens of all responses, including those without an answer.
        cached_tokens: prompt tokens that the servers read from their caches.
        responses: responses whose tokens were counted.
        first_retried: the first retried error of each kind (its status, or its class), as text.
        had_success: rows of this output were done in an earlier session, or a call was answered in another process.
        had_rows: rows of this output were done or failed in an earlier session.
    """

    attempts: int = 0
    calls: int = 0
    retries: int = 0
    http_429: int = 0
    probes: int = 0
    hedged: int = 0
    possibly_billed: int = 0
    invalid_responses: int = 0
    replayed: int = 0
    done: int = 0
    failed: int = 0
    rejected: int = 0
    failure_counts: dict[str, int] = field(default_factory=dict)
    truncated: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    responses: int = 0
    first_retried: dict[str, str] = field(default_factory=dict)
    had_success: bool = False
    had_rows: bool = False

    @property
    def figures(self) -> dict[str, Any]:
        """The counters by name, without those that only the engine uses."""
        figures = asdict(self)
        for name in ("had_success", "had_rows", "responses", "first_retried"):
            del figures[name]
        return figures

    @property
    def ended(self) -> int:
        """Number of rows that are done, failed or rejected."""
        return self.done + self.failed + self.rejected

    def record_attempt(self) -> None:
        """Count an attempt."""
        self.attempts += 1

    def record_probe(self) -> None:
        """Count a probe of a server."""
        self.probes += 1

    def record_hedge(self) -> None:
        """Count a second copy of a stalled call; its attempt is counted when it is sent."""
        self.hedged += 1

    def record_unused(self) -> None:
        """Count an attempt that may be billed although its answer is not used."""
        self.possibly_billed += 1

    def record_failure(self, error: CallError, failure_class: FailureClass) -> None:
        """Count a failed attempt."""
        self.possibly_billed += error.possibly_billed
        self.invalid_responses += isinstance(error, InvalidResponse)
        self.http_429 += isinstance(error, HttpStatusError) and (
            error.status == 429 or failure_class is FailureClass.KEY_RATE_LIMITED
        )

    def record_retry(self, error: CallError | None) -> None:
        """Count an attempt that will be repeated, and keep the first error of its kind.

        Args:
            error: why it failed; None if that is announced elsewhere.
        """
        self.retries += 1
        if error is None:
            return
        kind = str(error.status) if isinstance(error, HttpStatusError) else type(error).__name__
        if kind not in self.first_retried:
            self.first_retried[kind] = str(error)[:MAX_REASON_CHARACTERS]

    def include_retried(self, first: Mapping[str, str]) -> None:
        """Include the first retried errors of another process."""
        for kind, error in first.items():
            self.first_retried.setdefault(kind, error)

    def record_replay(self) -> None:
        """Count a call that was answered from the journal."""
        self.replayed += 1

    def record_answer(self, answer: Completion | Embeddings) -> None:
        """Count an answer and its tokens."""
        self.calls += 1
        self.record_spent(answer.usage)

    def record_spent(self, usage: Usage) -> None:
        """Count a response and its tokens."""
        self.responses += 1
        self.prompt_tokens += usage.prompt_tokens
        self.completion_tokens += usage.completion_tokens
        self.cached_tokens += usage.cached_tokens

    def record_done(self, rows: int, truncated: int) -> None:
        """Count finished rows, some of which have a truncated answer."""
        self.done += rows
        self.truncated += truncated

    def record_rejected(self) -> None:
        """Count a rejected row."""
        self.rejected += 1

    def record_failed(self, kind: FailureKind) -> None:
        """Count a failed row."""
        self.failed += 1
        self.failure_counts[kind] = self.failure_counts.get(kind, 0) + 1

    def record_merged(self, *, done: int, rejected: int, truncated: int) -> None:
        """Count rows that another process has finished."""
        self.done += done
        self.rejected += rejected
        self.truncated += truncated

    def forget_failed(self, kind: FailureKind) -> None:
        """Count a failed row no longer, because it was done in another process."""
        self.failed -= 1
        self.failure_counts[kind] -= 1

    def set_calls(self, sums: Mapping[str, int]) -> None:
        """Set the counters of attempts, calls and tokens to the sums of several processes."""
        for name, value in sums.items():
            setattr(self, name, value)
        self.responses = self.calls + self.invalid_responses

    def record_earlier_success(self) -> None:
        """Record that calls of this output were answered elsewhere."""
        self.had_success = True
