"""What the values of a variable are, and how they are said on the command line.

["tea", "rain"]              a list
"topics.txt"                 the lines of a file
"topics.jsonl:topic"         a field of its rows (.jsonl, .json, .csv, .tsv, .parquet)
{formal = 3, casual = 1}     a table of weights
{from = 18, to = 80}         whole numbers, both ends among them
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from manycall.data.files import read
from manycall.data.settings import is_file, read_text, settings
from manycall.errors import UsageError

Spec = str | Path | Sequence[Any] | Mapping[Any, Any]
"""What a variable is drawn from: its values (see above), or what data/variables.py makes of such."""
_OF_ROWS = (".jsonl", ".json", ".csv", ".tsv", ".parquet")
_NEEDS = "needs values to draw from: a list, a file of lines, FILE.jsonl:FIELD, a table of weights, from and to"


def resolved(spec: Any, what: str) -> Any:
    """The spec with what its files hold in the place of their names, so that each is read once.

    Raises:
        UsageError: a file that is not there, or does not hold such values; `what` wants it.
    """
    match spec:
        case str() | Path():
            return _held(str(spec), what)
        case {"by": _, "from": Mapping() as cases}:
            return {**spec, "from": {case: resolved(each, what) for case, each in cases.items()}}
        case {"from": inner}:
            return {**spec, "from": resolved(inner, what)}
        case Mapping():
            return dict(spec)
        case Sequence():
            return list(spec)
    return spec


def values(spec: Any, what: str) -> tuple[Sequence[Any], list[float] | None]:
    """The values of a resolved spec, and how likely each is; None: all alike.

    Raises:
        UsageError: there are none, or a weight that is none.
    """
    match spec:
        case {"to": last}:
            first = spec.get("from")
            if not (isinstance(first, int) and isinstance(last, int) and first <= last):
                raise UsageError(f"{what}: 'from' and 'to' must be whole numbers, the lower one first")
            return range(first, last + 1), None
        case Mapping():
            for name, weight in spec.items():
                if not isinstance(weight, int | float) or not 0 <= weight < math.inf:
                    raise UsageError(f"{what} {_NEEDS}; the weight of {name!r:.100} is {weight!r:.100}")
            if sum(spec.values()):
                return list(spec), list(spec.values())
        case list() if spec:
            return spec, None
    raise UsageError(f"{what} {_NEEDS}")


def _held(name: str, what: str) -> list[Any]:
    """What is in a file: a field of its rows, or its lines, without the blank ones."""
    path, _, field = name.rpartition(":")
    if path.endswith(_OF_ROWS):
        held = []
        for where, row in read(Path(path)):
            if field not in row:
                raise UsageError(f"{what}: {path}, {where}: there is no field {field!r} (it has {', '.join(row)})")
            held.append(row[field])
        return held
    if name.endswith(_OF_ROWS):
        raise UsageError(f"{what}: {name} holds rows: say which of their fields, as in {name}:FIELD")
    return [line for line in read_text(Path(name), what).split("\n") if line.strip()]


def said(words: Sequence[str]) -> dict[str, Spec]:
    """`name=a,b,c`, `name=file.txt` and `name=file.jsonl:field`, and files of variables, as on the command line.

    Raises:
        UsageError: a word that is none of these, or a variable that comes twice.
    """
    specs: dict[str, Spec] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals and word.endswith((".toml", ".json")):
            more = settings(Path(word))
        elif not name or not text:
            raise UsageError(f"{word!r} is not NAME=a,b,c or NAME=FILE.txt, nor a file of variables (.toml, .json)")
        else:
            more = {name: _listed(text, f"the variable {name!r}")}
        if twice := specs.keys() & more.keys():
            raise UsageError(f"the variable {min(twice)!r} is given twice")
        specs.update(more)
    return specs


def _listed(text: str, what: str) -> Spec:
    """What stands behind the `=`: the name of a file, or values with commas between them."""
    if text.endswith((".txt", *_OF_ROWS)) or text.rpartition(":")[0].endswith(_OF_ROWS):
        return text
    if text[0] in "{[" or is_file(text):
        raise UsageError(
            f"{what}: {text!r:.100} is no list a,b,c, no FILE.txt and no FILE.jsonl:FIELD; "
            "what is more than these goes into a file of variables: --draw FILE.toml"
        )
    listed = text.split(",")
    if "" in listed:
        raise UsageError(f"{what} has an empty value in {text!r:.100}: if that is meant, use a file of variables")
    return listed
