"""Which parameters of a benchmark's protocol were not sent as specified."""

from collections.abc import Iterator
from typing import Any

import msgspec

from manycall.evals.eval_result import short_value
from manycall.providers.parameter_lesson import Body, ParameterChange, canonical_name, recorded_changes
from manycall.store.output_reader import OutputReader


def protocol_changes(output: OutputReader) -> list[str]:
    """Return the parameters that were dropped or that an endpoint did not accept: `temperature=0 (only 1 is accepted)`.

    The changes of all sessions count, because the output contains the answers of all of them.
    """
    params = _params(output, {})
    changed = dict.fromkeys(_dropped(output), "dropped")
    for change in _changes(output):
        for name in params:
            if canonical_name(name) == change.parameter and change.concerns({name: params[name]}):
                changed.setdefault(name, change.reason)
    return [_text(name, reason, params) for name, reason in changed.items()]


def sent_params(output: OutputReader, default: Body) -> Body:
    """Return the parameters as they were sent.

    Args:
        default: the parameters, if the output does not record them.
    """
    dropped = _dropped(output)
    params = {name: value for name, value in _params(output, default).items() if name not in dropped}
    for change in _changes(output):
        params = change.apply(params)
    return params


def _params(output: OutputReader, default: Body) -> Body:
    params = output.settings.get("params")
    return default if params is None else msgspec.convert(params, dict[str, Any])


def _dropped(output: OutputReader) -> list[str]:
    return msgspec.convert(output.settings.get("drop") or [], list[str])


def _changes(output: OutputReader) -> Iterator[ParameterChange]:
    """Yield the changes of the run's own model that may affect its answers."""
    model = output.settings.get("model")
    for change in recorded_changes(output.manifest.sessions if output.manifest is not None else []):
        if change.changes_protocol and change.model == model:
            yield change


def _text(name: str, reason: str, params: Body) -> str:
    if name not in params:
        return f"{name} ({reason})"
    value = params[name]
    return f"{name}={f'{value:g}' if isinstance(value, float) else short_value(value)} ({reason})"
