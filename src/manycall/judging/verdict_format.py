"""Format of a verdict: the instruction given to the judge, and the parsers for a labelled line and for a number.

The judge is asked to end its reply with the line `Verdict: X`, where X is one of the labels.
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from manycall.errors import UsageError
from manycall.option_flags import option
from manycall.records import Messages
from manycall.run.reask import append_text

LabelValues = Mapping[str, float | None]
"""Label -> its numeric value, or None if the label has no value."""

PAIRWISE_LABELS: LabelValues = {"A": 1.0, "B": 0.0, "tie": 0.5}
"""Values for the answer that is shown first, which is called A."""
MAX_LABELS = 101

_HEADING = re.compile(r"verdict[\s*_`]*[:：=]", re.IGNORECASE)
_AROUND = " \t\r\n*_`'\"“”[]()<>.。!"


def _bare(text: str) -> str:
    return text.strip(_AROUND).casefold()


def _without_scale(text: str, maximum: str) -> str:
    """Return "4" for "4.0", "4/5" and "4.0 / 5" if `maximum` is "5". Other text, such as "good/bad", is unchanged."""
    if not maximum.lstrip("-").isdecimal():
        return text
    if text.endswith(maximum) and (head := text.removesuffix(maximum).rstrip()).endswith("/"):
        text = head[:-1].rstrip()
    integer, dot, decimals = text.rpartition(".")
    return integer if dot and decimals and not decimals.strip("0") else text


class VerdictFormat(msgspec.Struct, frozen=True):
    """The labels that a judge may answer with."""

    labels: LabelValues

    @property
    def line(self) -> str:
        """The instruction that describes the verdict line."""
        return f"one line of this form, where X is one of {', '.join(self.labels)}:\nVerdict: X"

    def add_instruction(self, messages: Messages) -> Messages:
        """Return the rubric's messages with the instruction appended."""
        return append_text(messages, f"End with {self.line}")

    def parse(self, reply: str) -> str:
        """Return the label in a reply: what follows the last `Verdict:`, or a reply that is only a label.

        Case and surrounding punctuation are ignored. "4.0" and "4/5" are read as 4 on a scale up to 5.

        Raises:
            ValueError: The reply contains no label. The message gives the reason and can be sent to the judge.
        """
        headings = [heading.end() for heading in _HEADING.finditer(reply)]
        verdict = _bare(reply[headings[-1] :].lstrip(_AROUND).partition("\n")[0] if headings else reply)
        labels_by_text = {_bare(label): label for label in self.labels}
        for spelling in (verdict, _without_scale(verdict, _bare(list(self.labels)[-1]))):
            if spelling in labels_by_text:
                return labels_by_text[spelling]
        if headings:
            raise ValueError(f"the verdict {verdict[:60]!r} is not one of {', '.join(self.labels)}")
        raise ValueError('there is no line that begins with "Verdict:"')


def parse_scale(text: str, what: str) -> tuple[int, int]:
    """Return the lowest and the highest number of a scale such as "1-5".

    Args:
        what: the scale, as the beginning of a message.

    Raises:
        UsageError: The text is not LOW-HIGH, or the scale has more than 101 steps.
    """
    match = re.fullmatch(r"\s*(-?\d{1,6})\s*(?:-|\.\.|:)\s*(-?\d{1,6})\s*", text)
    low, high = map(int, match.groups()) if match else (0, 0)
    if not low < high < low + MAX_LABELS:
        raise UsageError(f"{what} is not valid. Expected LOW-HIGH, for example 1-5, with at most {MAX_LABELS} steps.")
    return low, high


def scale_labels(text: str) -> LabelValues:
    """Return the labels of a scale such as "1-5".

    Raises:
        UsageError: The text is not LOW-HIGH, or the scale has more than 101 steps.
    """
    low, high = parse_scale(text, option("scale", text))
    return {str(number): float(number) for number in range(low, high + 1)}


def parse_labels(given: str | Sequence[str] | LabelValues) -> LabelValues:
    """Return the labels from "good,bad", "right=1,wrong=0", a list, or a mapping of label to value.

    Raises:
        UsageError: There are fewer than two labels, two equal labels, or a value that is not a finite number.
    """
    if isinstance(given, Mapping):
        pairs: list[tuple[str, Any]] = list(given.items())
    else:
        names = given.split(",") if isinstance(given, str) else map(str, given)
        pairs = [(name.partition("=")[0].strip(), name.partition("=")[2] or None) for name in names]
    try:
        labels = {str(name): None if value is None else _finite(value) for name, value in pairs}
    except (TypeError, ValueError, OverflowError):
        raise UsageError(
            f"{option('labels', given)}: the value of a label must be a finite number, for example right=1,wrong=0."
        ) from None
    different = {_bare(name) for name in labels} - {""}
    if not 2 <= len(different) == len(pairs) <= MAX_LABELS:
        raise UsageError(
            f"{option('labels', given)} is not valid. Expected 2 to {MAX_LABELS} different labels, "
            "for example good,bad or right=1,wrong=0."
        )
    return labels


def _finite(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError
    return number


_N = r"(?<![\d.])-?\d++(?:,\d{3})*+(?:\.\d++)?+"
"""A number. The quantifiers are possessive: a shorter match could never satisfy the patterns below, so that
backtracking would only cost time."""
_NUMBER = re.compile(_N)
_OF = r"(?<!out )(?<!\d )\bof\s*+"
"""The "of" in "a scale of 1 to 5", and not the one in "4 of 5" and "4 out of 5"."""
_ASIDE = re.compile(
    rf"((?:{_OF})?{_N}\s*+(?:[-–—~]|to|through|至|到)\s*{_N}|(?:/|\bof|满分)\s*{_N})|{_N}", re.IGNORECASE
)
"""Group 1: a range or the maximum of the scale, which are not scores. Any other number also matches as a whole.
Otherwise the search would start again inside it and take quadratic time on ",111,111,111…"."""
_AT_THE_END = re.compile(
    rf"(?:(?m:^)|(?:score|rating|分数?)[^\w-]{{0,9}}[:：=])[^\w-]{{0,9}}({_N})(?:\s*+分)?+\W*+\Z", re.IGNORECASE
)
"""A last line that is only a number or ends in `Score: 4`. The lines before it may contain other numbers."""


def parse_number(text: str, least: float, most: float) -> float:
    """Return the score in an answer: the number in its last line, or else its only number from `least` to `most`.

    Raises:
        ValueError: The answer has no such number, or more than one. The message can be sent to the judge.
    """
    without_ranges = _ASIDE.sub(lambda match: " " if match[1] else match[0], text)
    last = _AT_THE_END.search(without_ranges)
    numbers = {float(number.replace(",", "")) for number in ([last[1]] if last else _NUMBER.findall(without_ranges))}
    on_scale = sorted(number for number in numbers if least <= number <= most)
    if not on_scale:
        raise ValueError(f"it contains no number from {least} to {most}")
    if len(on_scale) > 1:
        listed = ", ".join(f"{number:g}" for number in on_scale)
        raise ValueError(f"it contains several numbers from {least} to {most}: {listed}")
    return int(on_scale[0]) if on_scale[0].is_integer() else on_scale[0]
