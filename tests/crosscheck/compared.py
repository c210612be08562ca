"""What has been compared with which authority: compared.json. The table in docs/evaluate.md is made from it."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

COMPARED = Path(__file__).with_name("compared.json")
ENOUGH = 20_000
"""Responses that are compared for each filter."""


class Comparison(NamedTuple):
    """The comparison of a filter, in which every difference is deliberate.

    Attributes:
        task, filter: our names.
        authority: name and version of the code that read and scored the same responses.
        responses: number of responses.
        deliberate: reason of differences -> number of responses that are scored otherwise for that reason.
    """

    task: str
    filter: str
    authority: str
    responses: int
    deliberate: Mapping[str, int] = {}


def note(comparisons: Iterable[Comparison], path: Path = COMPARED) -> None:
    """Write comparisons, which replace earlier ones of the same filter with the same authority."""
    found = {_key(each): each for each in [*noted(path), *comparisons]}
    path.write_text(json.dumps([_entry(found[key]) for key in sorted(found)], indent=1) + "\n", encoding="utf-8")


def noted(path: Path = COMPARED) -> list[Comparison]:
    """Return the comparisons of a file; none if there is no file."""
    entries = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    return [Comparison(**entry) for entry in entries]


def _key(comparison: Comparison) -> tuple[str, str, str]:
    return comparison.task, comparison.filter, comparison.authority


def _entry(comparison: Comparison) -> dict[str, Any]:
    return {name: value for name, value in comparison._asdict().items() if value != {}}
