"""The base class of the step types, and what a step is compiled to."""

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from manycall.client.requests import LLM
from manycall.errors import UsageError
from manycall.records import Fields, Row
from manycall.run.options import Reasoning
from manycall.run.reask import ReaskCounts

StepFunction = Callable[[Row, LLM], Awaitable[dict[str, Any]]]


class StepContext(NamedTuple):
    """Values that all steps of a pipeline share: the number of reasks, the seed, the counts, where thinking text is
    written, a function that reads the settings of earlier sessions, and the folder where paths of images begin."""

    reask: int
    seed: int
    counts: ReaskCounts
    reasoning: Reasoning = "separate"
    earlier_settings: Callable[[], list[Fields]] = list
    folder: Path = Path()


class CompiledStep(NamedTuple):
    """A step that can be called.

    Attributes:
        function: processes one row.
        writes: fields that the step adds.
        needs: fields that must exist before the step.
        identity: settings that must be the same in a resumed run.
        endpoint: name of the endpoint of its calls; "": the run's.
        finish_reason_field: the one of `writes` that holds the finish reason; "" if there is none.
    """

    function: StepFunction
    writes: tuple[str, ...]
    needs: set[str]
    identity: dict[str, Any]
    endpoint: str = ""
    finish_reason_field: str = ""


def endpoint_identity(endpoint: str, params: Mapping[str, Any]) -> dict[str, str]:
    """Return the setting that says which endpoint a step uses; empty if it is the run's.

    Raises:
        UsageError: the endpoint is among the parameters.
    """
    if "endpoint" in params:
        raise UsageError("endpoint is not a parameter of the request. Set it in the step itself, next to params.")
    return {"endpoint": endpoint} if endpoint else {}


class Step(msgspec.Struct, forbid_unknown_fields=True):
    """Base class of the step types."""

    def compile(self, context: StepContext) -> CompiledStep:
        """Compile the step.

        Raises:
            UsageError: a template, the schema or a setting is not valid.
        """
        raise NotImplementedError
