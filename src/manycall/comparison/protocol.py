"""Check whether two runs can be compared: all their settings must be equal, except those that may differ."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from manycall.errors import UsageError
from manycall.evals.eval_result import short_value
from manycall.evals.protocol_changes import protocol_changes
from manycall.option_flags import option
from manycall.store.output_reader import OutputReader

_MAY_DIFFER = {"judge": {"answers", "against", "samples", "reasoning"}}
"""Job -> settings that may always differ, because they are what is compared."""
_MAY_DIFFER_DEFAULT = {"model", "params", "drop", "thinking", "samples", "reasoning"}
"""The same for all other jobs."""


def require_same_protocol(first: OutputReader, other: OutputReader, allow_different: Iterable[str]) -> None:
    """Refuse two runs with different settings, except those in `allow_different`.

    Raises:
        UsageError: The settings differ, or a run has no manifest.
    """
    for output in (first, other):
        if output.manifest is None:
            raise UsageError(
                f"{output.path} has no run folder {output.path.name}.run with its settings. "
                f"To compare it anyway: {option('force', True)}."
            )
    a, b = (_protocol_settings(output.settings, allow_different) for output in (first, other))
    if different := [name for name in sorted(a.keys() | b.keys()) if a.get(name) != b.get(name)]:
        listed = "; ".join(f"{name}: {short_value(a.get(name))} and {short_value(b.get(name))}" for name in different)
        options = " ".join(option("allow_different", name) for name in different)
        raise UsageError(
            f"{first.path} and {other.path} used different settings ({listed}). To compare them anyway: {options}."
        )


def _protocol_settings(settings: Mapping[str, Any], allow_different: Iterable[str]) -> dict[str, Any]:
    kind, _, _ = str(settings.get("job", "")).partition(" ")
    ignored = _MAY_DIFFER.get(kind, _MAY_DIFFER_DEFAULT) | {*allow_different}
    return {name: value for name, value in settings.items() if name not in ignored}


def setting_differences(outputs: Sequence[OutputReader]) -> list[str]:
    """Return a line for each setting that differs between the runs, such as "model: small | large"."""
    settings_per_run = [_flat_settings(output) for output in outputs]
    names = dict.fromkeys(name for settings in settings_per_run for name in settings)
    return [
        f"{name}: " + " | ".join(short_value(settings.get(name), 120) for settings in settings_per_run)
        for name in names
        if any(settings.get(name) != settings_per_run[0].get(name) for settings in settings_per_run)
    ]


def _flat_settings(output: OutputReader) -> dict[str, Any]:
    settings = dict(output.settings)
    params = {f"params.{name}": value for name, value in (settings.pop("params", None) or {}).items()}
    version = {"manycall": output.manifest.manycall_version} if output.manifest else {}
    changes = {"parameters not sent": ", ".join(names)} if (names := protocol_changes(output)) else {}
    return {**settings, **params, **changes, **version}
