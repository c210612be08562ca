"""manycall: make many LLM calls, fast, resumable and scored.

Jobs, which make one or more calls for each row: `generate`, `run_steps`, `map`, `evaluate`, `evaluate_all`, `judge`,
`embed`, `run_batch`. Finished outputs, without a call: `score`, `compare`, `rank_models`, `export`, `export_lm_eval`,
`check_data`, `dataset_card`, `write_report`. Async programs: `Client` makes single calls and runs most of these jobs.
Results are in `manycall.results`, step types in `manycall.steps`, errors in `manycall.errors`, fakes for tests in
`manycall.testing`. The guide is docs/python.md.

Names are imported on first use, so that `manycall --help` does not wait for the HTTP library to load.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from manycall._version import __version__

if TYPE_CHECKING:  # the same names for readers and type checkers; test_exports.py compares the two
    from manycall import errors as errors
    from manycall import results as results
    from manycall import steps as steps
    from manycall import testing as testing
    from manycall.client.requests import LLM as LLM
    from manycall.comparison.compare_runs import compare as compare
    from manycall.comparison.ranking import rank_models as rank_models
    from manycall.dataset.card import dataset_card as dataset_card
    from manycall.dataset.check_data import check_data as check_data
    from manycall.dataset.export import export as export
    from manycall.evals.lm_eval.export_files import export_lm_eval as export_lm_eval
    from manycall.evals.rescore import score as score
    from manycall.evals.tasks.task import Task as Task
    from manycall.python_api.async_client import Client as Client
    from manycall.python_api.jobs.embed_call import embed as embed
    from manycall.python_api.jobs.evaluate_all_call import evaluate_all as evaluate_all
    from manycall.python_api.jobs.evaluate_call import evaluate as evaluate
    from manycall.python_api.jobs.generate_call import generate as generate
    from manycall.python_api.jobs.judge_call import judge as judge
    from manycall.python_api.jobs.map_call import map as map
    from manycall.python_api.jobs.run_batch_call import run_batch as run_batch
    from manycall.python_api.jobs.run_steps_call import run_steps as run_steps
    from manycall.records import Completion as Completion
    from manycall.records import Embeddings as Embeddings
    from manycall.records import Failure as Failure
    from manycall.records import Success as Success
    from manycall.reports.write_report import write_report as write_report

_FOUND_IN = {
    "python_api.jobs.generate_call": ("generate",),
    "python_api.jobs.evaluate_call": ("evaluate",),
    "python_api.jobs.evaluate_all_call": ("evaluate_all",),
    "python_api.jobs.judge_call": ("judge",),
    "python_api.jobs.map_call": ("map",),
    "python_api.jobs.run_steps_call": ("run_steps",),
    "python_api.jobs.run_batch_call": ("run_batch",),
    "python_api.jobs.embed_call": ("embed",),
    "evals.rescore": ("score",),
    "comparison.compare_runs": ("compare",),
    "comparison.ranking": ("rank_models",),
    "dataset.export": ("export",),
    "evals.lm_eval.export_files": ("export_lm_eval",),
    "dataset.check_data": ("check_data",),
    "dataset.card": ("dataset_card",),
    "reports.write_report": ("write_report",),
    "python_api.async_client": ("Client",),
    "client.requests": ("LLM",),
    "evals.tasks.task": ("Task",),
    "records": (
        "Completion",
        "Embeddings",
        "Success",
        "Failure",
    ),
}
_MODULES = {name: f"manycall.{module}" for module, names in _FOUND_IN.items() for name in names}

__all__ = ["__version__", *_MODULES]  # noqa: PLE0604


_SUBMODULES = ("errors", "results", "steps", "testing")


def __getattr__(name: str) -> Any:
    if name in _SUBMODULES:
        return import_module(f"manycall.{name}")
    if name not in _MODULES:
        raise AttributeError(f"module 'manycall' has no attribute {name!r}")
    value = getattr(import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
