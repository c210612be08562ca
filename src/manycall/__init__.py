"""manycall: rows and a prompt go in, calls are made as fast as the endpoints allow, answers stream to disk.

The house, in the order in which a row goes through it:

    data/            rows come in, prompts are made of them
    engine/          the only place that owns tasks: scheduler, client, progress
    control/         decisions, as pure functions: retry, which endpoint
    wire/            one endpoint's bytes
    store/           the disk: journal, output, resume
    evals/, synth/   the jobs: evaluate, judge, generate, steps; compare, and reports
    sim/             an endpoint to practise on
    cli/             the same, from a shell

records.py has the nouns, errors.py all that can go wrong. The names below are loaded when they are first used,
so that `manycall --help` need not wait for an HTTP library.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from manycall._version import __version__

if TYPE_CHECKING:  # the same names for readers and type checkers; test_exports.py compares the two
    from manycall.data.sources import Rows as Rows
    from manycall.data.templates import Prompt as Prompt
    from manycall.engine.calls import Calls as Calls
    from manycall.engine.client import Client as Client
    from manycall.engine.map import Options as Options
    from manycall.engine.map import map as map
    from manycall.engine.report import Report as Report
    from manycall.errors import CallFailed as CallFailed
    from manycall.errors import Interrupted as Interrupted
    from manycall.errors import ManycallError as ManycallError
    from manycall.errors import Refused as Refused
    from manycall.errors import Rejected as Rejected
    from manycall.errors import RunStopped as RunStopped
    from manycall.errors import StoreError as StoreError
    from manycall.errors import TransportError as TransportError
    from manycall.errors import UsageError as UsageError
    from manycall.evals.compare import compare as compare
    from manycall.evals.comparison import Comparison as Comparison
    from manycall.evals.evaluate import evaluate as evaluate
    from manycall.evals.judge import judge as judge
    from manycall.evals.judgement import Judgement as Judgement
    from manycall.evals.report import Evaluation as Evaluation
    from manycall.evals.reports.contents import write_report as write_report
    from manycall.evals.score import score as score
    from manycall.evals.tasks import TASKS as TASKS
    from manycall.evals.tasks import Task as Task
    from manycall.records import Completion as Completion
    from manycall.records import Embeddings as Embeddings
    from manycall.records import Row as Row
    from manycall.synth.batch import batch as batch
    from manycall.synth.card import card as card
    from manycall.synth.export import export as export
    from manycall.synth.generate import generate as generate
    from manycall.synth.kinds import Evolve as Evolve
    from manycall.synth.kinds import Generate as Generate
    from manycall.synth.kinds import Judge as Judge
    from manycall.synth.kinds import Keep as Keep
    from manycall.synth.kinds import Set as Set
    from manycall.synth.quality import quality as quality
    from manycall.synth.steps import steps as steps

_FOUND_IN = {
    "data.sources": ("Rows",),
    "data.templates": ("Prompt",),
    "records": ("Row", "Completion", "Embeddings"),
    "engine.calls": ("Calls",),
    "engine.client": ("Client",),
    "engine.map": ("map", "Options"),
    "engine.report": ("Report",),
    "synth.batch": ("batch",),
    "synth.generate": ("generate",),
    "synth.quality": ("quality",),
    "synth.export": ("export",),
    "synth.card": ("card",),
    "synth.kinds": ("Generate", "Evolve", "Judge", "Keep", "Set"),
    "synth.steps": ("steps",),
    "evals.evaluate": ("evaluate",),
    "evals.score": ("score",),
    "evals.compare": ("compare",),
    "evals.comparison": ("Comparison",),
    "evals.judge": ("judge",),
    "evals.judgement": ("Judgement",),
    "evals.reports.contents": ("write_report",),
    "evals.report": ("Evaluation",),
    "evals.tasks": ("TASKS", "Task"),
    "errors": (
        "ManycallError", "UsageError", "RunStopped", "Interrupted", "StoreError",
        "CallFailed", "TransportError", "Refused", "Rejected",
    ),
}  # fmt: skip
_MODULES = {name: f"manycall.{module}" for module, names in _FOUND_IN.items() for name in names}

__all__ = ["__version__", *_MODULES]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'manycall' has no attribute {name!r}")
    value = getattr(import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
