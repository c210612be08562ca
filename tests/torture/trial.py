"""What a trial is given, and what it returns."""

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple


class Plan(NamedTuple):
    """How a trial is to be done.

    Attributes:
        folder: an empty one, for the trial's files.
        seed: of everything that is drawn: which moments, which jobs.
        kills: how many kills.
        long: the long form; the short one takes a few seconds.
        seconds: of fuzzing, for each kind of input.
    """

    folder: Path
    seed: int
    kills: int
    long: bool
    seconds: float = 60.0


class Case:
    """Some faults, and one look at what they have done."""

    def __init__(self) -> None:
        self.faults = 0
        self.violations: list[str] = []


class Result:
    """How a trial went.

    Attributes:
        faults: how many were tried; survived: after how many all was as promised.
        violations: what was not, a sentence each.
        figures: what was counted besides.
        skipped: why it was not tried; "" if it was.
    """

    def __init__(self, *, skipped: str = "") -> None:
        self.faults = self.survived = 0
        self.violations: list[str] = []
        self.figures: Counter[str] = Counter()
        self.skipped = skipped

    @contextmanager
    def case(self, name: str) -> Iterator[Case]:
        """Some faults under one name. What is raised within, a traceback of the command's for one, is a violation."""
        case = Case()
        try:
            yield case
        except Exception as error:
            case.violations.append(f"{type(error).__name__}: {error}")
        self.faults += case.faults
        self.survived += 0 if case.violations else case.faults
        self.violations += [f"{name}: {each}" for each in case.violations]


Trial = Callable[[Plan], Result]


def suite(*files: str) -> Trial:
    """A trial that is a file of tests (`make test` has them already, so the short form leaves them out)."""
    here = Path(__file__).parents[1]

    def trial(plan: Plan) -> Result:
        if not plan.long:
            return Result(skipped="part of the tests")
        result = Result()
        with result.case(" ".join(files)) as case:
            done = subprocess.run(
                [sys.executable, "-m", "pytest", *(str(here / file) for file in files)],
                cwd=here.parent,
                capture_output=True,
                text=True,
                timeout=1800,
                check=False,
            )
            case.faults = sum(map(int, re.findall(r"([0-9]+) (?:passed|failed)", done.stdout)))
            if done.returncode:
                case.violations.append(done.stdout[-3000:])
        return result

    return trial
