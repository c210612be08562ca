"""Reference runs on disk. A run with a fixed setting does not depend on manycall's control, so it is made once.

A stored run is used as long as the scenario and the code that it depends on are the same: the simulator, the run of the
rows and these modules. The control and the client are not part of that code. Delete the folder, or use `--fresh`, after
a change in them that also concerns fixed settings.
"""

from collections.abc import Callable, Iterator
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import TypeVar

import msgspec

import manycall
from speed.clients import HOME

FOLDER = HOME / "reference-runs"
BENCHMARKS, PACKAGE = Path(__file__).parents[1], Path(manycall.__file__).parent
Measured = TypeVar("Measured", bound=msgspec.Struct)


def _sources() -> Iterator[Path]:
    for folder in (PACKAGE / "sim", PACKAGE / "run", PACKAGE / "data", BENCHMARKS / "scenarios"):
        yield from sorted(folder.rglob("*.py"))
    yield from (BENCHMARKS / "simulate.py", BENCHMARKS / "baselines.py", PACKAGE / "control" / "row_order.py")


@cache
def _code() -> bytes:
    """Return a digest of the code that a reference run depends on."""
    return blake2b(b"".join(path.read_bytes() for path in _sources()), digest_size=16).digest()


def _path(scenario: msgspec.Struct, rule: str, seed: int) -> Path:
    fields = {name: value for name, value in msgspec.structs.asdict(scenario).items() if not callable(value)}
    what = msgspec.json.encode([fields, rule, seed], order="sorted")
    return FOLDER / f"{blake2b(_code() + what, digest_size=16).hexdigest()}.json"


def recall(
    scenario: msgspec.Struct,
    rule: str,
    seed: int,
    kind: type[Measured],
    measure: Callable[[], Measured],
    *,
    fresh: bool,
) -> Measured:
    """Return the stored measurements of a reference run, or measure and store them.

    Args:
        fresh: Measure again even if they are stored.
    """
    path = _path(scenario, rule, seed)
    if path.exists() and not fresh:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    measured = measure()
    FOLDER.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{seed}.part")
    part.write_bytes(msgspec.json.encode(measured))
    part.replace(path)
    return measured
