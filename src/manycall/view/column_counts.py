"""Counts of the values of a column: facets and histograms. They make room for pages of rows, which users wait for."""

from collections import Counter
from collections.abc import Iterable
from itertools import chain
from typing import Any

from manycall.view.row_index import RowIndex
from manycall.view.row_query import column_sql, row_query

MAX_VALUES = 50


def facets(index: RowIndex, field: str, where: str) -> dict[str, Any]:
    """Return how often each value of a column occurs; the most frequent first.

    Raises:
        ViewRefused: there is no such column, or the filter is not valid.
    """
    column, query = column_sql(index, field), row_query(index, where)
    is_incomplete = not index.is_complete  # before the query, and after a column may have been added
    sql = f"select {column}, count(*) from lines{query.condition} group by 1 order by 2 desc, 1"  # noqa: S608 (a column by number)
    counts = index.table.patient_query(list, sql, query.parameters)
    values = [{"value": value, "count": count} for value, count in counts if value is not None]
    return {
        "field": field, "values": values[:MAX_VALUES], "others": sum(each["count"] for each in values[MAX_VALUES:]),
        "distinct": len(values), "missing": sum(count for value, count in counts if value is None),
        "partial": is_incomplete,
    }  # fmt: skip


def histogram(index: RowIndex, field: str, where: str, bins: int) -> dict[str, Any]:
    """Return how many values of a column of numbers are in each of some intervals of equal width.

    Raises:
        ViewRefused: there is no such column, or the filter is not valid.
    """
    column, query = column_sql(index, field), row_query(index, where)
    is_incomplete = not index.is_complete  # before the query, and after a column may have been added
    number = f"case when {column} < '' then {column} end"  # in SQLite, every number is less than every text
    bounds = f"select min({number}), max({number}), count(*) - count({number}) from lines{query.condition}"  # noqa: S608
    [(low, high, missing)] = index.table.patient_query(list, bounds, query.parameters)
    if low is None:
        return {"field": field, "edges": [], "counts": [], "missing": missing, "partial": is_incomplete}
    low, high, width, bins = _intervals(low, high, bins)
    places = f"select cast(({number} - ?) / ? as integer) from lines{query.condition}"  # noqa: S608
    counted = index.table.patient_query(_occurrences, places, (float(low), float(width), *query.parameters))
    counts = [0] * bins
    for place, count in counted.items():
        if place is not None:
            counts[min(max(place, 0), bins - 1)] += count
    edges = [low + width * k for k in range(bins)] + [high]
    return {"field": field, "edges": edges, "counts": counts, "missing": missing, "partial": is_incomplete}


def _occurrences(rows: Iterable[tuple[Any, ...]]) -> Counter[Any]:
    """Count the values of rows with one value each. SQLite would sort them, which takes twice as long."""
    return Counter(chain.from_iterable(rows))


def _intervals(low: float, high: float, bins: int) -> tuple[float, float, float, int]:
    """Return the bounds, the width and the number of intervals; of few whole numbers, one for each."""
    if low == high:
        return low, low + 1, 1.0, 1
    if float(low).is_integer() and float(high).is_integer() and high - low < bins:
        return low, high + 1, 1.0, int(high - low) + 1
    return low, high, (high - low) / bins, bins
