"""The figures of several runs as those of one, for a common status line."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from manycall.render import format_money

_SUMMED = (
    "calls_per_s", "tokens_per_s", "rows_per_s", "failed", "retries",
    "total_ended", "total_rejected", "total_truncated",
)  # fmt: skip


def sum_figures(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the figures of one second of several runs as the figures of one, as `status_text` needs them.

    The runs share clients, so that the calls in flight of a client are in the figures of each of its runs.

    Args:
        runs: the figures of each run. `client` is the number of its client.
    """
    totals = [each["total_rows"] for each in runs]
    active = [each for each in runs if each["total_rows"] is None or each["total_ended"] < each["total_rows"]] or runs
    clients = {each["client"]: each for each in active}.values()
    costs = [each["total_cost"] for each in runs]
    currencies = {each["currency"] for each in runs}
    failures: Counter[str] = Counter()
    for each in runs:
        failures.update(each["failure_counts"])
    return {
        **{name: sum(each[name] for each in runs) for name in _SUMMED},
        "total_rows": None if None in totals else sum(totals),
        "failure_counts": dict(failures),
        "in_flight": sum(each["in_flight"] for each in clients),
        "limited_by": ", ".join(dict.fromkeys(each["limited_by"] for each in clients)),
        "total_cost": None if None in costs or len(currencies) > 1 else sum(costs),
        "currency": min(currencies),
        "budget_usage": runs[-1]["budget_usage"],
        "endpoints": [],
        "note": _spent_apart(runs) if len(currencies) > 1 and None not in costs else "",
    }


def _spent_apart(runs: Sequence[Mapping[str, Any]]) -> str:
    """Return the costs of runs that are paid in several currencies."""
    sums: Counter[str] = Counter()
    for each in runs:
        sums[each["currency"]] += each["total_cost"]
    return " + ".join(format_money(amount, currency) for currency, amount in sorted(sums.items()))
