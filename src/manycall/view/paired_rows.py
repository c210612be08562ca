"""The rows of two files paired by id, in a temporary database: a million ids would take too much memory."""

import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from manycall.view.column_table import CACHE_KIB
from manycall.view.open_indexes import OpenIndex
from manycall.view.row_query import column_sql

SIDES = ("differ", "won", "lost", "both_right", "both_wrong", "same", "only_first", "only_other")
"""Won: the other run has the higher score. Differ: won or lost."""
_BATCH = 50_000
_SIDE = """case when b.n is null then 'only_first'
    when a.score is null or b.score is null then 'unscored'
    when b.score > a.score then 'won' when b.score < a.score then 'lost'
    when a.score = 1 then 'both_right' when a.score = 0 then 'both_wrong' else 'same' end"""


class PairedRows:
    """The questions of two runs: id, first row and mean score in each.

    Args:
        opened: the indexes of the two files.
        metric: the flat name of a score.
        has_samples: ids are those of samples (`id#k`), which are averaged.

    Attributes:
        counts: number of questions of each side.
    """

    def __init__(self, opened: Sequence[OpenIndex], metric: str, has_samples: bool) -> None:
        self._lock = threading.Lock()
        self._database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        for pragma in ("journal_mode=off", "synchronous=off", f"cache_size=-{CACHE_KIB}", "temp_store=file"):
            self._database.execute(f"pragma {pragma}")
        for name, each in zip("ab", opened, strict=True):
            self._database.execute("create table scores (id text, n integer, score)")
            self._database.execute("begin")
            self._database.executemany("insert into scores values (?, ?, ?)", _scores(each, metric, has_samples))
            self._database.execute("commit")
            self._database.execute(f"create table {name} (id text primary key, n integer, score) without rowid")
            self._database.execute(f"insert into {name} select id, min(n), avg(score) from scores group by id")  # noqa: S608
            self._database.execute("drop table scores")
        self._database.execute(
            f"create table pairs as select coalesce(a.id, b.id) as id, a.n as an, b.n as bn, a.score as ascore, "  # noqa: S608
            f"b.score as bscore, {_SIDE} as side from a left join b on a.id = b.id "
            f"union all select b.id, null, b.n, null, b.score, 'only_other' from b where id not in (select id from a)"
        )
        self._database.execute("create index sides on pairs (side, an, bn)")
        counted = dict(self._database.execute("select side, count(*) from pairs group by side"))
        counted["differ"] = counted.get("won", 0) + counted.get("lost", 0)
        self.counts: dict[str, int] = {side: counted.get(side, 0) for side in SIDES}

    def questions(self, side: str, offset: int, limit: int) -> list[tuple[Any, ...]]:
        """Return (id, n, n, score, score) of some questions, in the order of the first file."""
        with self._lock:
            sql = "select id, an, bn, ascore, bscore from pairs where side in (?, ?) order by an, bn limit ? offset ?"
            sides = ("won", "lost") if side == "differ" else (side, side)
            return self._database.execute(sql, (*sides, limit, offset)).fetchall()

    def close(self) -> None:
        """Close the database, which removes it."""
        with self._lock:
            self._database.close()


def _scores(opened: OpenIndex, metric: str, has_samples: bool) -> Iterator[tuple[str, int, Any]]:
    """Yield (question, n, score) of each row."""
    index = opened.rows
    identifier, score = column_sql(index, index.layout.roles.get("id", "id")), column_sql(index, metric)
    sql = f"select {identifier}, n, {score} from lines where n >= ? and n < ? and {identifier} is not null"  # noqa: S608
    for first in range(0, index.indexed, _BATCH):
        for row_id, n, value in index.table.query(sql, (first, first + _BATCH), seconds=None):
            question = row_id.rpartition("#")[0] if has_samples else ""
            yield question or row_id, n, value if isinstance(value, int | float) else None


class KeptPairs:
    """The pairs of the runs that were compared last; those of other runs are closed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: tuple[Any, PairedRows] | None = None

    def get(self, key: Any, make: Callable[[], PairedRows]) -> PairedRows:
        """Return the pairs with a key; make them if they are not the ones that were used last."""
        with self._lock:
            if self._kept is None or self._kept[0] != key:
                self._drop()
                self._kept = (key, make())
            return self._kept[1]

    def _drop(self) -> None:
        if self._kept is not None:
            self._kept[1].close()
            self._kept = None

    def close(self) -> None:
        """Close the pairs."""
        with self._lock:
            self._drop()
