"""Mutation testing: change one place of the source at a time, run the tests of that module, list the changes that no
test notices. `make mutants` tries a random sample; `make mutants MUTANTS=--all` tries every mutant.

The sources are copied, and only the copies are changed. A mutant counts as killed if a test fails, or if the tests use
far more CPU time than without it.
"""

import argparse
import ast
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import hypothesis  # noqa: F401 (imported once here, so that the forked processes need not)
import msgspec  # noqa: F401
import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = Path("src/manycall")
CRASHES = "store crashes"
SEGMENTS = "segments segment_crashes"
WORKERS = "divided_limits shared_work"
TESTS = {
    "control/prefix_affinity.py": "affinity permits",
    "control/load_balance.py": "balance",
    "control/budget.py": "budget",
    "control/amounts.py": WORKERS,
    "control/promises.py": WORKERS,
    "control/share_holders.py": WORKERS,
    "control/shares.py": WORKERS,
    "control/work_units.py": WORKERS,
    "control/worker_leases.py": WORKERS,
    "control/random_refusals.py": "throttle",
    "control/token_estimate.py": "quota",
    "providers/anthropic.py": "native_requests wires",
    "providers/anthropic_reply.py": "native_replies",
    "providers/chat_request.py": "native_requests",
    "providers/gemini.py": "native_requests wires",
    "providers/gemini_reply.py": "native_replies",
    "providers/reply_builder.py": "native_replies",
    "providers/responses.py": "native_requests wires",
    "providers/responses_reply.py": "native_replies",
    "providers/wires.py": "wires",
    "providers/server_metrics.py": "gauges",
    "control/circuit_breaker.py": "balance",
    "control/exhaustion.py": "exhaustion",
    "control/outage.py": "outage",
    "providers/rate_limit_dialects.py": "hints",
    "providers/rate_limit_headers.py": "hints",
    "control/regression.py": "order window",
    "control/row_order.py": "order",
    "control/quota.py": "quota",
    "control/retry.py": "retry balance",
    "control/throttle.py": "throttle endpoint",
    "control/accepted_calls.py": "throttle",
    "control/concurrency_limit.py": "concurrency_limit",
    "control/concurrency_window.py": "window gauges",
    "control/knee_search.py": "knee_search window gauges",
    "store/atomic_write.py": CRASHES,
    "store/disk.py": CRASHES,
    "store/earlier_run.py": CRASHES,
    "store/failures.py": CRASHES,
    "store/batch_layout.py": "batch",
    "store/journal.py": f"{CRASHES} budget",
    "store/append_log.py": CRASHES,
    "store/lock.py": CRASHES,
    "store/manifest.py": CRASHES,
    "store/offset_index.py": "store",
    "store/output_reader.py": "output exports denominator",
    "store/row_layout.py": f"{CRASHES} parts batch",
    "store/row_parts.py": "parts",
    "store/jsonl.py": CRASHES,
    "store/repair.py": CRASHES,
    "store/row_store.py": f"{CRASHES} parts",
    "store/segment_folder.py": SEGMENTS,
    "store/segment_fold.py": SEGMENTS,
    "store/segment_merge.py": SEGMENTS,
    "store/segment_mirror.py": SEGMENTS,
    "store/segment_reader.py": SEGMENTS,
    "store/segments.py": SEGMENTS,
    "store/run_folder.py": f"{CRASHES} parts batch states",
    "client/window_cache.py": "limits",
    "run/read_ahead.py": "scheduler order",
    "run/row_recorder.py": "scheduler canary",
    "run/scheduler.py": "scheduler canary",
}
"""Module -> the test files that cover it, in the order in which they run."""

CPU_FACTOR, CPU_SECONDS, WALL_SECONDS = 4, 10, 600
"""A mutant may use CPU_FACTOR times the CPU time of the unchanged source and CPU_SECONDS more."""
MEMORY_BYTES = 8 << 30

SWAPS: dict[type[ast.AST], str] = {
    ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">", ast.Eq: "!=", ast.NotEq: "==",
    ast.In: "not in", ast.NotIn: "in", ast.Is: "is not", ast.IsNot: "is", ast.And: "or", ast.Or: "and",
    ast.Add: "-", ast.Sub: "+", ast.Mult: "/", ast.Div: "*", ast.FloorDiv: "*", ast.Mod: "*", ast.Pow: "*",
    ast.BitOr: "&", ast.BitAnd: "|", ast.LShift: ">>", ast.RShift: "<<",
}  # fmt: skip


class Mutant(NamedTuple):
    """One change: the bytes from `start` to `end` of a module become `new`."""

    module: str
    line: int
    start: int
    end: int
    old: str
    new: str

    def __str__(self) -> str:
        old, new = " ".join(self.old.split()), " ".join(self.new.split())
        return f"{PACKAGE / self.module}:{self.line}: {old:.100}  ->  {new:.100}"


