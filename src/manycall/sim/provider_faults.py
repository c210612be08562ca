"""The errors of each provider, as bodies with placeholders, and the other ways in which a call may go wrong.

provider_faults.jsonl has one line for each error. A line of the provider `*` is for the providers without such a line.
"""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec

from manycall.errors import UsageError
from manycall.option_flags import option
from manycall.sim.sim_dialects import SimDialect

ANSWER_FAULTS: Mapping[str, str] = {
    "answer_filtered": "a filter ends the answer in the middle",
    "refused": "the model declines to answer",
    "broken_answer": "the finish reason says that the answer broke off",
    "empty_answer": "the answer has no text",
    "only_thinking": "the model thinks, and then does not answer",
    "stream_error": "an error event in the middle of a stream; status 500 if it is not streamed",
    "stream_cut": "the connection closes in the middle of the response",
    "html_error": "an HTML page with status 502",
}
"""Faults that every provider has, other than errors."""
FAULTS_OF_ROWS = {"prompt_filtered", "output_filtered", "answer_filtered", "refused", "too_long"}
"""Faults that depend on the prompt: a repeated call has the fault again."""


class ProviderFault(msgspec.Struct, frozen=True):
    """One error of one provider.

    Attributes:
        body: the body, with the placeholders {model}, {key}, {param}, {message}, {method} and {path}.
    """

    provider: str
    fault: str
    status: int
    body: msgspec.Raw
    headers: dict[str, str] = {}

    def rendered(self, values: Mapping[str, Any]) -> bytes:
        """Return the body with values for its placeholders."""
        body = bytes(self.body)
        for name, value in values.items():
            body = body.replace(b"{%s}" % name.encode(), msgspec.json.encode(str(value)[:300])[1:-1])
        return body

    def header_lines(self) -> list[tuple[bytes, bytes]]:
        """Return the headers as bytes."""
        return [(name.encode(), value.encode()) for name, value in self.headers.items()]


@lru_cache(maxsize=1)
def _all_faults() -> dict[tuple[str, str], ProviderFault]:
    lines = Path(__file__).with_name("provider_faults.jsonl").read_bytes().splitlines()
    faults = (msgspec.json.decode(line, type=ProviderFault) for line in lines)
    return {(fault.provider, fault.fault): fault for fault in faults}


def find_error(sources: tuple[str, ...], name: str) -> ProviderFault | None:
    """Return the error of this name, of the first provider that has one."""
    faults = _all_faults()
    return next((faults[source, name] for source in sources if (source, name) in faults), None)


def fault_names(dialect: SimDialect) -> list[str]:
    """Return the names of all faults of a provider."""
    sources = dialect.fault_sources
    return sorted({fault for provider, fault in _all_faults() if provider in sources} | set(ANSWER_FAULTS))


def check_fault(dialect: SimDialect, name: str) -> None:
    """Check that a provider has a fault.

    Raises:
        UsageError: it has none of this name.
    """
    if name not in (names := fault_names(dialect)):
        raise UsageError(f"{option('fault', name)} is no fault of {dialect.name}. Expected one of {', '.join(names)}.")
