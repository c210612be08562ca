"""Data frames and values of other libraries as rows. The stand-ins have what pandas and numpy have."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

import manycall
from manycall.data.row_source import RowSource
from manycall.testing import MemoryTransport, run_virtual


class Scalar:
    """Like numpy.int64."""

    def tolist(self) -> int:
        return 7


class Frame:
    """Like a pandas.DataFrame, as far as it is used."""

    columns = ("topic", "n")
    _cells = (("tea", Scalar()), ("rain", float("nan")))

    def __len__(self) -> int:
        return len(self._cells)

    def itertuples(self, index: bool, name: None) -> Iterator[tuple[Any, ...]]:
        return iter(self._cells)

    @property
    def iloc(self) -> Any:
        return self._cells


Frame.__module__ = "pandas.core.frame"


def test_a_data_frame_is_rows_with_its_length_known() -> None:
    source = RowSource(Frame(), samples=2)
    assert (source.total, source.first_row and source.first_row["topic"]) == (4, "tea")


def test_cells_and_returned_scalars_are_written_as_json() -> None:
    async def count(row: dict[str, Any], llm: manycall.LLM) -> dict[str, Any]:
        await llm.chat(row["topic"])
        return {"count": Scalar()}

    async def main() -> None:
        llm = manycall.Client("m", base_url="http://s/v1", transport=MemoryTransport(lambda body: "fine"))
        assert (await llm.map(count, Frame(), out="f.jsonl", progress=False)).done == 2

    run_virtual(main())
    rows = [msgspec.json.decode(line) for line in Path("f.jsonl").read_bytes().splitlines()]
    assert sorted((row["topic"], row["n"], row["count"]) for row in rows if row["n"]) == [("tea", 7, 7)]
    assert [row["n"] for row in rows if row["topic"] == "rain"] == [None]