def mutants(module: str, source: str) -> list[Mutant]:
    """Every mutant of a module."""
    lines = source.encode().splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    found = []
    for node, new in _changes(ast.parse(source)):
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        start = starts[node.lineno - 1] + node.col_offset
        end = starts[node.end_lineno - 1] + node.end_col_offset
        old = source.encode()[start:end].decode()
        found.append(Mutant(module, node.lineno, start, end, old, new))
    return found


def _changes(tree: ast.AST) -> Iterator[tuple[ast.expr | ast.stmt, str]]:
    """(node, the text that replaces it) for every change below this node."""
    for name, value in ast.iter_fields(tree):
        if name in {"annotation", "returns", "decorator_list", "bases", "keywords" if _is_class(tree) else ""}:
            continue
        for node in value if isinstance(value, list) else [value]:
            if isinstance(node, ast.expr | ast.stmt) and not _is_excluded(node):
                yield from ((node, _text(new)) for new in _variants(node, tree))
            if isinstance(node, ast.AST) and not _is_excluded(node):
                yield from _changes(node)


def _is_class(node: ast.AST) -> bool:
    return isinstance(node, ast.ClassDef)


def _is_excluded(node: ast.AST) -> bool:
    """Return whether no test needs to notice a change here: imports, docstrings, messages, assertions, `__repr__`."""
    match node:
        case ast.Import() | ast.ImportFrom() | ast.Assert() | ast.JoinedStr() | ast.Global() | ast.Nonlocal():
            return True
        case ast.FunctionDef(name="__repr__" | "__str__") | ast.Assign(targets=[ast.Name(id="__slots__")]):
            return True
        case ast.Expr(value=ast.Constant()):
            return True
    return False


def _text(node: ast.AST | str) -> str:
    return node if isinstance(node, str) else f"({ast.unparse(node)})"


def _variants(node: ast.expr | ast.stmt, parent: ast.AST) -> Iterator[ast.AST | str]:
    """Yield what replaces this node, one change at a time."""
    match node:
        case ast.Expr(ast.Call()) | ast.Raise() | ast.Break() | ast.Continue():
            yield "pass"
        case ast.Assign([ast.Attribute() | ast.Subscript()]) if getattr(parent, "name", "") != "__init__":
            yield "pass"
        case ast.Constant(bool() as value):
            yield str(not value)
        case ast.Constant(int() | float() as value):
            yield repr(value * 2 if value > 20 or (isinstance(value, float) and value) else value + 1)
        case ast.IfExp(test, body, orelse):
            yield ast.IfExp(test, orelse, body)
        case ast.Tuple(elements) | ast.List(elements) if _is_iterated(node, parent):
            yield from (ast.Tuple(elements[:at] + elements[at + 1 :], ast.Load()) for at in range(len(elements)))
        case ast.Dict(keys, values) if len(keys) > 2:
            yield from (ast.Dict(keys[:at] + keys[at + 1 :], values[:at] + values[at + 1 :]) for at in range(len(keys)))
        case _:
            yield from _with_another_operator(node)
    if isinstance(node, ast.Name | ast.Attribute | ast.Call) and getattr(parent, "test", None) is node:
        yield ast.UnaryOp(ast.Not(), node)


def _with_another_operator(node: ast.expr | ast.stmt) -> Iterator[ast.AST | str]:
    match node:
        case ast.Compare(left, [op], [right]) if type(op) in SWAPS:
            yield f"({ast.unparse(left)} {SWAPS[type(op)]} {ast.unparse(right)})"
        case ast.BoolOp(op, values):
            yield f"({f' {SWAPS[type(op)]} '.join(f'({ast.unparse(each)})' for each in values)})"
        case ast.BinOp(left, op, right) if type(op) in SWAPS and not isinstance(left, ast.Constant | ast.JoinedStr):
            yield f"(({ast.unparse(left)}) {SWAPS[type(op)]} ({ast.unparse(right)}))"
        case ast.AugAssign(target, op, value) if type(op) in SWAPS:
            yield f"{ast.unparse(target)} {SWAPS[type(op)]}= {ast.unparse(value)}"
        case ast.UnaryOp(ast.Not(), operand):
            yield operand
        case ast.Call(ast.Name("min" | "max" as name)):
            yield ast.unparse(node).replace(name, "max" if name == "min" else "min", 1)


def _is_iterated(node: ast.expr, parent: ast.AST) -> bool:
    """Whether elements can be left out: what a loop goes over, or `in` looks into."""
    return len(getattr(node, "elts", ())) > 1 and (
        (isinstance(parent, ast.For | ast.comprehension) and parent.iter is node) or isinstance(parent, ast.Compare)
    )


