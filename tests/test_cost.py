"""What a row costs must not creep up. Seconds differ between machines, so the measure is a ratio, within one run."""

import statistics
from pathlib import Path
from urllib.request import Request, urlopen

from speed.clients import FLOOR, OURS
from speed.measure import measure
from speed.servers import KEY, lean

BOUND = 2.6
"""CPU of a row against a bare pyreqwest loop that decodes only what it needs, with a key of real length, fixed costs of
the short run included. When this was written, the ratio was 1.5 to 1.9, depending on the load of the machine."""


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


def test_the_measured_server_gives_no_answer_twice_and_the_key_has_a_real_length() -> None:
    def answer(url: str) -> bytes:
        with urlopen(Request(f"{url}/chat/completions", b"{}")) as reply:
            return bytes(reply.read())

    with lean() as server:
        answers = {answer(server.url) for _ in range(3)}
    assert len(answers) == 3
    assert {900 < len(each) < 1200 for each in answers} == {True}
    assert len(KEY) > 100
