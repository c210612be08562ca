from hypothesis import given
from hypothesis import strategies as st

from manycall.control.prefix_affinity import CHUNK_BYTES, MAX_CHUNKS, MAX_PREFIXES, PrefixAffinity, prefix_hashes


def test_requests_that_begin_alike_share_the_hashes_of_their_beginning() -> None:
    shared = b"a" * (3 * CHUNK_BYTES)
    one, two = prefix_hashes(shared + b"x" * 2 * CHUNK_BYTES), prefix_hashes(shared + b"y" * 2 * CHUNK_BYTES)
    assert one[:3] == two[:3]
    assert not set(one[3:]) & set(two[3:])
    assert prefix_hashes(b"short") == ()


def test_the_endpoint_that_received_a_prefix_is_known() -> None:
    affinity = PrefixAffinity()
    assert not affinity.has_prefixes
    affinity.record([1, 2, 3], 0)
    affinity.record([1, 2, 9], 1)
    assert [affinity.cached_chunks([1, 2, 3, 4], server) for server in range(3)] == [3, 2, 0]
    assert [affinity.advantage([1, 2, 3, 4], server, 3) for server in range(3)] == [1, -1, -3]


def test_a_prefix_of_all_prompts_does_not_count() -> None:
    affinity = PrefixAffinity()
    for server in range(3):
        affinity.record([1, 2, 3], server)
    assert [affinity.advantage([1, 2, 3, 10], server, 3) for server in range(3)] == [0, 0, 0]


def test_the_oldest_are_forgotten() -> None:
    affinity = PrefixAffinity()
    affinity.record(range(10), 0)
    affinity.record(range(10, MAX_PREFIXES + 5), 0)
    assert affinity.cached_chunks([0], 0) == 0
    assert affinity.cached_chunks([MAX_PREFIXES], 0) == 1


@given(st.lists(st.tuples(st.binary(max_size=3000), st.integers(0, 3)), max_size=20), st.binary(max_size=3000))
def test_no_endpoint_is_credited_with_more_than_the_prompt_has(had: list[tuple[bytes, int]], body: bytes) -> None:
    affinity = PrefixAffinity()
    for other, server in had:
        affinity.record(prefix_hashes(other), server)
    prompt = prefix_hashes(body)
    assert all(0 <= affinity.cached_chunks(prompt, server) <= len(prompt) for server in range(4))
    affinity.record(prompt, 2)
    assert affinity.cached_chunks(prompt, 2) == len(prompt)


def test_a_body_that_ends_with_a_chunk_has_that_chunk_too() -> None:
    assert [len(prefix_hashes(b"x" * (CHUNK_BYTES + more))) for more in (-1, 0, CHUNK_BYTES - 1, CHUNK_BYTES)] == [
        0,
        1,
        1,
        2,
    ]
    assert len(prefix_hashes(b"x" * (MAX_CHUNKS + 1) * CHUNK_BYTES)) == MAX_CHUNKS


def test_the_only_server_gains_all_that_it_has_had() -> None:
    affinity = PrefixAffinity()
    affinity.record([1, 2, 3], 0)
    assert affinity.advantage([1, 2, 9], 0, 1) == 2
