"""A query over the rows of a file: filter, search and order, as SQL over the index."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from manycall.view.replies import ViewRefused
from manycall.view.row_columns import Column, Field
from manycall.view.row_index import RowIndex
from manycall.view.text_search import TextSearch
from manycall.view.where import Junction, Sql, Test, compile_filter, parse_filter

COMPARISONS = {"=": "= ?", "!=": "is not ?", "<": "< ?", "<=": "<= ?", ">": "> ?", ">=": ">= ?"}
NULL_COMPARISONS = {"=": "is null", "!=": "is not null"}
LENGTH = ".len"
_NUMBER_IN_TEXT = (
    "case when {0} glob '*[0-9]*' and {0} not glob '*[^-+0-9.,$]*' "
    "then cast(replace(replace({0}, ',', ''), '$', '') as real) end"
)
"""The number that a text is, such as `1,800` or `$9.50`, as SQL; null for any other text."""
MAX_NAMES_IN_MESSAGE = 30


class RowQuery(NamedTuple):
    """A parsed query.

    Attributes:
        where: the condition; None: all rows.
        order: the columns to sort by, as SQL; "" for the order of the file.
        searches: the text searches that the condition refers to.
    """

    where: Sql | None
    order: str
    searches: list[TextSearch]

    @property
    def is_everything(self) -> bool:
        """Whether all rows are wanted, in the order of the file."""
        return self.where is None and not self.order

    @property
    def is_searched(self) -> bool:
        """Whether all searches are complete."""
        return all(search.is_complete for search in self.searches)

    @property
    def condition(self) -> str:
        """The condition as a part of a query."""
        return "" if self.where is None else f" where {self.where.text}"

    @property
    def parameters(self) -> tuple[Any, ...]:
        """The bound parameters of the condition."""
        return () if self.where is None else self.where.parameters


def row_query(index: RowIndex, where: str, sort: str = "", text: str = "", text_field: str = "") -> RowQuery:
    """Return a query.

    Args:
        where: a filter, as where.py describes it.
        sort: a column, with `-` before it for descending order.
        text: a text to search for.
        text_field: the field in which it is searched for; "" for all.

    Raises:
        ViewRefused: the filter is not valid, or a column does not exist.
    """
    compiler = _Compiler(index)
    filter, typed = parse_filter(where), Test(text_field, "~", text) if text else None
    parts = [part for part in (filter, typed) if part is not None]
    condition = None
    if parts:
        condition = compile_filter(parts[0] if len(parts) == 1 else Junction("and", tuple(parts)), compiler)
    return RowQuery(condition, compiler.order(sort), compiler.searches)


def column_sql(index: RowIndex, name: str) -> str:
    """Return a column as SQL.

    Raises:
        ViewRefused: there is no such column.
    """
    return _Compiler(index).column(name)[0]


class _Compiler:
    """Makes conditions of comparisons, and columns of names."""

    def __init__(self, index: RowIndex) -> None:
        self._index = index
        self.searches: list[TextSearch] = []

    def __call__(self, test: Test) -> Sql:
        if not test.name or (test.operator == "~" and self._is_long(test.name)):
            search = self._index.search(str(test.value), test.name)
            self.searches.append(search)
            return Sql("n in (select n from hits where search = ?)", (search.number,))
        column, is_number = self.column(test.name)
        if test.value is None:
            if test.operator not in NULL_COMPARISONS:
                raise ViewRefused(400, f"null can only be compared with = and !=, not {test.operator}.")
            return Sql(f"{column} {NULL_COMPARISONS[test.operator]}")
        if test.operator == "~":
            escaped = str(test.value).replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
            return Sql(f"coalesce({column} like ? escape '\\', 0)", (f"%{escaped}%",))
        if is_number and isinstance(test.value, str) and test.operator not in NULL_COMPARISONS:
            raise ViewRefused(400, f"{test.name} is a number and cannot be compared with {test.value!r}.")
        value = int(test.value) if isinstance(test.value, bool) else test.value
        return Sql(f"coalesce({column} {COMPARISONS[test.operator]}, 0)", (value,))

    def order(self, sort: str) -> str:
        """Return the columns to sort by. Numbers in texts come before other texts, missing values last."""
        if not sort:
            return ""
        column, is_number = self.column(sort.removeprefix("-"))
        keys = [column] if is_number else [_NUMBER_IN_TEXT.format(column), column]
        direction = "desc" if sort.startswith("-") else "nulls last"
        return ", ".join([*(f"{key} {direction}" for key in keys), "n"])

    def column(self, name: str) -> tuple[str, bool]:
        """Return a column as SQL, and whether it holds numbers.

        Raises:
            ViewRefused: there is no such column.
        """
        columns = self._index.table.columns
        same = (each for each in columns.values() if each.source == name and each.derivation == "value")
        column = columns.get(name) or next(same, None) or self._new_column(name)
        return self._index.require_column(column), column.type in ("number", "boolean")

    def _new_column(self, name: str) -> Column:
        layout = self._index.layout
        source, derives_length = name.removesuffix(LENGTH), name.endswith(LENGTH)
        if (field := layout.field(name)) is not None:
            return Column(name, name, field.type)
        if derives_length and (field := layout.field(layout.roles.get(source, source))) is not None:
            return Column(name, field.name, "number", "length")
        raise unknown_column(name, self._index)

    def _is_long(self, name: str) -> bool:
        field: Field | None = self._index.layout.field(name)
        return name not in self._index.table.columns and field is not None and field.type == "text"


def unknown_column(name: str, index: RowIndex) -> ViewRefused:
    """Return the refusal of a name that no row has, with the names that exist."""
    names: Mapping[str, Any] = {**index.table.columns, **{field.name: None for field in index.layout.fields}}
    listed = ", ".join([*names][:MAX_NAMES_IN_MESSAGE]) or "none"
    return ViewRefused(400, f"There is no column {name!r}.", f"Columns: {listed}. NAME.len is the length of a text.")
