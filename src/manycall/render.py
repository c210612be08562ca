"""Format tables, amounts, durations and shares as text."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from manycall.terminal import display_width, pad_to_width, sanitize_line


def format_failure_counts(failure_counts: Mapping[str, int]) -> str:
    """Return the number of failed rows by kind, the most frequent first: `12 failed: 7 content_filter, 5 empty`."""
    by_count = sorted(failure_counts.items(), key=lambda pair: (-pair[1], pair[0]))
    return f"{sum(failure_counts.values())} failed: " + ", ".join(f"{count} {kind}" for kind, count in by_count)


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table for a terminal. In a Markdown document, escape the cells with `manycall.markdown`."""
    lines = [[sanitize_line(cell) for cell in line] for line in (head, *rows)]
    widths = [max(map(display_width, column)) for column in zip(*lines, strict=True)]
    texts = [[pad_to_width(cell, width) for cell, width in zip(line, widths, strict=True)] for line in lines]
    title, *body = ["| " + " | ".join(line) + " |" for line in texts]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([title, rule, *body])


def format_tokens(amount: float) -> str:
    """Return a number of tokens as text: `1,200 tokens`."""
    return f"{amount:,.0f} tokens"


_SYMBOLS = {"USD": "$", "CNY": "¥", "EUR": "€", "GBP": "£"}


def format_money(amount: float, currency: str = "USD") -> str:
    """Return an amount as text: `$5.00`, or `$0.0012` below one dollar; `5.00 CHF` in a currency without a symbol."""
    text = f"{amount:,.2f}" if amount >= 1 else f"{amount:.4f}"
    return f"{_SYMBOLS[currency]}{text}" if currency in _SYMBOLS else f"{text} {currency}"


def format_score(value: float | None) -> str:
    """Return a score as text with four decimals; `N/A` if no row was scored."""
    return "N/A" if value is None else f"{value:.4f}"


def format_stderr(value: float | None) -> str:
    """Return a standard error as text: `±0.0119`, or `N/A` if there is none."""
    return "N/A" if value is None else f"±{value:.4f}"


def format_p_value(p: float | None) -> str:
    """Return a p-value as text with three significant digits; `N/A` if there is none."""
    return "N/A" if p is None else f"{p:.3g}"


def format_share(count: int | None, of: int) -> str:
    """Return a count with its share of `of`: `12 (1.2%)`."""
    if count is None:
        return "not known"
    return f"{count:,} ({count / of:.1%})" if of else f"{count:,}"


def as_text(value: Any) -> str:
    """Return a JSON value as text. A string stays as it is; other values are written as in JSON: `true`, `0.5`."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _short(value: float) -> str:
    return f"{value:.0f}" if value < 1000 else f"{value / 1000:.1f}k" if value < 1e6 else f"{value / 1e6:.1f}M"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f}s"
    minutes, hours = int(seconds // 60) % 60, int(seconds // 3600)
    return f"{hours}h{minutes:02}m" if hours else f"{minutes}m{int(seconds % 60):02}s"
