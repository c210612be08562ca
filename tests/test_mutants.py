"""The tool behind `make mutants`."""

import os
import subprocess
import sys
from pathlib import Path

from mutants import PACKAGE, ROOT, TESTS, mutants

SOURCE = '''
"""A docstring."""
import os
MOST = 10


class Box:
    __slots__ = ("a",)

    def __init__(self) -> None:
        self.a = None

    def __repr__(self) -> str:
        return f"{self.a + 1}"

    def put(self, files: list[int], most: int = 3) -> bool:
        if self.a and len(files) < most:
            self.a = max(files)
        for each in (files, [1, 2]):
            each.sync()
        return not self.a
'''


def test_every_kind_of_change_is_made_and_nothing_else_is_touched() -> None:
    assert {(each.old, each.new) for each in mutants("m.py", SOURCE)} == {
        ("10", "11"),
        ("3", "4"),
        ("1", "2"),
        ("2", "3"),
        ("self.a and len(files) < most", "((self.a) or (len(files) < most))"),
        ("len(files) < most", "(len(files) <= most)"),
        ("self.a = max(files)", "pass"),
        ("max(files)", "min(files)"),
        ("(files, [1, 2])", "(([1, 2],))"),
        ("(files, [1, 2])", "((files,))"),
        ("each.sync()", "pass"),
        ("not self.a", "(self.a)"),
    }


def test_every_mutant_of_every_module_is_python() -> None:
    for module in TESTS:
        source = (ROOT / PACKAGE / module).read_bytes()
        for each in mutants(module, source.decode()):
            changed = source[: each.start] + each.new.encode() + source[each.end :]
            assert changed != source
            compile(changed, module, "exec")


TRIAL = """
from pathlib import Path
from mutants import PACKAGE, ROOT, Bench, Mutant
old, module = "bool(self._servers_by_prefix)", "control/prefix_affinity.py"
at = (ROOT / PACKAGE / module).read_text().index(old)
bench = Bench(Path("bench"))
print([bench.is_killed(Mutant(module, 1, at, at + len(old), old, new), 60.0) for new in ("False", old)])
"""


def test_a_mutant_is_killed_if_a_test_fails_and_the_sources_stay_as_they_are() -> None:
    """Run it in a separate process, because its forked processes must import the changed copy."""
    source = (ROOT / PACKAGE / "control/prefix_affinity.py").read_bytes()
    Path("bench").mkdir()
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "tests")}
    said = subprocess.check_output([sys.executable, "-c", TRIAL], env=environment, text=True, timeout=600)
    assert said == "[True, False]\n"
    assert (ROOT / PACKAGE / "control/prefix_affinity.py").read_bytes() == source
