"""What a row costs must not creep up. Seconds differ between machines, so the measure is a ratio, within one run."""

import statistics
from pathlib import Path

from speed.clients import FLOOR, OURS
from speed.measure import measure
from speed.servers import lean

BOUND = 3.9
"""CPU of a row against a bare pyreqwest loop that writes the same rows. It was 2.7 to 3.1 when this was written."""


def ratios(url: str, folder: Path) -> list[float]:
    """Short runs in turn: what disturbs the machine disturbs both."""
    found = []
    for _ in range(5):
        ours, floor = (measure(client, url, folder, in_flight=64, count=2500) for client in (OURS, FLOOR))
        assert not ours.fault + floor.fault
        found.append(ours.per_row / floor.per_row)
    return found


def test_the_cost_of_a_row_is_bounded_by_that_of_a_bare_loop(tmp_path: Path) -> None:
    with lean() as server:
        found = ratios(server.url, tmp_path)
        if statistics.median(found) > BOUND:  # a busy machine gets a second chance
            found = ratios(server.url, tmp_path)
    print(f"CPU of a row against a bare loop: {statistics.median(found):.2f} of {', '.join(f'{r:.2f}' for r in found)}")
    assert statistics.median(found) <= BOUND
