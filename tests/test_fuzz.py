from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from documents import (
    CHAT,
    EMBEDDINGS,
    ERRORS,
    FAILURES,
    HEADERS,
    JOURNALS,
    JSON_ARRAYS,
    JSON_LINES,
    KEY,
    MANIFESTS,
    METRICS,
    OUTPUTS,
    PARQUETS,
    TABLES,
    TEMPLATES,
    URLS,
)
from fuzz import CHECKS, TARGETS, Check, attempt, fuzz, limited
from invariants import limits, replies, rows, store
from invariants.limits import WALL, check_endpoint, check_gauges, check_headers
from invariants.replies import check_refusal, check_reply, check_request, check_url
from invariants.rows import (
    check_chunks,
    check_file,
    check_prompt,
    check_rows,
    check_table,
    check_two_files,
    check_value,
)
from invariants.store import check_journal, check_run
from manycall.store.journal import Journal
from manycall.store.repair import repair


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: f"{check.target}-{check.run.__name__}")
def test_no_input_does_harm(check: Check) -> None:
    @settings(max_examples=150, suppress_health_check=list(HealthCheck))
    @given(check.inputs)
    def feed(values: tuple[object, ...]) -> None:
        attempt(check, values)

    feed()


def test_every_check_is_fed() -> None:
    assert {check.run.__name__ for check in CHECKS} == {
        name for module in (limits, replies, rows, store) for name in vars(module) if name.startswith("check_")
    }


MESSAGES = [{"role": "user", "content": "hi"}]


@pytest.mark.parametrize(
    ("check", "values", "outcome"),
    [
        (check_journal, (JOURNALS[0],), "3 calls, 0 in doubt"),
        (check_run, (OUTPUTS[0], JOURNALS[0], FAILURES[0], MANIFESTS[0]), "3 done, 2 failed"),
        (check_file, (".jsonl", JSON_LINES[0]), "3 rows"),
        (check_file, (".csv", TABLES[0]), "2 rows"),
        (check_file, (".parquet", PARQUETS[0]), "2 rows"),
        (check_chunks, (JSON_ARRAYS[0], 1), "3 rows"),
        (check_two_files, (JSON_LINES[0], JSON_LINES[1]), "8 rows"),
        (check_value, (b"1e3",), "float"),
        (check_table, ([["a", "b"], ["1,", '"']], ","), "2 columns"),
        (check_rows, ([{"q": 1}, {"q": 1}],), "2 rows"),
        (check_prompt, (TEMPLATES[0], {"topic": "x"}), "a text"),
        (check_headers, ("api.openai.com", HEADERS[0], WALL), "OpenAI, 2 told"),
        (check_endpoint, ("h", (None,) * 4, [(429, {"retry-after": "9"}, b"")] * 2), "waited 10^1 s, False"),
        (check_gauges, (METRICS[0], None), "window 12"),
        (check_reply, ("chat", CHAT), "a text: stop"),
        (check_reply, ("chat", CHAT.replace(b'"id"', b'"\\ud800"')), "a text: stop"),
        (check_reply, ("embeddings", EMBEDDINGS), "2 vectors"),
        (check_refusal, (ERRORS[0],), "invalid_api_: ncorrect  ke"),
        (check_url, (URLS[1],), "https, /v1"),
        (check_request, (MESSAGES, {"temperature": 0.5}), "chat, 1, True"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_real_documents_are_understood(check: Callable[..., str], values: tuple[object, ...], outcome: str) -> None:
    """So that no check passes only because everything is refused."""
    assert check(*values) == outcome


def test_what_breaks_is_found_made_small_and_written_down(monkeypatch: pytest.MonkeyPatch) -> None:
    def check_short(text: str) -> str:
        assert len(text) < 3
        return "short"

    monkeypatch.setattr("fuzz.CHECKS", [Check("journal", check_short, st.tuples(st.text()))])
    (tried,) = fuzz(5.0, "journal", seed=1)
    assert tried.failure.startswith("check_short('000')\nAssertionError")
    assert tried.outcomes["check_short: short"] == tried.outcomes.total() > 0
    assert tried.seconds < 5


def test_an_input_that_takes_too_long_is_a_failure() -> None:
    def hang() -> None:
        while True:
            try:
                sum(range(10_000))
            except Exception:  # nobody in between keeps it from us
                pass

    with pytest.raises(AssertionError, match="took more than"), limited():
        hang()


def test_each_target_stops_when_its_time_is_up() -> None:
    tried = fuzz(0.2)
    assert [each.target for each in tried] == TARGETS
    assert all(each.failure == "" and each.outcomes and each.seconds < 15 for each in tried)


@pytest.mark.parametrize("place", range(4))
def test_a_line_that_is_nested_too_deep_is_damage(place: int) -> None:
    files = [OUTPUTS[0], JOURNALS[0], FAILURES[0], MANIFESTS[0]]
    files[place] = b'{"id":"q","key":"k","nth":1,"x":' + b"[" * 100_000 + b"\n" + files[place]
    assert check_run(*files).startswith("damage")


def test_a_body_that_is_not_base64_is_damage() -> None:
    check_journal(b'{"id":"a","key":"k","nth":1,"body64":"x"}\n')


def test_after_repair_no_call_stops_a_run(tmp_path: Path) -> None:
    out, calls = tmp_path / "out.jsonl", tmp_path / "out.jsonl.run" / "calls.jsonl"
    calls.parent.mkdir()
    calls.write_bytes(JOURNALS[0].replace(b"content", b"\xffontent", 1))
    repair(out)
    journal = Journal(calls, lambda name: False)
    try:
        journal.replay("a", KEY, 1)
    finally:
        journal.close()
