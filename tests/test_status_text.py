"""What the status line shows in terminals of different widths."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manycall.run.status_text import status_text
from manycall.terminal import cut_to_width, display_width

BINDING = [
    "window 212",
    "window 212, server at capacity",
    "quota 600 rpm",
    "learned quota 580 rpm",
    "-j 40",
    "-j 40, server at capacity",
    "refusals (429)",
]


def figures(**changed: Any) -> dict[str, Any]:
    return {
        "total_rows": 1_000_000, "total_ended": 300_000, "rows_per_s": 71.25, "calls_per_s": 71.25,
        "tokens_per_s": 9800.0, "total_cost": 12.34, "currency": "USD", "budget_usage": [], "endpoints": [],
        "failed": 12, "failure_counts": {"empty": 2, "call_error": 10}, "in_flight": 212, "limited_by": "window 212",
        "note": "acc 0.61", "total_truncated": 4, "total_rejected": 3, "retries": 11, **changed,
    }  # fmt: skip


def test_a_wide_terminal_shows_everything_in_the_order_of_importance() -> None:
    assert status_text("gsm8k", figures()) == (
        "gsm8k 300000/1000000 30% · ETA 2h43m · $12.34 · 71.2 calls/s · failed 12 (empty 2) · "
        "212 in flight (window 212) · acc 0.61 · truncated 4 · rejected 3 · retries 11 · 9.8k tok/s"
    )


@pytest.mark.parametrize("limited_by", BINDING)
def test_80_columns_show_progress_time_money_speed_failures_and_what_limits_the_speed(limited_by: str) -> None:
    line = status_text("generate", figures(limited_by=limited_by), 79)
    for part in ("300000/1000000", "ETA 2h43m", "$12.34", "71", "failed 12", limited_by.rpartition(", ")[2]):
        assert part in line, line
    assert display_width(line) <= 79


def test_parts_are_left_out_from_the_end_and_never_cut_in_the_middle() -> None:
    assert status_text("gsm8k", figures(limited_by="-j 40"), 125) == (
        "gsm8k 300000/1000000 30% · ETA 2h43m · $12.34 · 71.2 calls/s · failed 12 (empty 2) · "
        "212 in flight (-j 40) · acc 0.61"
    )


def test_only_what_limits_the_speed_is_cut_off() -> None:
    line = status_text("gsm8k", figures(limited_by="concurrency limit 20 (learned from 429)"), 79)
    assert line == "300000/1000000 · ETA 2h43m · $12.34 · 71/s · failed 12 · concurrency limit 20 …"


@pytest.mark.parametrize(
    ("limited_by", "short"),
    [
        ("limited by this machine: 50% of a core, and waiting for one 45% of the time", "limited by this machine"),
        ("limited by this machine: 97% of 2 cores", "limited by this machine"),
        (
            "writer: window 9; judge: limited by this machine: 97% of a core",
            "writer: window 9; judge: limited by this machine",
        ),
        ("writer: window 9, server at capacity; judge: -j 40", "writer: server at capacity; judge: -j 40"),
    ],
)
def test_what_limits_the_speed_is_shortened_to_words_with_a_meaning(limited_by: str, short: str) -> None:
    assert status_text("run", figures(limited_by=limited_by, failed=0), 96).endswith(f" · {short}")


def test_the_limit_is_shown_with_its_details_if_they_fit() -> None:
    line = status_text("run", figures(limited_by="window 212, server at capacity", failed=0), 96)
    assert line.endswith("· 71.2 calls/s · window 212, server at capacity")


def test_a_slow_rate_keeps_its_digits_in_a_narrow_terminal() -> None:
    assert "· 0.2/s ·" in status_text("run", figures(calls_per_s=0.2), 60)


def test_a_budget_is_shown_with_its_limit_if_there_is_room() -> None:
    spent = figures(budget_usage=["$1.70 of $2.00"])
    assert "· $1.70 of $2.00 ·" in status_text("gsm8k", spent, 120)
    assert "· $1.70 · 71/s" in status_text("gsm8k", spent, 70)


@given(name=st.text(max_size=30), width=st.integers(1, 200), limited_by=st.text(max_size=60), note=st.text(max_size=40))
def test_the_line_is_never_wider_than_the_terminal(name: str, width: int, limited_by: str, note: str) -> None:
    line = status_text(name, figures(limited_by=limited_by, note=note), width)
    assert display_width(line) <= width
    assert "\n" not in line
    assert "\x1b" not in line


def test_chinese_characters_take_two_columns() -> None:
    assert display_width("中文 ok") == 7
    assert cut_to_width("中文字符", 5) == "中文…"
    assert cut_to_width("中文字符", 8) == "中文字符"
