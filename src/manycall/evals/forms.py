"""What a judge is asked to end with, and how that is read: one line, `Verdict: X`, X one of a few labels."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from manycall.engine.calls import added
from manycall.errors import UsageError
from manycall.records import Messages

Labels = Mapping[str, float | None]
"""Label -> what it is worth; None where it is worth no number."""

PAIR: Labels = {"A": 1.0, "B": 0.0, "tie": 0.5}
"""Of the answer that is shown first, which is called A."""
MOST_LABELS = 101

_LINE = re.compile(r"verdict[\s*_`]*[:：=]([^\n]*)", re.IGNORECASE)
_AROUND = " \t\r\n*_`'\"“”[]()<>.。!"


def _bare(text: str) -> str:
    return text.strip(_AROUND).casefold()


def _without_scale(said: str, most: str) -> str:
    """Return "4" for "4.0", "4/5" and "4.0 / 5" where `most` is "5". A word such as "good/bad" stays as it is."""
    if not most.lstrip("-").isdecimal():
        return said
    if said.endswith(most) and (head := said.removesuffix(most).rstrip()).endswith("/"):
        said = head[:-1].rstrip()
    whole, dot, zeros = said.rpartition(".")
    return whole if dot and zeros and not zeros.strip("0") else said


class Form(msgspec.Struct, frozen=True):
    """The verdicts that a judge may give."""

    labels: Labels

    @property
    def line(self) -> str:
        """What the judge is asked for."""
        return f"one line of this form, where X is one of {', '.join(self.labels)}:\nVerdict: X"

    def on(self, messages: Messages) -> Messages:
        """The rubric's messages, which end with what is asked for."""
        return added(messages, f"End with {self.line}")

    def read(self, reply: str) -> str:
        """The label in a reply: in the last line with `Verdict:`, or the reply itself if it is nothing but a label.

        Case does not count, nor do marks around it, nor "4.0" or "4/5" for 4 on a scale to 5.

        Raises:
            ValueError: there is none; the message says why, and can be said to the judge.
        """
        lines: list[str] = _LINE.findall(reply)
        said = _bare(lines[-1] if lines else reply)
        known = {_bare(label): label for label in self.labels}
        for way in (said, _without_scale(said, _bare(list(self.labels)[-1]))):
            if way in known:
                return known[way]
        if lines:
            raise ValueError(f"the verdict {said[:60]!r} is none of {', '.join(self.labels)}")
        raise ValueError('there is no line that begins with "Verdict:"')


def scale(text: str) -> Labels:
    """The labels of a scale: "1-5".

    Raises:
        UsageError: it is not of this form, or too long.
    """
    found = re.fullmatch(r"\s*(-?\d{1,6})\s*(?:-|\.\.|:)\s*(-?\d{1,6})\s*", text)
    low, high = map(int, found.groups()) if found else (0, 0)
    if not low < high < low + MOST_LABELS:
        raise UsageError(f"--scale {text!r} is not LOW-HIGH, as in 1-5, with at most {MOST_LABELS} steps")
    return {str(number): float(number) for number in range(low, high + 1)}


def labels(given: str | Sequence[str] | Labels) -> Labels:
    """Labels as they are given: "good,bad", "right=1,wrong=0", a list, or a mapping.

    Raises:
        UsageError: fewer than two, two alike, or a worth that is no number.
    """
    if isinstance(given, Mapping):
        pairs: list[tuple[str, Any]] = list(given.items())
    else:
        names = given.split(",") if isinstance(given, str) else given
        pairs = [(name.partition("=")[0].strip(), name.partition("=")[2] or None) for name in names]
    try:
        found = {str(name): None if worth is None else float(worth) for name, worth in pairs}
    except (TypeError, ValueError):
        raise UsageError(f"--labels {given!r}: what a label is worth must be a number, as in right=1,wrong=0") from None
    different = {_bare(name) for name in found} - {""}
    if not 2 <= len(different) == len(pairs) <= MOST_LABELS:
        raise UsageError(f"--labels {given!r} must be two or more different labels, as in good,bad or right=1,wrong=0")
    return found
