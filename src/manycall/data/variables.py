"""Variables that no row brings along: drawn for each row, or crossed with the rows.

A draw is a pure function of the seed, the row's id (which holds its sample) and the variable's name. So a run can be
repeated, a resumed run draws the same, and a variable that is added changes none of the others.

What a variable is drawn from:

    ["tea", "rain"]                                  each as likely
    "topics.txt"                                     each line of the file
    {formal = 3, casual = 1}                         with weights
    {from = ["moral", "dialogue"], take = [0, 2]}    none to two of them, all different: a list
    {by = "tone", from = {formal = ["Sir"], casual = ["hi", "yo"]}}    by what another variable (or field) holds
"""

import itertools
import math
from bisect import bisect
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from random import Random
from typing import Any

import msgspec

from manycall.data.settings import read_text, settings
from manycall.errors import UsageError
from manycall.ids import content_id
from manycall.records import Fields

Spec = str | Path | Sequence[Any] | Mapping[Any, Any]
"""What a variable is drawn from; see above."""
Pick = Callable[[bytes, Mapping[str, Any]], Any]
"""Draws one variable at a place; the fields are those of the row, and the variables drawn before."""
_FULL = {"from", "take", "by"}


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
        self._picks = {name: _pick(spec, f"the variable {name!r}") for name, spec in specs.items()}
        if "id" in self._picks:
            raise UsageError("a variable cannot be called 'id', which names the row")
        _check_conditions(specs)
        told = {name: _plain(spec) for name, spec in specs.items()}
        digest = blake2b(msgspec.json.encode(told), digest_size=8).hexdigest()
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
        UsageError: a variable without values.
    """
    return Crossing({name: _values(spec, f"the variable {name!r}")[0] for name, spec in specs.items()})


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


def said(words: Sequence[str]) -> dict[str, Spec]:
    """`name=a,b,c` and `name=file.txt`, and files of variables, as on the command line.

    Raises:
        UsageError: a word that is neither.
    """
    specs: dict[str, Spec] = {}
    for word in words:
        name, equals, values = word.partition("=")
        if not equals and word.endswith((".toml", ".json")):
            specs.update(settings(Path(word)))
        elif not name or not values:
            raise UsageError(f"{word!r} is not NAME=a,b,c or NAME=FILE.txt, nor a file of variables (.toml, .json)")
        else:
            specs[name] = values if values.endswith(".txt") else values.split(",")
    return specs


def _check_conditions(specs: Mapping[str, Spec]) -> None:
    """Every value that a variable may have must be provided for where another is drawn by it."""
    before: dict[str, set[str]] = {}
    for name, spec in specs.items():
        by = spec.get("by") if isinstance(spec, Mapping) else None
        if by in specs and by not in before:
            raise UsageError(f"the variable {name!r} is drawn by {by!r}, which must stand before it")
        if isinstance(spec, Mapping) and by in before and (missing := before[by] - set(map(str, spec["from"]))):
            raise UsageError(f"the variable {name!r} is drawn by {by!r}: nothing is said for {min(missing)!r}")
        before[name] = _possible(spec)


def _possible(spec: Any) -> set[str]:
    """All that may be drawn, where it can be told."""
    if isinstance(spec, Mapping) and spec.keys() & _FULL:
        if "take" in spec:
            return set()
        parts = spec["from"].values() if "by" in spec else [spec["from"]]
        return set().union(*map(_possible, parts))
    return set(map(str, _values(spec, "a variable")[0]))


def _pick(spec: Spec, what: str) -> Pick:
    if not isinstance(spec, Mapping) or not spec.keys() & _FULL:
        return _one(spec, what)
    if unknown := spec.keys() - _FULL:
        raise UsageError(f"{what} has {min(unknown)!r}; there are 'from', 'take' and 'by'")
    if "from" not in spec:
        raise UsageError(f"{what} says not what to draw it 'from'")
    inner, take = spec["from"], spec.get("take")
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


def _one(spec: Spec, what: str) -> Pick:
    values, weights = _values(spec, what)
    sums = list(itertools.accumulate(weights))
    return lambda place, _: values[bisect(sums, chance(place) * sums[-1], hi=len(values) - 1)]


def _some(spec: Spec, take: Any, what: str) -> Pick:
    if take is None:
        return _one(spec, what)
    values, weights = _values(spec, what)
    least, most = (take, take) if isinstance(take, int) else take if _is_pair(take) else (-1, -1)
    if not 0 <= least <= most <= len(values) or len(set(weights)) > 1:
        raise UsageError(
            f"{what}: 'take' must be a number or [least, most], up to its {len(values)} values, without weights"
        )

    def pick(place: bytes, fields: Mapping[str, Any]) -> list[Any]:
        random = Random(place)
        return random.sample(values, random.randint(least, most))

    return pick


def _is_pair(take: Any) -> bool:
    return isinstance(take, list | tuple) and len(take) == 2 and all(isinstance(each, int) for each in take)


def _values(spec: Any, what: str) -> tuple[list[Any], list[float]]:
    """The values, and how likely each is."""
    match spec:
        case str() | Path():
            values = [line for line in read_text(Path(spec), what).splitlines() if line.strip()]
        case Mapping():
            values = list(spec)
        case Sequence():
            values = list(spec)
        case _:
            values = []
    weights = list(spec.values()) if isinstance(spec, Mapping) else [1] * len(values)
    if not all(isinstance(weight, int | float) and 0 <= weight < math.inf for weight in weights) or not sum(weights):
        raise UsageError(f"{what} needs values to draw from: a list, a file of lines, or a table of weights")
    return values, weights


def _plain(spec: Any) -> Any:
    """The spec with the files' lines in it: what is drawn from, not where it stands."""
    match spec:
        case str() | Path():
            return read_text(Path(spec), "a variable").splitlines()
        case Mapping():
            return [[str(name), each if name in ("take", "by") else _plain_value(each)] for name, each in spec.items()]
    return spec


def _plain_value(each: Any) -> Any:
    return each if isinstance(each, int | float) else _plain(each)
