"""The values of variables, and their notation on the command line.

["tea", "rain"]              a list
"topics.txt"                 the lines of a text file
"topics.jsonl:topic"         a field of the rows in a file (.jsonl, .json, .csv, .tsv, .parquet)
{formal = 3, casual = 1}     values with weights
{min = 18, max = 80}         whole numbers, including both ends
"""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from manycall.data.config_files import is_file, read_config, read_text
from manycall.data.row_files import read_rows
from manycall.errors import UsageError
from manycall.option_flags import option, quoted_option

VariableSpec = str | Path | Sequence[Any] | Mapping[Any, Any]
"""The values of a variable in the notation above, or a combination of them (data/variables.py)."""
_ROW_FILE_SUFFIXES = (".jsonl", ".json", ".csv", ".tsv", ".parquet")
_OTHER_COMMAS = re.compile("[\uff0c\u3001]")
"""The full-width comma and the enumeration comma of Chinese texts."""
_NEEDS = "needs values: a list, a text file, FILE.jsonl:FIELD, a table of weights, or 'min' and 'max'"


def load_value_files(spec: Any, what: str) -> Any:
    """Return the spec with file names replaced by the values in the files, so that each file is read once.

    Args:
        what: what the values are for, in messages.

    Raises:
        UsageError: a file does not exist or does not contain values.
    """
    match spec:
        case str() | Path():
            return _values_in_file(str(spec), what)
        case {"by": _, "values": Mapping() as cases}:
            return {**spec, "values": {case: load_value_files(each, what) for case, each in cases.items()}}
        case {"values": inner}:
            return {**spec, "values": load_value_files(inner, what)}
        case Mapping():
            return dict(spec)
        case Sequence():
            return list(spec)
    return spec


def listed_values(spec: Any, what: str) -> tuple[Sequence[Any], list[float] | None]:
    """Return (values, weights) of a spec without file names. The weights are None if all values are equally likely.

    Raises:
        UsageError: there are no values, or a weight is not a finite number ≥ 0.
    """
    match spec:
        case {"min": _} | {"max": _}:
            low, high = spec.get("min"), spec.get("max")
            if not (isinstance(low, int) and isinstance(high, int) and low <= high):
                raise UsageError(f"{what}: 'min' and 'max' must be whole numbers, the lower one first.")
            return range(low, high + 1), None
        case Mapping():
            for name, weight in spec.items():
                if not isinstance(weight, int | float) or not 0 <= weight < math.inf:
                    raise UsageError(f"{what} {_NEEDS}. The weight of {name!r:.100} is {weight!r:.100}.")
            if sum(spec.values()):
                return list(spec), list(spec.values())
        case list() if spec:
            return spec, None
    raise UsageError(f"{what} {_NEEDS}.")


def _values_in_file(name: str, what: str) -> list[Any]:
    """Return the values in a file: a field of its rows, or its lines without blank ones."""
    path, _, field = name.rpartition(":")
    if path.endswith(_ROW_FILE_SUFFIXES):
        values = []
        for location, row in read_rows(Path(path)):
            if field not in row:
                raise UsageError(f"{what}: {path}, {location}: no field {field!r}. Its fields: {', '.join(row)}.")
            values.append(row[field])
        return values
    if name.endswith(_ROW_FILE_SUFFIXES):
        raise UsageError(f"{what}: {name} contains rows. Name a field of them: {name}:FIELD.")
    return [line for line in read_text(Path(name), what).split("\n") if line.strip()]


def parse_variable_args(words: Sequence[str]) -> dict[str, VariableSpec]:
    """Parse variables from the command line: NAME=a,b,c, NAME=FILE.txt, NAME=FILE.jsonl:FIELD, or a file of variables.

    Raises:
        UsageError: an argument is in none of these forms, or a variable is defined twice.
    """
    specs: dict[str, VariableSpec] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals and word.endswith((".toml", ".json")):
            more = read_config(Path(word))
        elif not name or not text:
            raise UsageError(
                f"{quoted_option('random_vars', word)} is not valid. "
                "Expected NAME=a,b,c, NAME=FILE.txt, NAME=FILE.jsonl:FIELD or a .toml file."
            )
        else:
            more = {name: _listed(text, f"Variable {name!r}")}
        if duplicates := specs.keys() & more.keys():
            raise UsageError(f"Variable {min(duplicates)!r} is defined twice.")
        specs.update(more)
    return specs


def _listed(text: str, what: str) -> VariableSpec:
    """Parse the text after `=`: a file name, or values separated by commas."""
    if text.endswith((".txt", *_ROW_FILE_SUFFIXES)) or text.rpartition(":")[0].endswith(_ROW_FILE_SUFFIXES):
        return text
    if text[0] in "{[" or is_file(text):
        raise UsageError(
            f"{what}: {text!r:.100} is not valid. Expected a,b,c, FILE.txt or FILE.jsonl:FIELD. "
            f"Write other specifications in a file of variables: {option('random_vars', 'FILE.toml')}."
        )
    listed = text.split(",")
    if "" in listed:
        raise UsageError(f"{what} has an empty value in {text!r:.100}. If that is intended, use a file of variables.")
    if len(listed) == 1 and (marks := _OTHER_COMMAS.findall(text)):
        raise UsageError(
            f"{what} has one value, {text!r:.100}. Separate values with an ASCII comma, not with {marks[0]}. "
            "If it is one value, put it into a text file: NAME=FILE.txt."
        )
    return listed
