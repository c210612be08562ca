import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manycall.ids import IdTable, Known, content_id, given_id


@given(st.lists(st.tuples(st.sampled_from(["done", "meet", "look"]), st.integers(0, 3000))))
def test_table_knows_what_a_dict_would_know(steps: list[tuple[str, int]]) -> None:
    table, model = IdTable(), dict[str, Known]()
    for step, number in steps:
        name = f"row-{number}"
        before = model.get(name, Known.NOT)
        if step == "done":
            assert table.add_done(name) is (before is Known.NOT)
            model.setdefault(name, Known.DONE)
        elif step == "meet":
            assert table.meet(name) is before
            model[name] = Known.MET
        assert table.look(name) is model.get(name, Known.NOT)
        assert len(table) == len(model)


def test_table_keeps_everything_as_it_grows() -> None:
    table = IdTable()
    for n in range(20_000):
        assert table.add_done(f"a{n}") if n % 2 else table.meet(f"a{n}") is Known.NOT
    assert len(table) == 20_000
    assert all(table.look(f"a{n}") is (Known.DONE if n % 2 else Known.MET) for n in range(20_000))
    assert not any(table.look(f"b{n}") for n in range(20_000))


@pytest.mark.parametrize("expected", [0, 200_000])
def test_table_stays_within_forty_bytes_an_id(expected: int) -> None:
    tracemalloc.start()
    try:
        table = IdTable(expected)
        for n in range(200_000):
            table.meet(str(n))
        assert tracemalloc.get_traced_memory()[0] / len(table) <= 20
    finally:
        tracemalloc.stop()


def test_a_hash_that_lies_across_two_others_is_not_found() -> None:
    table = IdTable()
    table.meet("another one")
    cell, line, _ = table._find("a")
    line += b"\7" + cell + b"\7" * 12  # two cells of 12 bytes
    assert table.look("a") is Known.NOT
    line += cell + b"\1"
    assert table.look("a") is Known.MET


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
    assert given_id(fields, id_field) == name


@pytest.mark.parametrize(
    ("fields", "id_field"),
    [({"id": ""}, None), ({"id": None}, None), ({"id": 1.5}, None), ({"id": True}, None), ({"id": "x"}, "key")],
)
def test_an_unusable_id_is_an_error(fields: dict[str, object], id_field: str | None) -> None:
    with pytest.raises(ValueError, match=r"id|key"):
        given_id(fields, id_field)
