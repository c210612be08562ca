"""Variables that are added to the fields of rows: chosen at random for each row, or combined as a grid.

A random value is a pure function of the seed, the row id (which includes the sample number) and the name of the
variable. So a run can be repeated, a resumed run chooses the same values, and an added variable does not change the
others.

A variable is chosen from values (data/variable_values.py), or from one of these:

    {values = ["moral", "dialogue"], count = [0, 2]}    a list of zero to two different values
    {by = "tone", values = {formal = ["Sir"], casual = ["hi", "yo"]}}    values that depend on a variable or field
"""

import itertools
import math
from bisect import bisect
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import blake2b
from random import Random
from typing import Any

import msgspec

from manycall.data.variable_values import VariableSpec, listed_values, load_value_files
from manycall.errors import UsageError
from manycall.ids import content_id
from manycall.records import Fields

Pick = Callable[[bytes, Mapping[str, Any]], Any]
"""Chooses the value of one variable, from a hash and from the fields of the row with the variables chosen so far."""
_RANGE_KEYS = {"min", "max"}
_TABLE_KEYS = {*_RANGE_KEYS, "values", "count", "by"}


def hash_seed(seed: int, *what: str) -> bytes:
    """Return an 8-byte hash of the seed and the texts."""
    return blake2b("\0".join((str(seed), *what)).encode("utf-8", "surrogatepass"), digest_size=8).digest()


def hash_uniform(seed_hash: bytes) -> float:
    """Convert a hash to a number in [0, 1)."""
    return (int.from_bytes(seed_hash, "big") >> 11) / 2**53


class VariableSampler:
    """Chooses random values of variables for each row.

    Args:
        specs: name of the variable → its values.
        seed: seed of the run.

    Attributes:
        identity: names, hash of the values and seed, which must be the same in a resumed run.

    Raises:
        UsageError: a spec is not valid, a file does not exist, or a variable depends on a later one.
    """

    def __init__(self, specs: Mapping[str, VariableSpec], seed: int = 0) -> None:
        self._seed = seed
        specs = {name: load_value_files(spec, f"Variable {name!r}") for name, spec in specs.items()}
        self._picks = {name: _pick(spec, f"Variable {name!r}") for name, spec in specs.items()}
        if "id" in self._picks:
            raise UsageError("A variable cannot be named 'id', which is reserved for the row id.")
        _check_conditions(specs)
        try:
            digest = blake2b(msgspec.json.encode(specs), digest_size=8).hexdigest()
        except (TypeError, ValueError) as error:
            raise UsageError(f"The values of variables must be valid JSON values: {error}") from None
        self.identity: dict[str, Any] = {"variables": list(specs), "hash": digest, "seed": seed}

    def __repr__(self) -> str:
        return f"<VariableSampler {', '.join(self._picks)}, seed {self._seed}>"

    def sample(self, row_id: str, fields: Fields) -> Fields:
        """Return the fields of a row together with its variables.

        Raises:
            UsageError: the row already has a field with the name of a variable, or a dependent variable has no values.
        """
        combined = dict(fields)
        for name, pick in self._picks.items():
            if name in fields:
                raise UsageError(f"Row {row_id!r:.100} already has a field {name!r}, which is also a variable.")
            try:
                combined[name] = pick(hash_seed(self._seed, row_id, name), combined)
            except LookupError as error:
                raise UsageError(f"Row {row_id!r:.100}: {error.args[0]}") from None
        return combined


def make_grid(specs: Mapping[str, VariableSpec]) -> "VariableGrid":
    """Return every combination of the values; the last variable changes fastest.

    Raises:
        UsageError: a variable has no values or a duplicate value, which would repeat the same rows.
    """
    return VariableGrid({name: _distinct_values(spec, f"Variable {name!r}") for name, spec in specs.items()})


def _distinct_values(spec: VariableSpec, what: str) -> Sequence[Any]:
    values, seen = listed_values(load_value_files(spec, what), what)[0], set[str]()
    for value in values:
        try:
            name = content_id({"": value})
        except (TypeError, ValueError) as error:
            raise UsageError(f"{what} has a value that cannot be written as JSON: {error}") from None
        if name in seen:
            raise UsageError(f"{what} has the value {value!r:.100} twice, which would repeat the same rows.")
        seen.add(name)
    return values


class VariableGrid(Sequence[Fields]):
    """All combinations of the values of some variables. They are generated on access, not stored."""

    def __init__(self, values: Mapping[str, Sequence[Any]]) -> None:
        self._values = dict(values)

    def __len__(self) -> int:
        return math.prod(map(len, self._values.values()))

    def __iter__(self) -> Iterator[Fields]:
        for each in itertools.product(*self._values.values()):
            yield dict(zip(self._values, each, strict=True))

    def __getitem__(self, index: Any) -> Any:
        return next(itertools.islice(self, index, None))

    def expand(self, fields: Mapping[str, Any]) -> Iterator[tuple[str, Fields]]:
        """Yield (suffix of the row id, fields) for each combination of a row.

        The suffix is a hash of the combination, so that values may be added or reordered.

        Raises:
            UsageError: the row already has a field with the name of a variable.
        """
        for each in self:
            if clash := each.keys() & fields.keys():
                raise UsageError(f"A row already has a field {min(clash)!r}, which is also a grid variable.")
            yield f":{content_id(each)}", {**fields, **each}


