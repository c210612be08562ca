"""Plots as SVG: a score with its interval, a difference, a histogram, wins against losses. Pure; every text is escaped.

Colours and fonts are the page's (see page.html.j2: --accent, --other, --quiet, --line), so that it has a dark form too.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from markupsafe import Markup

WIDTH = 720
_LABELS = 210
_RIGHT = 96
_ROW = 34
_TOP = 10


class Mark(NamedTuple):
    """One line of a dot plot: a value, its interval, and a wider and fainter one behind it, if there is one."""

    label: str
    value: float
    interval: tuple[float, float] | None
    behind: tuple[float, float] | None = None


class Bar(NamedTuple):
    """One bar of several parts, each in its colour."""

    label: str
    parts: Sequence[float]


def tag(name: str, *children: Any, **attributes: Any) -> Markup:
    """An element; `_` in the name of an attribute stands for `-`."""
    pairs = (Markup(' {}="{}"').format(key.rstrip("_").replace("_", "-"), _short(v)) for key, v in attributes.items())
    return Markup("<{0}{1}>{2}</{0}>").format(name, Markup("").join(pairs), Markup("").join(children))


def dots(what: str, marks: Sequence[Mark], *, zero: bool = False) -> Markup:
    """A dot for each value and a line for its interval, on a common scale that holds them all.

    Args:
        zero: draw a line at 0, of which the scale holds both sides.
    """
    held = [x for m in marks for x in (m.value, *(m.interval or ()), *(m.behind or ()))] + [0.0] * zero
    low, high = min(held, default=0.0), max(held, default=1.0)
    pad = (high - low) * 0.08 or 0.05
    axis = _Axis(low - pad, high + pad)
    bottom = _TOP + _ROW * len(marks)
    drawn = [axis.drawn(bottom)]
    if zero:
        drawn.append(tag("line", x1=axis(0), x2=axis(0), y1=_TOP, y2=bottom, stroke="var(--ink)"))
    for row, mark in enumerate(marks):
        y = _TOP + _ROW * (row + 0.5)
        drawn.append(_label(mark.label, y))
        if mark.behind:
            drawn.append(_line(axis, mark.behind, y, "var(--quiet)", 10))
        if mark.interval:
            drawn.append(_line(axis, mark.interval, y, "var(--accent)", 3))
        drawn.append(tag("circle", cx=axis(mark.value), cy=y, r=5.5, fill="var(--accent)", stroke="var(--paper)"))
        drawn.append(tag("text", f"{mark.value:{'+' if zero else ''}.4f}", x=WIDTH - _RIGHT + 14, y=y + 4))
    return _svg(what, bottom + 30, drawn)


def bars(what: str, rows: Sequence[Bar], colours: Sequence[str], *, unit: str = "") -> Markup:
    """Horizontal bars, their parts one after another, with the sum behind each."""
    most = max((sum(bar.parts) for bar in rows), default=0) or 1
    drawn = []
    for row, bar in enumerate(rows):
        y = _TOP + 26 * row
        drawn.append(_label(bar.label, y + 10))
        x = float(_LABELS)
        for part, colour in zip(bar.parts, colours, strict=True):
            width = (WIDTH - _LABELS - _RIGHT) * part / most
            if part:
                drawn.append(tag("rect", x=x, y=y, width=max(width, 1), height=18, rx=2, fill=f"var({colour})"))
            x += width
        drawn.append(tag("text", f"{sum(bar.parts):,g}{unit}", x=x + 8, y=y + 14))
    return _svg(what, _TOP + 26 * len(rows), drawn)


def sides(what: str, rows: Sequence[tuple[str, int, int]]) -> Markup:
    """(label, losses, wins): bars to the left and to the right of a line."""
    most = max((max(losses, wins) for _, losses, wins in rows), default=0) or 1
    half = (WIDTH - _LABELS - 2 * 56) / 2
    middle = _LABELS + 56 + half
    drawn = []
    for row, (label, losses, wins) in enumerate(rows):
        y = _TOP + _ROW * row
        left, right = half * losses / most, half * wins / most
        drawn += [
            _label(label, y + 11),
            tag("rect", x=middle - left - 1, y=y, width=left, height=20, rx=2, fill="var(--other)"),
            tag("rect", x=middle + 1, y=y, width=right, height=20, rx=2, fill="var(--accent)"),
            tag("text", f"{losses:,}", x=middle - left - 8, y=y + 15, text_anchor="end"),
            tag("text", f"{wins:,}", x=middle + right + 8, y=y + 15),
        ]
    bottom = _TOP + _ROW * len(rows)
    drawn.append(tag("line", x1=middle, x2=middle, y1=2, y2=bottom, stroke="var(--ink)"))
    return _svg(what, bottom, drawn)


class _Axis:
    """From values to places, with a few round numbers below."""

    def __init__(self, low: float, high: float) -> None:
        self._low, self._high = low, high

    def __call__(self, value: float) -> float:
        return _LABELS + (WIDTH - _LABELS - _RIGHT) * (value - self._low) / (self._high - self._low)

    def drawn(self, bottom: float) -> Markup:
        rough = (self._high - self._low) / 5
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(power * times for times in (1, 2, 5, 10) if power * times >= rough)
        places = max(0, -math.floor(math.log10(step) + 1e-9))
        ticks = range(math.ceil(self._low / step), math.floor(self._high / step) + 1)
        return Markup("").join(
            tag("line", x1=self(n * step), x2=self(n * step), y1=_TOP, y2=bottom, stroke="var(--line)")
            + tag("text", f"{n * step:.{places}f}", x=self(n * step), y=bottom + 18, text_anchor="middle")
            for n in ticks
        )


def _line(axis: _Axis, ends: tuple[float, float], y: float, colour: str, width: int) -> Markup:
    return tag(
        "line", x1=axis(ends[0]), x2=axis(ends[1]), y1=y, y2=y, stroke=colour, stroke_width=width,
        stroke_linecap="round",
    )  # fmt: skip


def _label(text: str, y: float) -> Markup:
    shown = text if len(text) <= 30 else f"{text[:29]}…"
    return tag("text", shown, tag("title", text), x=_LABELS - 14, y=y + 4, text_anchor="end")


def _svg(what: str, height: float, drawn: Sequence[Markup]) -> Markup:
    return tag("svg", tag("title", what), *drawn, viewBox=f"0 0 {WIDTH} {height:g}", role="img", aria_label=what)


def _short(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float) else value
