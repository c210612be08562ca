from hypothesis import given
from hypothesis import strategies as st

from manycall.control.affinity import CHUNK_BYTES, MOST_CHUNKS, MOST_REMEMBERED, Affinity, chunks


def test_requests_that_begin_alike_share_the_hashes_of_their_beginning() -> None:
    shared = b"a" * (3 * CHUNK_BYTES)
    one, two = chunks(shared + b"x" * 2 * CHUNK_BYTES), chunks(shared + b"y" * 2 * CHUNK_BYTES)
    assert one[:3] == two[:3]
    assert not set(one[3:]) & set(two[3:])
    assert chunks(b"short") == ()


def test_whoever_has_had_a_beginning_is_known() -> None:
    affinity = Affinity()
    assert not affinity.useful
    affinity.note([1, 2, 3], 0)
    affinity.note([1, 2, 9], 1)
    assert [affinity.known([1, 2, 3, 4], server) for server in range(3)] == [3, 2, 0]
    assert [affinity.gain([1, 2, 3, 4], server, 3) for server in range(3)] == [1, -1, -3]


def test_what_all_prompts_begin_with_tells_nothing() -> None:
    affinity = Affinity()
    for server in range(3):
        affinity.note([1, 2, 3], server)
    assert [affinity.gain([1, 2, 3, 10], server, 3) for server in range(3)] == [0, 0, 0]


def test_the_oldest_are_forgotten() -> None:
    affinity = Affinity()
    affinity.note(range(10), 0)
    affinity.note(range(10, MOST_REMEMBERED + 5), 0)
    assert affinity.known([0], 0) == 0
    assert affinity.known([MOST_REMEMBERED], 0) == 1


@given(st.lists(st.tuples(st.binary(max_size=3000), st.integers(0, 3)), max_size=20), st.binary(max_size=3000))
def test_nobody_is_credited_with_more_than_the_prompt_has(had: list[tuple[bytes, int]], body: bytes) -> None:
    affinity = Affinity()
    for other, server in had:
        affinity.note(chunks(other), server)
    prompt = chunks(body)
    assert all(0 <= affinity.known(prompt, server) <= len(prompt) for server in range(4))
    affinity.note(prompt, 2)
    assert affinity.known(prompt, 2) == len(prompt)


def test_a_body_that_ends_with_a_chunk_has_that_chunk_too() -> None:
    assert [len(chunks(b"x" * (CHUNK_BYTES + more))) for more in (-1, 0, CHUNK_BYTES - 1, CHUNK_BYTES)] == [0, 1, 1, 2]
    assert len(chunks(b"x" * (MOST_CHUNKS + 1) * CHUNK_BYTES)) == MOST_CHUNKS


def test_the_only_server_gains_all_that_it_has_had() -> None:
    affinity = Affinity()
    affinity.note([1, 2, 3], 0)
    assert affinity.gain([1, 2, 9], 0, 1) == 2
