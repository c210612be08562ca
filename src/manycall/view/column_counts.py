"""Counts of the values of a column: facets and histograms. After 200 ms, those of the first rows only."""

from typing import Any

from manycall.view.replies import ViewRefused
from manycall.view.row_index import RowIndex
from manycall.view.row_query import RowQuery, column_sql, row_query

COUNT_SECONDS = 0.2
PARTIAL_ROWS = 50_000
MAX_VALUES = 50


def facets(index: RowIndex, field: str, where: str) -> dict[str, Any]:
    """Return how often each value of a column occurs; the most frequent first.

    Raises:
        ViewRefused: there is no such column, or the filter is not valid.
    """
    column, query = column_sql(index, field), row_query(index, where)
    is_incomplete = not index.is_complete  # before the query, and after a column may have been added
    sql = f"select {column}, count(*) from lines{{where}} group by 1 order by 2 desc, 1"  # noqa: S608 (a column by number)
    counts, is_partial = _counted(index, sql, query)
    values = [{"value": value, "count": count} for value, count in counts if value is not None]
    return {
        "field": field, "values": values[:MAX_VALUES], "others": sum(each["count"] for each in values[MAX_VALUES:]),
        "distinct": len(values), "missing": sum(count for value, count in counts if value is None),
        "partial": is_partial or is_incomplete,
    }  # fmt: skip


def histogram(index: RowIndex, field: str, where: str, bins: int) -> dict[str, Any]:
    """Return how many values of a column of numbers are in each of some intervals of equal width.

    Raises:
        ViewRefused: there is no such column, or the filter is not valid.
    """
    column, query = column_sql(index, field), row_query(index, where)
    is_incomplete = not index.is_complete  # before the query, and after a column may have been added
    number = f"case when typeof({column}) in ('integer', 'real') then {column} end"
    bounds = f"select min({number}), max({number}), count(*) - count({number}) from lines{{where}}"  # noqa: S608
    [(low, high, missing)], is_partial = _counted(index, bounds, query)
    if low is None:
        return {"field": field, "edges": [], "counts": [], "missing": missing, "partial": is_incomplete}
    low, high, width, bins = _intervals(low, high, bins)
    grouped = f"select cast(({number} - ?) / ? as integer), count(*) from lines{{where}} group by 1"  # noqa: S608
    counted, was_partial = _counted(index, grouped, query, (float(low), float(width)))
    counts = [0] * bins
    for place, count in counted:
        if place is not None:
            counts[min(max(place, 0), bins - 1)] += count
    edges = [low + width * k for k in range(bins)] + [high]
    return {
        "field": field, "edges": edges, "counts": counts, "missing": missing,
        "partial": is_partial or was_partial or is_incomplete,
    }  # fmt: skip


def _intervals(low: float, high: float, bins: int) -> tuple[float, float, float, int]:
    """Return the bounds, the width and the number of intervals; of few whole numbers, one for each."""
    if low == high:
        return low, low + 1, 1.0, 1
    if float(low).is_integer() and float(high).is_integer() and high - low < bins:
        return low, high + 1, 1.0, int(high - low) + 1
    return low, high, (high - low) / bins, bins


def _counted(
    index: RowIndex, sql: str, query: RowQuery, before: tuple[float, ...] = ()
) -> tuple[list[Any], bool]:  # fmt: skip
    """Return the rows of a query, and whether it covers the first rows only because all would take too long."""
    try:
        return index.table.query(sql.format(where=query.condition), (*before, *query.parameters), COUNT_SECONDS), False
    except ViewRefused:
        first = f"{query.condition or ' where 1'} and n < {PARTIAL_ROWS}"
        return index.table.query(sql.format(where=first), (*before, *query.parameters)), True
