import pytest

import laws


def test_no_attribute_of_another_object_is_assigned_and_no_exception_is_changed() -> None:
    assert laws.check() == []


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("permits.budget = budget", "m.py:1: permits.budget assigns to another object"),
        ("self.permits.budget = budget", "m.py:1: self.permits.budget assigns to another object"),
        ("counters.retries += 1", "m.py:1: counters.retries assigns to another object"),
        ("one.x, self.y = 1, 2", "m.py:1: one.x assigns to another object"),
        ("setattr(client, 'budget', 1)", "m.py:1: client.'budget' assigns to another object"),
        ("object.__setattr__(row, 'id', 1)", "m.py:1: row.'id' assigns to another object"),
        ("del client.budget", "m.py:1: client.budget assigns to another object"),
        (
            "try: f()\nexcept ValueError as error:\n    error.args = ()",
            "m.py:3: error.args changes an exception",
        ),
        ("self.x = self.y = 1\ncls.z: int = 2\nself.x += 1", None),
        ("raise error.replace(attempts=2)", None),
    ],
)
def test_what_breaks_the_law_is_found(source: str, fault: str | None) -> None:
    assert list(laws.faults("m.py", source)) == ([] if fault is None else [fault])


def test_an_allowed_place_that_is_gone_is_found() -> None:
    assert len(list(laws.unused({}))) == len(laws.ALLOWED)
