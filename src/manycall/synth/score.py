"""The score in a judge's answer. One that might be another is not guessed: the judge is asked again."""

import re

_N = r"(?<![\d.])-?\d++(?:,\d{3})*+(?:\.\d++)?+"
"""A number. Possessive, because no shorter match of it could be followed by what the patterns below want."""
_NUMBER = re.compile(_N)
_ASIDE = re.compile(rf"({_N}\s*+(?:[-–—~]|to|through|至|到)\s*{_N}|(?:/|\bof|满分)\s*{_N})|{_N}", re.IGNORECASE)
"""Group 1: a range, or the maximum of the scale; neither is a score. Any other number matches too, as a whole, so that
the search does not start again within it, which would take quadratic time on ",111,111,111…"."""
_AT_THE_END = re.compile(
    rf"(?:(?m:^)|(?:score|rating|分数?)[^\w-]{{0,9}}[:：=])[^\w-]{{0,9}}({_N})(?:\s*+分)?+\W*+\Z", re.IGNORECASE
)
"""A last line that is a number alone, or ends in `Score: 4`; before it there may be reasons, with numbers in them."""


def score(text: str, least: float, most: float) -> float:
    """The number in an answer: in its last line, or the only one of the scale that it has.

    Raises:
        ValueError: there is none, or more than one; the message can be said to the judge.
    """
    plain = _ASIDE.sub(lambda found: " " if found[1] else found[0], text)
    last = _AT_THE_END.search(plain)
    numbers = {float(each.replace(",", "")) for each in ([last[1]] if last else _NUMBER.findall(plain))}
    found = sorted(number for number in numbers if least <= number <= most)
    if not found:
        raise ValueError(f"there is no number from {least} to {most} in it")
    if len(found) > 1:
        raise ValueError(f"it has several numbers from {least} to {most}: {', '.join(f'{each:g}' for each in found)}")
    return int(found[0]) if found[0].is_integer() else found[0]
