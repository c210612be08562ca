import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manycall.ids import MIN_BUCKETS, IdState, IdTable, content_id, explicit_id


@given(st.lists(st.tuples(st.sampled_from(["done", "meet", "look", "dump", "forget"]), st.integers(0, 3000))))
def test_table_knows_what_a_dict_would_know(steps: list[tuple[str, int]]) -> None:
    table, done, seen = IdTable(), set[str](), set[str]()

    def state(name: str) -> IdState:
        return IdState.SEEN if name in seen else IdState.DONE if name in done else IdState.UNKNOWN

    for step, number in steps:
        name = f"row-{number}"
        if step == "done":
            assert table.add_done(name) is (name not in done)
            done.add(name)
        elif step == "meet":
            assert table.mark_seen(name) is state(name)
            seen.add(name)
        elif step == "dump":
            table = IdTable.load(table.dump())
        elif step == "forget":
            table.forget_seen()
            seen.clear()
        assert table.state(name) is state(name)
        assert table.is_done(name) is (name in done)
        assert len(table) >= len(seen | done)


@given(st.binary(max_size=40) | st.integers(0, 60).map(lambda cut: IdTable().dump()[:-cut] + b"x" * (cut % 3)))
def test_bytes_that_are_no_table_are_refused(data: bytes) -> None:
    if data != IdTable().dump():
        with pytest.raises(ValueError, match=r"buckets|requires|sizes"):
            IdTable.load(data)


def test_table_keeps_everything_as_it_grows() -> None:
    table = IdTable()
    for n in range(20_000):
        assert table.add_done(f"a{n}") if n % 2 else table.mark_seen(f"a{n}") is IdState.UNKNOWN
    assert len(table) == 20_000
    assert all(table.state(f"a{n}") is (IdState.DONE if n % 2 else IdState.SEEN) for n in range(20_000))
    assert not any(table.state(f"b{n}") for n in range(20_000))


@pytest.mark.parametrize("expected", [0, 200_000])
def test_table_stays_within_forty_bytes_an_id(expected: int) -> None:
    tracemalloc.start()
    try:
        table = IdTable(expected)
        for n in range(200_000):
            table.mark_seen(str(n))
        assert tracemalloc.get_traced_memory()[0] / len(table) <= 20
    finally:
        tracemalloc.stop()


def test_a_hash_that_lies_across_two_others_is_not_found() -> None:
    table = IdTable(buckets=[bytearray() for _ in range(MIN_BUCKETS)])
    table.mark_seen("another one")
    cell, line, _ = table._find("a")
    line += b"\7" + cell + b"\7" * 12  # two cells of 12 bytes
    assert table.state("a") is IdState.UNKNOWN
    line += cell + b"\1"
    assert table.state("a") is IdState.SEEN


def test_content_decides_the_name_and_field_order_does_not() -> None:
    assert content_id({"a": 1, "b": {"c": 2, "d": 3}}) == content_id({"b": {"d": 3, "c": 2}, "a": 1})
    assert content_id({"a": 1}) != content_id({"a": "1"})


@pytest.mark.parametrize(
    ("fields", "id_field", "name"),
    [
        ({"id": "x"}, None, "x"),
        ({"id": 7}, None, "7"),
        ({"custom_id": "c", "q": 1}, None, "c"),
        ({"id": "x", "custom_id": "c"}, None, "x"),
        ({"key": "k", "id": "x"}, "key", "k"),
        ({"q": 1}, None, None),
    ],
)
def test_a_row_names_itself(fields: dict[str, object], id_field: str | None, name: str | None) -> None:
    assert explicit_id(fields, id_field) == name


@pytest.mark.parametrize(
    ("fields", "id_field"),
    [({"id": ""}, None), ({"id": None}, None), ({"id": 1.5}, None), ({"id": True}, None), ({"id": "x"}, "key")],
)
def test_an_unusable_id_is_an_error(fields: dict[str, object], id_field: str | None) -> None:
    with pytest.raises(ValueError, match=r"id|key"):
        explicit_id(fields, id_field)
