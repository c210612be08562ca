"""The text of the status line: progress, remaining time, money, speed, failures, and then what limits the speed.

In a narrow terminal the least important parts are left out first, then parts are replaced by shorter ones. Only what
limits the speed is ever cut off.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from manycall.records import FailureKind
from manycall.render import _duration, _short, format_money
from manycall.terminal import cut_to_width, display_width, sanitize_line

SEPARATE_KINDS: tuple[FailureKind, ...] = ("content_filter", "refused", "empty", "invalid")
"""Kinds of failure that the line also counts separately."""
THIS_MACHINE = "limited by this machine"
"""How `limited_by` begins if neither an endpoint nor an option limits the speed. Details follow after a colon."""
_SEPARATOR = " · "


def status_text(name: str, figures: Mapping[str, Any], width: int | None = None) -> str:
    """Return the status line for the figures of one second, as the timeline has them.

    Args:
        name: name of the job.
        width: maximum width in terminal columns; None: unlimited.
    """
    vital = [[sanitize_line(form) for form in forms] for forms in _vital_parts(name, figures) if forms[0]]
    texts = [forms[0] for forms in vital]
    optional = [sanitize_line(text) for text in _optional_parts(figures) if text]
    if width is None:
        return _SEPARATOR.join(texts + optional)
    while optional and not _fits(texts + optional, width):
        optional.pop()
    for n in reversed(range(len(vital))):
        for form in vital[n][1:]:
            if not _fits(texts, width):
                texts[n] = form
    return cut_to_width(_SEPARATOR.join(texts + optional), width)


def _fits(texts: list[str], width: int) -> bool:
    return display_width(_SEPARATOR.join(texts)) <= width


def _vital_parts(name: str, figures: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """Yield the forms, the longest first, of each part that any terminal shows. An empty part is left out."""
    ended, total = figures["total_ended"], figures["total_rows"]
    if total is not None and not 0 < total >= ended:  # some rows may belong to an earlier input only
        total = None
    done = f"{ended} rows" if total is None else f"{ended}/{total}"
    share = "" if total is None else f" {ended * 100 // total}%"
    yield f"{name} {done}{share}", done
    if total is not None and ended < total and figures["rows_per_s"] > 0:
        yield (f"ETA {_duration((total - ended) / figures['rows_per_s'])}",)
    yield _money(figures)
    rate = figures["calls_per_s"]
    yield f"{rate:.1f} calls/s", f"{rate:.1f}/s" if rate < 10 else f"{_short(rate)}/s"
    yield _failures(figures)
    limited_by = figures["limited_by"]
    yield f"{figures['in_flight']} in flight ({limited_by})", limited_by, _short_limit(limited_by)


def _short_limit(limited_by: str) -> str:
    """Return what limits the speed without details: of each pool, the last of several limits."""
    return "; ".join(map(_short_pool_limit, limited_by.split("; ")))


def _short_pool_limit(limited_by: str) -> str:
    before, this_machine, _ = limited_by.partition(THIS_MACHINE)
    if this_machine:
        return before + this_machine
    name, colon, limit = limited_by.rpartition(": ")
    return name + colon + limit.rpartition(", ")[2]


def _money(figures: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what all sessions have spent: of each budget, or the cost if it is known."""
    if budgets := figures["budget_usage"]:
        return ", ".join(budgets), ", ".join(each.partition(" of ")[0] for each in budgets)
    cost = figures["total_cost"]
    return ("" if cost is None else format_money(cost, figures["currency"]),)


def _spent_at(spending: Mapping[str, Any], currency: str) -> str:
    """Return what all sessions have spent at one endpoint: its cost, or its calls if it has no price."""
    cost = spending["cost"]
    return f"{spending['endpoint']} " + (
        f"{_short(spending['calls'])} calls" if cost is None else format_money(cost, currency)
    )


def _failures(figures: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the number of failed rows, in full with the kinds that are shown separately."""
    if not figures["failed"]:
        return ("",)
    counts, short = figures["failure_counts"], f"failed {figures['failed']}"
    kinds = ", ".join(f"{kind} {counts[kind]}" for kind in SEPARATE_KINDS if kind in counts)
    return f"{short} ({kinds})" if kinds else short, short


def _optional_parts(figures: Mapping[str, Any]) -> Iterator[str]:
    """Yield the parts that a narrow terminal does not show, the most important first."""
    yield figures["note"]
    yield ", ".join(_spent_at(each, figures["currency"]) for each in figures["endpoints"])
    yield from (
        f"{label} {figures[field]}" if figures[field] else ""
        for label, field in (("truncated", "total_truncated"), ("rejected", "total_rejected"), ("retries", "retries"))
    )
    yield f"{_short(figures['tokens_per_s'])} tok/s"
