"""Provenance of the numbers in a report: model, endpoint, settings, sessions, tokens."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from manycall._version import __version__
from manycall.evals.eval_result import short_value
from manycall.providers import openai
from manycall.providers.parameter_lesson import change_sentences, recorded_changes
from manycall.render import format_failure_counts
from manycall.store.output_reader import OutputReader

UNKNOWN = "not recorded"
_SHOWN_SEPARATELY = {"job", "model", "params", "samples", "rubric", "system", "answers", "against", "labels"}


def provenance_facts(output: OutputReader, rows: int, truncated: int, no_answer: int = 0) -> dict[str, str]:
    """Return the facts that a reader needs to judge the numbers or to reproduce them, as label -> text."""
    settings, manifest = output.settings, output.manifest
    params = msgspec.convert(settings.get("params"), dict[str, Any] | None)
    sessions = manifest.sessions if manifest else []
    changes = change_sentences(recorded_changes(sessions))
    run_by = f"run by manycall {manifest.manycall_version}, " if manifest and manifest.manycall_version else ""
    return {
        "output": str(output.path),
        "protocol": str(settings.get("job", UNKNOWN)),
        "model": str(settings.get("model", UNKNOWN)),
        "endpoint": ", ".join(dict.fromkeys(_endpoints(sessions))) or UNKNOWN,
        "max_tokens": " ".join([UNKNOWN if params is None else _max_tokens(params), *output.retry_notes]),
        "parameters": UNKNOWN if params is None else _other_params(params),
        **{name: short_value(value, 120) for name, value in settings.items() if name not in _SHOWN_SEPARATELY},
        **({"parameter changes": "; ".join(changes)} if changes else {}),
        "rows": _rows(output, rows, {"truncated": truncated, "without an answer": no_answer}),
        "failures": _failures(output),
        "sessions": _session_times(sessions),
        "tokens": _tokens(output),
        "versions": f"{run_by}scored by manycall {__version__}",
    }


def _endpoints(sessions: Sequence[dict[str, Any]]) -> Iterator[str]:
    for session in sessions:
        yield from map(str, session.get("endpoints") or [])


def _rows(output: OutputReader, rows: int, kinds: Mapping[str, int]) -> str:
    of_expected = "" if output.expected is None else f" of {output.expected:,}"
    listed = ", ".join(f"{count:,} {kind}" for kind, count in kinds.items() if count)
    return f"{rows:,}{of_expected} scored" + (f" ({listed})" if listed else "")


def _failures(output: OutputReader) -> str:
    if output.failure_counts:
        return format_failure_counts(output.failure_counts)
    return UNKNOWN if output.manifest is None else "none"


def _session_times(sessions: Sequence[dict[str, Any]]) -> str:
    first, last = (sessions[0].get("started_at"), sessions[-1]) if sessions else (None, {})
    if first is None:
        return UNKNOWN
    end = f"{_utc(last.get('ended_at'))}: {last.get('outcome', 'killed')}"
    return f"{len(sessions)}, from {_utc(first)} to {end}"


def _utc(seconds: Any) -> str:
    if not isinstance(seconds, int | float):
        return "?"
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _tokens(output: OutputReader) -> str:
    """Count the tokens of every reply in the journal, because killed sessions have not recorded their counts."""
    replies, used = openai.total_usage(output.responses())
    return f"{used.prompt_tokens:,} in, {used.completion_tokens:,} out" if replies else UNKNOWN


_MAX_TOKENS_NAMES = ("max_tokens", "max_completion_tokens", "max_gen_toks")
"""Names of the limit on the length of an answer: in older APIs, in newer ones, and in lm-eval."""


def _max_tokens(params: dict[str, Any]) -> str:
    return str(next((params[name] for name in _MAX_TOKENS_NAMES if name in params), "default of the endpoint"))


def _other_params(params: dict[str, Any]) -> str:
    others = (f"{name} {short_value(value, 120)}" for name, value in params.items() if name not in _MAX_TOKENS_NAMES)
    return ", ".join(others) or "none"
