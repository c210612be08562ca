"""Every place where strangers' bytes are read, fed with harm for so long: `python tests/fuzz.py --seconds 600`.

Prints, for each target, how many inputs were tried and how many different things came of them; and the input that
broke it, if one did. Exit code 1 if one did. The same checks, with few inputs each, are test_fuzz.py.
"""

import argparse
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import hypothesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

import documents
from fuzz_inputs import JSON, NAMES, NOT_JSON, PIECES, SCALARS, mutated, texts
from invariants import limits, replies, rows, store

CPU_SECONDS = 1.0
"""That any of these inputs may take; they are small."""
DEPTH = 1000
"""Python's own limit."""
SHRINK_SECONDS = 30.0
"""For making an input smaller that has broken something."""
ROUND = 300
"""Inputs of one check, before it is the next one's turn."""


class Hang(BaseException):
    """It took too long. Not an Exception: nobody in between shall take it for one of theirs."""


class Check(NamedTuple):
    """What is checked, and with which inputs."""

    target: str
    run: Callable[..., str]
    inputs: SearchStrategy[Any]


JSON_DOCUMENTS = [*documents.JSON_LINES, *documents.JSON_ARRAYS]
WIRE = [*documents.REPLIES, *documents.ERRORS]
VALUES = texts(documents.HEADER_VALUES, 2).map(lambda text: text.encode("ascii", "replace").decode()[:400])
REPLY_HEADERS = st.one_of(
    st.builds(
        lambda headers, changed: headers | {name: value for name, value in changed.items() if name},
        st.sampled_from(documents.HEADERS),
        st.dictionaries(st.sampled_from(documents.HEADER_NAMES), VALUES, max_size=3),
    ),
    st.dictionaries(st.sampled_from(documents.HEADER_NAMES), VALUES, max_size=9),
)
HOSTS = st.sampled_from(documents.HOSTS)
REQUESTS, TOKENS = st.sampled_from([None, None, 1.0, 60.0]), st.sampled_from([None, None, 1000.0, 1e6])
STATUSES = st.sampled_from([200, 200, 200, 429, 429, 429, 301, 400, 401, 404, 408, 500, 503, 529, 999])

CHECKS = [
    Check("journal", store.check_journal, st.tuples(mutated(documents.JOURNALS))),
    Check(
        "journal",
        store.check_run,
        st.tuples(
            mutated(documents.OUTPUTS, 2),
            mutated(documents.JOURNALS, 1),
            mutated(documents.FAILURES, 2),
            st.sampled_from(documents.MANIFESTS) | mutated(documents.MANIFESTS, 2),
        ),
    ),
    Check("sources", rows.check_file, st.tuples(st.just(".jsonl"), mutated(JSON_DOCUMENTS))),
    Check("sources", rows.check_file, st.tuples(st.sampled_from([".csv", ".tsv"]), mutated(documents.TABLES))),
    Check("sources", rows.check_file, st.tuples(st.just(".parquet"), mutated(documents.PARQUETS, 2))),
    Check("sources", rows.check_chunks, st.tuples(mutated(documents.JSON_ARRAYS, 2), st.integers(1, 9))),
    Check(
        "sources",
        rows.check_two_files,
        st.tuples(mutated(documents.JSON_LINES, 1), mutated(documents.JSON_LINES, 1)),
    ),
    Check("sources", rows.check_value, st.tuples(st.sampled_from(PIECES) | mutated([b"1.5", b'"a\\n"', b"[1]"]))),
    Check(
        "sources",
        rows.check_table,
        st.tuples(
            st.lists(st.lists(st.text(st.characters(codec="utf-8"), max_size=6), max_size=4), min_size=1, max_size=4),
            st.sampled_from(",\t"),
        ),
    ),
    Check(
        "sources",
        rows.check_rows,
        st.tuples(st.lists(st.dictionaries(NAMES, JSON | NOT_JSON, max_size=3) | JSON | NOT_JSON, max_size=4)),
    ),
    Check(
        "sources",
        rows.check_prompt,
        st.tuples(texts(documents.TEMPLATES, 2), st.dictionaries(NAMES, JSON, max_size=3)),
    ),
    Check(
        "headers",
        limits.check_headers,
        st.tuples(HOSTS | st.text(max_size=9), REPLY_HEADERS, st.sampled_from([0.0, limits.WALL])),
    ),
    Check(
        "headers",
        limits.check_endpoint,
        st.tuples(
            HOSTS,
            st.tuples(REQUESTS, TOKENS, REQUESTS, TOKENS),
            st.lists(st.tuples(STATUSES, REPLY_HEADERS, mutated(WIRE, 1)), min_size=1, max_size=6),
        ),
    ),
    Check(
        "headers",
        limits.check_gauges,
        st.tuples(texts(documents.METRICS), st.sampled_from([None, "Qwen/Qwen3-8B"])),
    ),
    Check(
        "replies",
        replies.check_reply,
        st.tuples(st.sampled_from(["chat", "completions", "embeddings"]), mutated(WIRE)),
    ),
    Check("replies", replies.check_refusal, st.tuples(mutated(WIRE))),
    Check("replies", replies.check_url, st.tuples(texts(documents.URLS))),
    Check(
        "replies",
        replies.check_request,
        st.tuples(
            st.text(max_size=9) | st.lists(st.dictionaries(NAMES, JSON, max_size=3), max_size=3),
            st.dictionaries(NAMES, JSON | SCALARS | NOT_JSON, max_size=4),
        ),
    ),
]
TARGETS = list(dict.fromkeys(check.target for check in CHECKS))


