"""Where the numbers of an output come from: the head of every report."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from manycall._version import __version__
from manycall.engine.report import counted
from manycall.evals.report import short
from manycall.store.output import Output
from manycall.wire import openai

UNKNOWN = "not recorded"
_SAID_APART = {"job", "model", "params", "samples", "rubric", "system", "answers", "against", "labels"}


def facts(output: Output, rows: int, truncated: int) -> dict[str, str]:
    """What somebody must know who wants to trust the numbers, or get them again."""
    identity, manifest = output.identity, output.manifest
    params = msgspec.convert(identity.get("params"), dict[str, Any] | None)
    sessions = manifest.sessions if manifest else []
    run_by = f"run by manycall {manifest.version}, " if manifest and manifest.version else ""
    return {
        "output": str(output.path),
        "protocol": str(identity.get("job", UNKNOWN)),
        "model": str(identity.get("model", UNKNOWN)),
        "endpoint": ", ".join(dict.fromkeys(_endpoints(sessions))) or UNKNOWN,
        "max_tokens": UNKNOWN if params is None else _longest(params),
        "parameters": UNKNOWN if params is None else _listed(params),
        **{name: short(value, 120) for name, value in identity.items() if name not in _SAID_APART},
        "rows": _rows(output, rows, truncated),
        "failures": counted(output.unfinished) if output.unfinished else "none" if manifest else UNKNOWN,
        "sessions": _ran(sessions),
        "tokens": _tokens(output),
        "versions": f"{run_by}scored by manycall {__version__}",
    }


def _endpoints(sessions: Sequence[dict[str, Any]]) -> Iterator[str]:
    for session in sessions:
        yield from map(str, session.get("endpoints") or [])


def _rows(output: Output, rows: int, truncated: int) -> str:
    of = "" if output.expected is None else f" of {output.expected:,}"
    return f"{rows:,} scored{of}, {truncated:,} of them truncated; {output.failed:,} failed"


def _ran(sessions: Sequence[dict[str, Any]]) -> str:
    first, last = (sessions[0].get("started"), sessions[-1]) if sessions else (None, {})
    if first is None:
        return UNKNOWN
    ended = f"{_when(last.get('ended'))}: {last.get('ending', 'killed')}"
    return f"{len(sessions)}, from {_when(first)} to {ended}"


def _when(seconds: Any) -> str:
    if not isinstance(seconds, int | float):
        return "?"
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _tokens(output: Output) -> str:
    """Those of every reply in the journal. Sessions that were killed have no counts of their own."""
    replies, used = openai.total_usage(output.replies())
    return f"{used.prompt_tokens:,} in, {used.completion_tokens:,} out" if replies else UNKNOWN


_LONGEST = ("max_tokens", "max_completion_tokens", "max_gen_toks")
"""What the longest answer is called: by older servers, newer ones, and lm-eval."""


def _longest(params: dict[str, Any]) -> str:
    return str(next((params[name] for name in _LONGEST if name in params), "the endpoint's own"))


def _listed(params: dict[str, Any]) -> str:
    others = (f"{name} {short(value, 120)}" for name, value in params.items() if name not in _LONGEST)
    return ", ".join(others) or "none"
