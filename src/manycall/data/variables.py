"""Variables that no row brings along: drawn for each row, or crossed with the rows.

A draw is a pure function of the seed, the row's id (which holds its sample) and the variable's name. So a run can be
repeated, a resumed run draws the same, and a variable that is added changes none of the others.

What a variable is drawn from are values (data/values.py), or

    {from = ["moral", "dialogue"], take = [0, 2]}    none to two of them, all different: a list
    {by = "tone", from = {formal = ["Sir"], casual = ["hi", "yo"]}}    by what another variable (or field) holds
"""

import itertools
import math
from bisect import bisect
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import blake2b
from random import Random
from typing import Any

import msgspec

from manycall.data.values import Spec, resolved, values
from manycall.errors import UsageError
from manycall.ids import content_id
from manycall.records import Fields

Pick = Callable[[bytes, Mapping[str, Any]], Any]
"""Draws one variable at a place; the fields are those of the row, and the variables drawn before."""
_FULL = {"from", "to", "take", "by"}


def place(seed: int, *what: str) -> bytes:
    """Where to draw from: always the same 8 bytes for the same things."""
    return blake2b("\0".join((str(seed), *what)).encode("utf-8", "surrogatepass"), digest_size=8).digest()


def chance(place: bytes) -> float:
    """A number in [0, 1)."""
    return (int.from_bytes(place, "big") >> 11) / 2**53


class Draw:
    """Variables that are drawn for each row.

    Args:
        specs: variable -> what it is drawn from.
        seed: of the run.

    Attributes:
        identity: what a resumed run must draw from too.

    Raises:
        UsageError: a spec that is none, a file that is not there, a condition on a variable drawn later.
    """

    def __init__(self, specs: Mapping[str, Spec], seed: int = 0) -> None:
        self._seed = seed
        specs = {name: resolved(spec, f"the variable {name!r}") for name, spec in specs.items()}
        self._picks = {name: _pick(spec, f"the variable {name!r}") for name, spec in specs.items()}
        if "id" in self._picks:
            raise UsageError("a variable cannot be called 'id', which names the row")
        _check_conditions(specs)
        try:
            digest = blake2b(msgspec.json.encode(specs), digest_size=8).hexdigest()
        except (TypeError, ValueError) as error:
            raise UsageError(f"variables must be drawn from what can be written as JSON: {error}") from None
        self.identity: dict[str, Any] = {"variables": list(specs), "hash": digest, "seed": seed}

    def __repr__(self) -> str:
        return f"<Draw {', '.join(self._picks)}, seed {self._seed}>"

    def __call__(self, row_id: str, fields: Fields) -> Fields:
        """The row's fields and its variables.

        Raises:
            UsageError: a variable that the row has already, or a condition that nothing is drawn for.
        """
        all_of_them = dict(fields)
        for name, pick in self._picks.items():
            if name in fields:
                raise UsageError(f"the row {row_id!r:.100} has a field {name!r} already, which is to be drawn")
            try:
                all_of_them[name] = pick(place(self._seed, row_id, name), all_of_them)
            except LookupError as error:
                raise UsageError(f"the row {row_id!r:.100}: {name!r} cannot be drawn: {error.args[0]}") from None
        return all_of_them


def combinations(specs: Mapping[str, Spec]) -> "Crossing":
    """Every combination of the values, the last variable changing fastest.

    Raises:
        UsageError: a variable without values, or with one that comes twice: both would be the same row.
    """
    return Crossing({name: _different(spec, f"the variable {name!r}") for name, spec in specs.items()})


def _different(spec: Spec, what: str) -> Sequence[Any]:
    found, met = values(resolved(spec, what), what)[0], set[str]()
    for value in found:
        try:
            name = content_id({"": value})
        except (TypeError, ValueError) as error:
            raise UsageError(f"{what} has a value that cannot be written as JSON: {error}") from None
        if name in met:
            raise UsageError(f"{what} has {value!r:.100} twice, and would do the same rows twice")
        met.add(name)
    return found


