"""What a self-hosted server says about its queue, at `GET /metrics` (Prometheus' text format).

A server that we run has no limits to tell: it takes every call and lets it wait. Its queue says what the latency
says only later and mixed with other causes: whether it has too little to do or too much.
"""

import math
import re
from typing import NamedTuple

MOST = 1e12
"""Calls. A server that says more is not believed."""


class Gauges(NamedTuple):
    """How busy a server is.

    Attributes:
        running: calls that are computed now.
        waiting: calls in its queue.
    """

    running: float
    waiting: float


class Server(NamedTuple):
    """What one kind of server calls them."""

    running: str
    waiting: str


SERVERS = {
    "vLLM": Server("vllm:num_requests_running", "vllm:num_requests_waiting"),
    "SGLang": Server("sglang:num_running_reqs", "sglang:num_queue_reqs"),
    "llama.cpp": Server("llamacpp:requests_processing", "llamacpp:requests_deferred"),
    "TGI": Server("tgi_batch_current_size", "tgi_queue_size"),
    "LMDeploy": Server("lmdeploy:num_requests_running", "lmdeploy:num_requests_waiting"),
}
"""The first of which anything is there counts."""

_NAMES = {name for one in SERVERS.values() for name in one}
_KEY, _TEXT = r"[a-zA-Z_][a-zA-Z0-9_]*+", r'(?:[^"\\\n]++|\\[^\n])*+'
_LABEL = re.compile(rf'({_KEY})[ \t]*+=[ \t]*+"({_TEXT})"')
_SAMPLE = re.compile(  # it never gives back what it has matched (++, *+), so that no text makes it slow
    rf"^({'|'.join(sorted(_NAMES))})"
    rf'(?:[ \t]*+\{{[ \t]*+((?:{_KEY}[ \t]*+=[ \t]*+"{_TEXT}"[ \t]*+,?[ \t]*+)*+)\}}[ \t]*+|[ \t]++)'
    r"([^\s]++)(?:[ \t]++(?:-?[0-9.]++|#[^\n]*+))?+[ \t\r]*+$",  # the value; a timestamp or an exemplar
    re.MULTILINE,
)


def read(text: str, model: str | None = None) -> Gauges | None:
    """How busy the server is that says this; None if it is none of those we know.

    Engines are summed up. Lines that make no sense are passed over.

    Args:
        model: count only the samples of this model, if there are any of it.
    """
    label = None if model is None else model.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
    found: dict[str, list[tuple[float, bool]]] = {}  # value, and whether it is of the model
    for name, labels, text_value in _SAMPLE.findall(text):
        if (value := _number(text_value)) is not None:
            of_model = label is not None and dict(_LABEL.findall(labels)).get("model_name") == label
            found.setdefault(name, []).append((value, of_model))
    for server in SERVERS.values():
        if server.running in found or server.waiting in found:
            return _gauges(server, found)
    return None


def _gauges(server: Server, found: dict[str, list[tuple[float, bool]]]) -> Gauges:
    one_model = any(of_model for name in server for _, of_model in found.get(name, ()))

    def total(name: str) -> float:
        return sum((value for value, of_model in found.get(name, ()) if of_model or not one_model), 0.0)

    return Gauges(running=total(server.running), waiting=total(server.waiting))


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and 0 <= value <= MOST else None