class Bench:
    """A copy of the sources in which one module at a time is changed, and the processes that run its tests."""

    def __init__(self, folder: Path) -> None:
        assert "manycall" not in sys.modules, "the forked processes would test what is imported already"
        self._folder = folder.resolve()
        self._copy = self._folder / PACKAGE
        shutil.copytree(ROOT / PACKAGE, self._copy, ignore=shutil.ignore_patterns("__pycache__"))

    def is_killed(self, mutant: Mutant, cpu_seconds: float) -> bool:
        """Whether the tests of its module notice it."""
        path = self._copy / mutant.module
        source = path.read_bytes()
        path.write_bytes(source[: mutant.start] + mutant.new.encode() + source[mutant.end :])
        try:
            return self.run(mutant.module, cpu_seconds)[0] != 0
        finally:
            path.write_bytes(source)

    def run(self, module: str, cpu_seconds: float = WALL_SECONDS) -> tuple[int, float]:
        """Run the tests of a module; (exit code, seconds of CPU)."""
        files = [str(ROOT / "tests" / f"test_{name}.py") for name in TESTS[module].split()]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        pid = os.fork()
        if not pid:
            self._test(files, cpu_seconds)
        code = _wait(pid)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return code, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    def _test(self, files: list[str], cpu_seconds: float) -> None:
        """In the forked process: never returns."""
        code = 1
        try:
            os.setsid()
            for fd in (1, 2):
                os.dup2(os.open(self._folder / "output", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), fd)
            resource.setrlimit(resource.RLIMIT_CPU, (int(cpu_seconds) + 1,) * 2)
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES,) * 2)
            sys.dont_write_bytecode = True
            sys.path.insert(0, str(self._folder / "src"))
            os.environ.update(PYTHONPATH=sys.path[0], PYTHONDONTWRITEBYTECODE="1")
            os.chdir(ROOT)
            options = [
                "-xqp",
                "no:cacheprovider",
                "-W",
                "ignore::pytest.PytestAssertRewriteWarning",
                f"--basetemp={self._folder / 'tmp'}",
            ]
            code = int(pytest.main([*options, *files]))
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(code)


def _wait(pid: int) -> int:
    """The exit code, once it has ended; everything that it started ends with it."""
    deadline = time.monotonic() + WALL_SECONDS
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            break
        if time.monotonic() > deadline:
            os.killpg(pid, signal.SIGKILL)
            _, status = os.waitpid(pid, 0)
            break
        time.sleep(0.02)
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    return os.waitstatus_to_exitcode(status)


def sampled(modules: Iterable[str], count: int | None, seed: int) -> tuple[list[Mutant], int]:
    """Return `count` mutants of these modules in random order (None: all), and the number of all mutants."""
    every = [each for module in modules for each in mutants(module, (ROOT / PACKAGE / module).read_text())]
    return random.Random(seed).sample(every, min(count or len(every), len(every))), len(every)


def main() -> int:
    """Try mutants, print the survivors and the score."""
    parser = argparse.ArgumentParser(prog="make mutants", description=__doc__)
    parser.add_argument(
        "--only", default="", help="modules whose path contains this, as control/ or store/run_folder.py"
    )
    parser.add_argument("-n", type=int, default=60, help="how many mutants to try (default: 60)")
    parser.add_argument("--all", action="store_true", help="try every mutant")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10_000), help="of the sample")
    parser.add_argument("--minutes", type=float, default=30.0, help="begin no mutant after this time (default: 30)")
    parser.add_argument("--list", action="store_true", help="print the mutants and try none")
    options = parser.parse_args()
    drawn, count = sampled(
        [module for module in TESTS if options.only in module], None if options.all else options.n, options.seed
    )
    print(f"{len(drawn)} of {count} mutants, seed {options.seed}", flush=True)
    if options.list:
        print(*sorted(drawn), sep="\n")
        return 0
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        return _try(drawn, Bench(Path(folder)), time.monotonic() + 60 * options.minutes)


def _try(drawn: list[Mutant], bench: Bench, deadline: float) -> int:
    allowed: dict[str, float] = {}
    killed: dict[str, int] = {}
    tried: dict[str, int] = {}
    for mutant in drawn:
        if time.monotonic() > deadline:
            print("the time is up")
            break
        module = mutant.module
        if (tests := TESTS[module]) not in allowed:
            code, seconds = bench.run(module)
            if code:
                print(f"{module}: its tests fail without any change (exit code {code})")
                return 1
            allowed[tests] = CPU_FACTOR * seconds + CPU_SECONDS
        is_killed = bench.is_killed(mutant, allowed[tests])
        tried[module] = tried.get(module, 0) + 1
        killed[module] = killed.get(module, 0) + is_killed
        if not is_killed:
            print(mutant, flush=True)
    for module, count in sorted(tried.items()):
        print(f"{module:24} {killed[module]:4} of {count:4} killed")
    total = sum(tried.values())
    print(f"{sum(killed.values())} of {total} killed: {sum(killed.values()) / max(total, 1):.0%}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