class Crossing(Sequence[Fields]):
    """All combinations of some variables' values; they are made as they are asked for, never kept."""

    def __init__(self, values: Mapping[str, Sequence[Any]]) -> None:
        self._values = dict(values)

    def __len__(self) -> int:
        return math.prod(map(len, self._values.values()))

    def __iter__(self) -> Iterator[Fields]:
        for each in itertools.product(*self._values.values()):
            yield dict(zip(self._values, each, strict=True))

    def __getitem__(self, index: Any) -> Any:
        return next(itertools.islice(self, index, None))

    def times(self, fields: Mapping[str, Any]) -> Iterator[tuple[str, Fields]]:
        """A row, once for each combination: what its name gets besides, and its fields. That is the combination's own
        hash, so that values may be added and put in another order.

        Raises:
            UsageError: the row has such a field already.
        """
        for each in self:
            if clash := each.keys() & fields.keys():
                raise UsageError(f"a row has a field {min(clash)!r} already, which is to be crossed with it")
            yield f":{content_id(each)}", {**fields, **each}


def _check_conditions(specs: Mapping[str, Any]) -> None:
    """Every value that a variable may have must be provided for where another is drawn by it."""
    before: dict[str, Any] = {}
    for name, spec in specs.items():
        by = spec.get("by") if isinstance(spec, Mapping) else None
        if by in specs and by not in before:
            raise UsageError(f"the variable {name!r} is drawn by {by!r}, which must stand before it")
        if by in before:
            cases = set(map(str, spec["from"]))
            if (missing := next((each for each in _possible(before[by]) if each not in cases), None)) is not None:
                raise UsageError(f"the variable {name!r} is drawn by {by!r}: nothing is said for {missing!r}")
        before[name] = spec


def _possible(spec: Any) -> Iterator[str]:
    """All that may be drawn, where it can be told."""
    full = spec.keys() & _FULL if isinstance(spec, Mapping) else set()
    if not full or full == {"from", "to"}:
        yield from map(str, values(spec, "a variable")[0])
    elif "take" not in full:
        for part in spec["from"].values() if "by" in spec else [spec["from"]]:
            yield from _possible(part)


def _pick(spec: Any, what: str) -> Pick:
    if not isinstance(spec, Mapping) or not spec.keys() & _FULL:
        return _one(spec, what)
    if unknown := spec.keys() - _FULL:
        raise UsageError(f"{what} has {min(unknown)!r}; there are 'from', 'to', 'take' and 'by'")
    if "from" not in spec:
        raise UsageError(f"{what} says not what to draw it 'from'")
    inner = {end: spec[end] for end in ("from", "to")} if "to" in spec else spec["from"]
    take = spec.get("take")
    if "by" not in spec:
        return _some(inner, take, what)
    if not isinstance(inner, Mapping):
        raise UsageError(f"{what}, drawn by {spec['by']!r}, needs a table 'from': what that holds = what to draw from")
    by = str(spec["by"])
    picks = {str(case): _some(each, take, f"{what} where {by} is {case!r}") for case, each in inner.items()}

    def pick(place: bytes, fields: Mapping[str, Any]) -> Any:
        if by not in fields:
            raise LookupError(f"there is no {by!r} by which to draw it (variables are drawn in order)")
        if (case := str(fields[by])) not in picks:
            raise LookupError(f"nothing is said for {by} = {case!r:.100}")
        return picks[case](place, fields)

    return pick


def _one(spec: Any, what: str) -> Pick:
    found, weights = values(spec, what)
    if weights is None:
        return lambda place, _: found[int(chance(place) * len(found))]
    sums = list(itertools.accumulate(weights))
    return lambda place, _: found[bisect(sums, chance(place) * sums[-1], hi=len(found) - 1)]


def _some(spec: Any, take: Any, what: str) -> Pick:
    if take is None:
        return _one(spec, what)
    found, weights = values(spec, what)
    least, most = (take, take) if isinstance(take, int) else take if _is_pair(take) else (-1, -1)
    if not 0 <= least <= most <= len(found) or len(set(weights or ())) > 1:
        raise UsageError(
            f"{what}: 'take' must be a number or [least, most], up to its {len(found)} values, without weights"
        )

    def pick(place: bytes, fields: Mapping[str, Any]) -> list[Any]:
        random = Random(place)
        return random.sample(found, random.randint(least, most))

    return pick


def _is_pair(take: Any) -> bool:
    return isinstance(take, list | tuple) and len(take) == 2 and all(isinstance(each, int) for each in take)
