"""Parse the queue length that a self-hosted server reports at `GET /metrics` (Prometheus text format).

A self-hosted server has no rate limits to advertise: it accepts every call and queues it. The queue shows at once
whether the server has too little or too much to do. Latency shows this later, and mixed with other causes.
"""

import math
import re
from typing import NamedTuple

from manycall.limits import ServerLoad

MAX_PLAUSIBLE_CALLS = 1e12
"""Larger numbers of calls are ignored as implausible."""


class MetricNames(NamedTuple):
    """The metrics of one kind of server: names of the numbers of running and of waiting calls."""

    running: str
    waiting: str


METRIC_NAMES = {
    "vLLM": MetricNames("vllm:num_requests_running", "vllm:num_requests_waiting"),
    "SGLang": MetricNames("sglang:num_running_reqs", "sglang:num_queue_reqs"),
    "llama.cpp": MetricNames("llamacpp:requests_processing", "llamacpp:requests_deferred"),
    "TGI": MetricNames("tgi_batch_current_size", "tgi_queue_size"),
    "LMDeploy": MetricNames("lmdeploy:num_requests_running", "lmdeploy:num_requests_waiting"),
}
"""The first server with at least one of its metrics present is used."""

_NAMES = {name for names in METRIC_NAMES.values() for name in names}
_KEY, _TEXT = r"[a-zA-Z_][a-zA-Z0-9_]*+", r'(?:[^"\\\n]++|\\[^\n])*+'
_LABEL = re.compile(rf'({_KEY})[ \t]*+=[ \t]*+"({_TEXT})"')
_SAMPLE = re.compile(  # possessive quantifiers (++, *+) prevent backtracking, so that no text makes it slow
    rf"^({'|'.join(sorted(_NAMES))})"
    rf'(?:[ \t]*+\{{[ \t]*+((?:{_KEY}[ \t]*+=[ \t]*+"{_TEXT}"[ \t]*+,?[ \t]*+)*+)\}}[ \t]*+|[ \t]++)'
    r"([^\s]++)(?:[ \t]++(?:-?[0-9.]++|#[^\n]*+))?+[ \t\r]*+$",  # value; timestamp or exemplar
    re.MULTILINE,
)


def parse_metrics(text: str, model: str | None = None) -> ServerLoad | None:
    """Return the load that a server reports; None if the metrics belong to no known kind of server.

    The values of several engines are added. Lines that cannot be parsed are skipped.

    Args:
        text: the response to `GET /metrics`.
        model: use only the samples of this model, if there are any.
    """
    label = None if model is None else model.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
    samples: dict[str, list[tuple[float, bool]]] = {}  # value, whether it belongs to the model
    for name, labels, text_value in _SAMPLE.findall(text):
        if (value := _number(text_value)) is not None:
            of_model = label is not None and dict(_LABEL.findall(labels)).get("model_name") == label
            samples.setdefault(name, []).append((value, of_model))
    for server in METRIC_NAMES.values():
        if server.running in samples or server.waiting in samples:
            return _load(server, samples)
    return None


def _load(server: MetricNames, samples: dict[str, list[tuple[float, bool]]]) -> ServerLoad:
    one_model = any(of_model for name in server for _, of_model in samples.get(name, ()))

    def total(name: str) -> float:
        return sum((value for value, of_model in samples.get(name, ()) if of_model or not one_model), 0.0)

    return ServerLoad(running=total(server.running), waiting=total(server.waiting))


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and 0 <= value <= MAX_PLAUSIBLE_CALLS else None
