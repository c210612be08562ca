"""May two runs be compared? What may differ between them is named; all else must be equal."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from manycall.errors import UsageError
from manycall.evals.report import short
from manycall.store.output import Output

_IN_QUESTION = {"judge": {"answers", "against", "samples"}}
"""What may differ between two runs of one protocol, because it is what is compared; for judgements, and ..."""
_IN_QUESTION_ELSE = {"model", "params", "samples"}
"""... for all others."""

ASKED = ("question", "answer")
"""Fields that must be the same in two runs over the same questions, as far as both have them."""


def differ(row: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two rows of one id are not of the same question."""
    return any(name in row and name in other and row[name] != other[name] for name in ASKED)


def must_be_same(first: Output, other: Output, across: Iterable[str]) -> None:
    """Refuse two runs that did not follow one protocol, but for what one says is to be compared.

    Raises:
        UsageError: they did not, or one does not say how it was made.
    """
    for output in (first, other):
        if output.manifest is None:
            raise UsageError(
                f"{output.path} does not say how it was made (there is no {output.path.name}.run beside it); "
                "--anyway compares it all the same"
            )
    a, b = (_protocol(output.identity, across) for output in (first, other))
    if differ := [name for name in sorted(a.keys() | b.keys()) if a.get(name) != b.get(name)]:
        said = "; ".join(f"{name}: {short(a.get(name))} and {short(b.get(name))}" for name in differ)
        options = " ".join(f"--across {name}" for name in differ)
        raise UsageError(
            f"{first.path} and {other.path} follow different protocols ({said}); {options} compares them, "
            "if that is the question"
        )


def _protocol(identity: Mapping[str, Any], across: Iterable[str]) -> dict[str, Any]:
    kind, _, _ = str(identity.get("job", "")).partition(" ")
    free = _IN_QUESTION.get(kind, _IN_QUESTION_ELSE) | {*across}
    return {name: value for name, value in identity.items() if name not in free}


def differing(outputs: Sequence[Output]) -> list[str]:
    """What tells the runs apart, as far as they say."""
    flat = [_facts(output) for output in outputs]
    names = dict.fromkeys(name for fact in flat for name in fact)
    return [
        f"{name}: " + " | ".join(short(fact.get(name)) for fact in flat)
        for name in names
        if any(fact.get(name) != flat[0].get(name) for fact in flat)
    ]


def _facts(output: Output) -> dict[str, Any]:
    identity = dict(output.identity)
    params = {f"params.{name}": value for name, value in (identity.pop("params", None) or {}).items()}
    version = {"manycall": output.manifest.version} if output.manifest else {}
    return {**identity, **params, **version}