def _check_conditions(specs: Mapping[str, Any]) -> None:
    """Check that each dependent variable follows the one it depends on and has values for all of its values."""
    before: dict[str, Any] = {}
    for name, spec in specs.items():
        by = spec.get("by") if isinstance(spec, Mapping) else None
        if isinstance(by, list | dict):
            raise UsageError(f"Variable {name!r}: 'by' must be the name of a variable, got {by!r:.100}.")
        if by in specs and by not in before:
            raise UsageError(f"Variable {name!r} depends on {by!r}, which must be defined before it.")
        if by in before:
            cases = set(map(_case_name, spec["values"]))
            if (missing := next((each for each in _possible(before[by]) if each not in cases), None)) is not None:
                raise UsageError(f"Variable {name!r} depends on {by!r} but has no values for {by} = {missing!r}.")
        before[name] = spec


def _possible(spec: Any) -> Iterator[str]:
    """Yield the case names of all values that a spec may produce; nothing if they cannot be listed."""
    keys = spec.keys() & _TABLE_KEYS if isinstance(spec, Mapping) else set()
    if not keys or keys == _RANGE_KEYS:
        yield from map(_case_name, listed_values(spec, "A variable")[0])
    elif "count" not in keys:
        for part in spec["values"].values() if "by" in spec else [spec["values"]]:
            yield from _possible(part)


def _case_name(value: Any) -> str:
    """Return the key of a value in a table of dependent values: true, false and null as TOML and JSON write them."""
    return msgspec.json.encode(value).decode() if value is None or isinstance(value, bool) else str(value)


def _pick(spec: Any, what: str) -> Pick:
    if not isinstance(spec, Mapping) or not spec.keys() & _TABLE_KEYS:
        return _sample_one(spec, what)
    if unknown := spec.keys() - _TABLE_KEYS:
        raise UsageError(f"{what} has an unknown key {min(unknown)!r}. Known keys: values, count, min, max, by.")
    if ("values" in spec) == bool(spec.keys() & _RANGE_KEYS):
        raise UsageError(f"{what} must have either 'values', or 'min' and 'max'.")
    inner = spec["values"] if "values" in spec else {end: spec[end] for end in spec.keys() & _RANGE_KEYS}
    count = spec.get("count")
    if "by" not in spec:
        return _sample_subset(inner, count, what)
    if not isinstance(inner, Mapping):
        raise UsageError(
            f"{what} depends on {spec['by']!r} and needs a table 'values': value of {spec['by']} = values."
        )
    by = str(spec["by"])
    picks = {
        _case_name(case): _sample_subset(each, count, f"{what} where {by} is {case!r}") for case, each in inner.items()
    }

    def pick(seed_hash: bytes, fields: Mapping[str, Any]) -> Any:
        if by not in fields:
            raise LookupError(f"{what} depends on {by!r}, which is neither a field nor an earlier variable.")
        if (case := _case_name(fields[by])) not in picks:
            raise LookupError(f"{what} depends on {by!r} but has no values for {by} = {case!r:.100}.")
        return picks[case](seed_hash, fields)

    return pick


def _sample_one(spec: Any, what: str) -> Pick:
    values, weights = listed_values(spec, what)
    if weights is None:
        return lambda seed_hash, _: values[int(hash_uniform(seed_hash) * len(values))]
    sums = list(itertools.accumulate(weights))
    return lambda seed_hash, _: values[bisect(sums, hash_uniform(seed_hash) * sums[-1], hi=len(values) - 1)]


def _sample_subset(spec: Any, count: Any, what: str) -> Pick:
    if count is None:
        return _sample_one(spec, what)
    values, weights = listed_values(spec, what)
    minimum, maximum = (count, count) if isinstance(count, int) else count if _is_pair(count) else (-1, -1)
    if not 0 <= minimum <= maximum <= len(values) or len(set(weights or ())) > 1:
        raise UsageError(
            f"{what}: 'count' must be a number or [minimum, maximum], at most {len(values)} values, without weights."
        )

    def pick(seed_hash: bytes, fields: Mapping[str, Any]) -> list[Any]:
        random = Random(seed_hash)
        return random.sample(values, random.randint(minimum, maximum))

    return pick


def _is_pair(count: Any) -> bool:
    return isinstance(count, list | tuple) and len(count) == 2 and all(isinstance(each, int) for each in count)