class Tried(NamedTuple):
    """What became of one target.

    Attributes:
        outcomes: how often each thing came of it.
        failure: the call that broke it, as it can be written in Python, and how; "" if none did.
    """

    target: str
    seconds: float
    outcomes: Counter[str]
    failure: str

    def __str__(self) -> str:
        said = f"{self.target}: {self.outcomes.total():,} inputs in {self.seconds:.0f} s, {len(self.outcomes)} outcomes"
        return f"{said}\n{self.failure}" if self.failure else said


@contextmanager
def limited() -> Iterator[None]:
    """So many seconds of our own CPU (to which a busy machine makes no difference), and no more depth than usual."""

    def ring(*_: object) -> None:
        raise Hang

    before, depth = signal.signal(signal.SIGVTALRM, ring), sys.getrecursionlimit()
    sys.setrecursionlimit(DEPTH)  # hypothesis has raised it
    signal.setitimer(signal.ITIMER_VIRTUAL, CPU_SECONDS)
    try:
        yield
    except Hang:
        raise AssertionError(f"it took more than {CPU_SECONDS} s") from None
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        sys.setrecursionlimit(depth)
        signal.signal(signal.SIGVTALRM, before)


def attempt(check: Check, values: tuple[Any, ...]) -> str:
    """What comes of one input."""
    with limited():
        return f"{check.run.__name__}: {check.run(*values)}"


def fuzz(seconds: float, only: str | None = None, seed: int = 0) -> list[Tried]:
    """Feed each target, or only that one, for so many seconds of CPU time; the checks of one take turns."""
    return [_fuzz(target, seconds, seed) for target in TARGETS if only in {None, target}]


def _fuzz(target: str, seconds: float, seed: int) -> Tried:
    began, outcomes, failure = time.process_time(), Counter[str](), ""
    checks = [check for check in CHECKS if check.target == target]
    while not failure and time.process_time() < began + seconds:
        failure = _round(checks[seed % len(checks)], seed, began + seconds, outcomes)
        seed += 1
    return Tried(target, time.process_time() - began, outcomes, failure)


def _round(check: Check, seed: int, deadline: float, outcomes: Counter[str]) -> str:
    """Some inputs for one check; the smallest that breaks it, if any does."""
    broken, until = "", deadline

    @hypothesis.seed(seed)
    @settings(
        max_examples=ROUND,
        database=None,
        deadline=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
        verbosity=hypothesis.Verbosity.quiet,
    )
    @given(check.inputs)
    def feed(values: tuple[Any, ...]) -> None:
        nonlocal broken, until
        if outcomes and time.process_time() > until:
            return
        try:
            outcomes[attempt(check, values)] += 1
        except Exception as error:
            until = until if broken else time.process_time() + SHRINK_SECONDS
            found = _written_down(check, values, error)
            broken = min(broken or found, found, key=len)
            raise

    try:
        feed()
    except Exception as error:
        return broken or f"the inputs themselves: {error!r}"
    return ""


def _written_down(check: Check, values: tuple[Any, ...], error: Exception) -> str:
    at = traceback.extract_tb(error.__traceback__)[-1]
    call = f"{check.run.__name__}({', '.join(map(repr, values))})"
    return f"{call}\n{type(error).__name__}: {str(error)[:2000]}\n{at.filename}, line {at.lineno}: {at.line}"


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="for each target")
    parser.add_argument("--only", choices=TARGETS, help="one target")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    failed = False
    for target in [asked.only] if asked.only else TARGETS:
        for tried in fuzz(asked.seconds, target, asked.seed):
            print(tried, flush=True)
            failed = failed or bool(tried.failure)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
