"""SVG plots: scores with intervals, bar charts, wins and losses. Pure functions; every text is escaped.

Colours and fonts are CSS variables of the page (page.html.j2: --accent, --other, --quiet, --line), so that the plots
also follow its dark theme.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from markupsafe import Markup

PLOT_WIDTH = 770
_LABELS = 260
_LABEL_LENGTH = 40
"""Maximum length of a label. The middle of a longer one is left out: it often ends with the name of a filter."""
_FITTING_LENGTH = 34
"""Maximum length of a label that is not condensed to the width of the labels."""
_RIGHT = 96
_ROW = 34
_TOP = 10


class IntervalMark(NamedTuple):
    """One row of an interval plot.

    Attributes:
        label: Name of the row.
        value: The value, drawn as a dot.
        interval: Its interval, drawn as a line.
        behind: A second interval, drawn as a wider and fainter line behind the first.
    """

    label: str
    value: float
    interval: tuple[float, float] | None
    behind: tuple[float, float] | None = None


class Bar(NamedTuple):
    """One stacked bar. Each part has its own colour."""

    label: str
    parts: Sequence[float]


def svg_tag(name: str, *children: Any, **attributes: Any) -> Markup:
    """Return an SVG element. `_` in an attribute name becomes `-`."""
    pairs = (Markup(' {}="{}"').format(key.rstrip("_").replace("_", "-"), _short(v)) for key, v in attributes.items())
    return Markup("<{0}{1}>{2}</{0}>").format(name, Markup("").join(pairs), Markup("").join(children))


def interval_plot(what: str, marks: Sequence[IntervalMark], *, zero: bool = False) -> Markup:
    """Draw a dot for each value and a line for its interval, on a common scale.

    Args:
        what: Title of the plot.
        marks: The rows.
        zero: Include 0 in the scale and draw a line there.
    """
    shown_values = [x for m in marks for x in (m.value, *(m.interval or ()), *(m.behind or ()))] + [0.0] * zero
    low, high = min(shown_values, default=0.0), max(shown_values, default=1.0)
    pad = (high - low) * 0.08 or 0.05
    axis = _Axis(low - pad, high + pad)
    bottom = _TOP + _ROW * len(marks)
    elements = [axis.draw(bottom)]
    if zero:
        elements.append(svg_tag("line", x1=axis(0), x2=axis(0), y1=_TOP, y2=bottom, stroke="var(--ink)"))
    for row, mark in enumerate(marks):
        y = _TOP + _ROW * (row + 0.5)
        elements.append(_label(mark.label, y))
        if mark.behind:
            elements.append(_line(axis, mark.behind, y, "var(--quiet)", 10))
        if mark.interval:
            elements.append(_line(axis, mark.interval, y, "var(--accent)", 3))
        elements.append(
            svg_tag("circle", cx=axis(mark.value), cy=y, r=5.5, fill="var(--accent)", stroke="var(--paper)")
        )
        elements.append(svg_tag("text", f"{mark.value:{'+' if zero else ''}.4f}", x=PLOT_WIDTH - _RIGHT + 14, y=y + 4))
    return _svg(what, bottom + 30, elements)


def bar_chart(what: str, rows: Sequence[Bar], colours: Sequence[str], *, unit: str = "") -> Markup:
    """Draw horizontal stacked bars with the total after each."""
    maximum = max((sum(bar.parts) for bar in rows), default=0) or 1
    elements = []
    for row, bar in enumerate(rows):
        y = _TOP + 26 * row
        elements.append(_label(bar.label, y + 10))
        x = float(_LABELS)
        for part, colour in zip(bar.parts, colours, strict=True):
            width = (PLOT_WIDTH - _LABELS - _RIGHT) * part / maximum
            if part:
                elements.append(svg_tag("rect", x=x, y=y, width=max(width, 1), height=18, rx=2, fill=f"var({colour})"))
            x += width
        elements.append(svg_tag("text", f"{sum(bar.parts):,g}{unit}", x=x + 8, y=y + 14))
    return _svg(what, _TOP + 26 * len(rows), elements)


def win_loss_chart(what: str, rows: Sequence[tuple[str, int, int]]) -> Markup:
    """Draw losses to the left and wins to the right of a line. Rows are (label, losses, wins)."""
    maximum = max((max(losses, wins) for _, losses, wins in rows), default=0) or 1
    half = (PLOT_WIDTH - _LABELS - 2 * 56) / 2
    middle = _LABELS + 56 + half
    elements = []
    for row, (label, losses, wins) in enumerate(rows):
        y = _TOP + _ROW * row
        left, right = half * losses / maximum, half * wins / maximum
        elements += [
            _label(label, y + 11),
            svg_tag("rect", x=middle - left - 1, y=y, width=left, height=20, rx=2, fill="var(--other)"),
            svg_tag("rect", x=middle + 1, y=y, width=right, height=20, rx=2, fill="var(--accent)"),
            svg_tag("text", f"{losses:,}", x=middle - left - 8, y=y + 15, text_anchor="end"),
            svg_tag("text", f"{wins:,}", x=middle + right + 8, y=y + 15),
        ]
    bottom = _TOP + _ROW * len(rows)
    elements.append(svg_tag("line", x1=middle, x2=middle, y1=2, y2=bottom, stroke="var(--ink)"))
    return _svg(what, bottom, elements)


class _Axis:
    """Horizontal axis: maps values to x coordinates and draws ticks at round numbers."""

    def __init__(self, low: float, high: float) -> None:
        self._low, self._high = low, high

    def __call__(self, value: float) -> float:
        return _LABELS + (PLOT_WIDTH - _LABELS - _RIGHT) * (value - self._low) / (self._high - self._low)

    def draw(self, bottom: float) -> Markup:
        min_step = (self._high - self._low) / 5
        power = 10.0 ** math.floor(math.log10(min_step))
        step = next(power * times for times in (1, 2, 5, 10) if power * times >= min_step)
        decimals = max(0, -math.floor(math.log10(step) + 1e-9))
        ticks = range(math.ceil(self._low / step), math.floor(self._high / step) + 1)
        return Markup("").join(
            svg_tag("line", x1=self(n * step), x2=self(n * step), y1=_TOP, y2=bottom, stroke="var(--line)")
            + svg_tag("text", f"{n * step:.{decimals}f}", x=self(n * step), y=bottom + 18, text_anchor="middle")
            for n in ticks
        )


def _line(axis: _Axis, ends: tuple[float, float], y: float, colour: str, width: int) -> Markup:
    return svg_tag(
        "line", x1=axis(ends[0]), x2=axis(ends[1]), y1=y, y2=y, stroke=colour, stroke_width=width,
        stroke_linecap="round",
    )  # fmt: skip


def _label(text: str, y: float) -> Markup:
    half = _LABEL_LENGTH // 2
    shown = text if len(text) <= _LABEL_LENGTH else f"{text[: half - 1]}…{text[-half:]}"
    fit = {"textLength": _LABELS - 18, "lengthAdjust": "spacingAndGlyphs"} if len(shown) > _FITTING_LENGTH else {}
    return svg_tag("text", shown, svg_tag("title", text), x=_LABELS - 14, y=y + 4, text_anchor="end", **fit)


def _svg(what: str, height: float, elements: Sequence[Markup]) -> Markup:
    return svg_tag(
        "svg", svg_tag("title", what), *elements, viewBox=f"0 0 {PLOT_WIDTH} {height:g}", role="img", aria_label=what
    )


def _short(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float) else value
