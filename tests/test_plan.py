"""--dry-run: what would be asked, and what it would cost, without a call."""

import json
from pathlib import Path
from typing import Any

import pytest

import manycall
from manycall.control.token_estimate import DEFAULT_OUTPUT_TOKENS
from manycall.run.call_forecast import ASSUMED_BASE_SECONDS, ASSUMED_TOKENS_PER_SECOND
from manycall.run.dry_run import ASSUMED_IN_FLIGHT
from shell import manycall as command
from shell import rows, sim

OUT = Path("out.jsonl")
NOWHERE = ("-u", "http://127.0.0.1:1", "-m", "m", "-o", OUT, "--dry-run")


def test_a_dry_run_shows_the_first_requests_and_estimates_the_cost_of_all() -> None:
    words = (
        "generate",
        "-p",
        "Write of {{ topic }}.",
        "-s",
        "Be brief.",
        "--random-var",
        "topic=tea,rain",
        "-n",
        "1000",
    )
    ended = command(*words, *NOWHERE, "--max-tokens", "100", "--price", "1/2", "-j", "10")
    assert ended.code == 0
    requests, _, table = ended.out.partition("\n| ")
    first, second = requests.strip().split("\n\n")
    assert json.loads(first)["messages"][0] == {"role": "system", "content": "Be brief."}
    assert json.loads(second)["messages"][1]["content"] in {"Write of tea.", "Write of rain."}
    assert "Dry run: no calls were made." in table
    for part in ("1,000", "about 1,000", "100,000 out", "about $0.2", "about 5 min", "10 calls in flight"):
        assert part in table, part
    assert not OUT.exists()
    assert not Path("out.jsonl.run").exists()


def test_the_estimate_uses_finished_calls_where_there_are_some() -> None:
    words = ("generate", "-p", "Write of {{ topic }}.", "--grid-var", f"topic={','.join(map(str, range(200)))}")
    with sim("--latency", "0.05", "--token-latency", "0", "--spread", "0", "--tokens", "30") as endpoint:
        assert command(*words, "-u", endpoint.url, "-m", "m", "-o", OUT, "--limit", "5").code == 0
    report = json.loads(command(*words, *NOWHERE, "--json").out)
    used = [json.loads(call["body"])["usage"] for call in rows(Path("out.jsonl.run/calls.jsonl"))]
    assert (report["total_rows"], report["done"], report["calls"], report["estimate_basis"][:12]) == (
        200,
        5,
        195,
        "5 calls in t",
    )
    assert report["completion_tokens"] == round(195 * sum(each["completion_tokens"] for each in used) / 5)
    assert 0.15 < report["seconds"] < 2


def test_rows_that_only_an_earlier_run_was_asked_for_are_not_taken_for_those_that_are_left() -> None:
    Path("a.jsonl").write_text("".join(f'{{"id": "a{n}", "q": "x"}}\n' for n in range(20)))
    Path("b.jsonl").write_text("".join(f'{{"id": "b{n}", "q": "x"}}\n' for n in range(8)) + '{"id": "a3", "q": "x"}\n')
    words = ("generate", "-p", "{{ q }} {{ id }}")
    with sim("--latency", "0") as endpoint:
        assert command(*words, "a.jsonl", "-u", endpoint.url, "-m", "m", "-o", OUT).code == 0
    report = json.loads(command(*words, "b.jsonl", *NOWHERE, "--json").out)
    assert (report["total_rows"], report["done"], report["calls"]) == (9, 1, 8)
    assert [each["messages"][0]["content"] for each in report["requests"]] == ["x b0", "x b1"]


@pytest.mark.parametrize(
    ("rows", "times", "said"),
    [
        (1000, (), ". For a better estimate, first run with --limit 5 (about 5 calls)"),
        (5, (), ""),
        (1, ("--grid-var", "a=1,2,3,4", "-n", "100"), ""),
        (
            10,
            ("--grid-var", "a=1,2,3,4", "-n", "100"),
            ". For a better estimate, first run with --limit 1 (about 400 calls)",
        ),
        (10, ("-n", "2"), ". For a better estimate, first run with --limit 3 (about 6 calls)"),
    ],
)
def test_a_trial_run_for_a_better_estimate_is_suggested_if_it_costs_less(rows: int, times: Any, said: str) -> None:
    Path("in.jsonl").write_text("".join(f'{{"id": {n}}}\n' for n in range(rows)))
    report = json.loads(command("generate", "-p", "{{ id }}", "in.jsonl", *times, *NOWHERE, "--json").out)
    assert report["estimate_basis"].endswith(f" tokens, 64 calls in flight{said}")


def test_all_requests_of_a_chain_are_seen_and_none_is_asked_again() -> None:
    chain = [
        manycall.steps.Generate("A"),
        manycall.steps.Evolve("text", rounds=2),
        manycall.steps.Judge("{{ evolved }}", min_score=5),
    ]
    shape = manycall.steps.Generate("B {{ score }}", schema={"type": "object", "properties": {"a": {}}})
    options: dict[str, Any] = {"model": "m", "base_url": "http://127.0.0.1:1", "out": OUT, "dry_run": True}
    plan = manycall.run_steps([*chain, shape], samples=10, **options)
    assert plan.calls == 40  # the last is not reached: nobody knows what the judge will say
    assert plan.completion_tokens == 40 * DEFAULT_OUTPUT_TOKENS
    assert plan.seconds == ASSUMED_BASE_SECONDS + DEFAULT_OUTPUT_TOKENS / ASSUMED_TOKENS_PER_SECOND
    assert ASSUMED_IN_FLIGHT > 40
    assert "Dry run: no calls were made." in str(plan)
    assert "| at least 40 " in str(plan)


def test_the_steps_after_a_structured_answer_are_counted_too() -> None:
    schema = {"type": "object", "properties": {"task": {"type": "string"}}, "required": ["task"]}
    chain = [manycall.steps.Generate("A", schema=schema), manycall.steps.Generate("Solve {{ task }}.")]
    plan = manycall.run_steps(chain, samples=10, model="m", base_url="http://127.0.0.1:1", out=OUT, dry_run=True)
    assert (plan.calls, "| about 20 " in str(plan)) == (20, True)


def test_what_a_real_run_would_refuse_a_dry_run_refuses_too() -> None:
    ended = command("generate", "-p", "{{ x }}", "--grid-var", "y=1,2", *NOWHERE)
    assert (ended.code, "the field 'x', which" in ended.err) == (2, True)


def test_turns_in_a_file_are_templates_each() -> None:
    Path("turns.toml").write_text(
        '[[messages]]\nrole = "system"\ncontent = "You are {{ who }}."\n'
        '[[messages]]\nrole = "user"\ncontent = "Hi"\n'
        '[[messages]]\nrole = "assistant"\ncontent = "Yes?"\n'
        '[[messages]]\nrole = "user"\ncontent = "{{ q }}"\n'
    )
    ended = command(
        "generate", "-p", "turns.toml", "--grid-var", "who=a cook", "--grid-var", "q=Why?", *NOWHERE, "--json"
    )
    (request,) = json.loads(ended.out)["requests"]
    assert [turn["role"] for turn in request["messages"]] == ["system", "user", "assistant", "user"]
    assert [turn["content"] for turn in request["messages"]] == ["You are a cook.", "Hi", "Yes?", "Why?"]
    Path("bad.toml").write_text('[[messages]]\nrole = "user"\n')
    ended = command("generate", "-p", "bad.toml", *NOWHERE)
    assert (ended.code, "needs a list of messages, each with a role and a content" in ended.err) == (2, True)


def test_a_torn_line_is_no_matter_to_a_dry_run() -> None:
    words = ("generate", "-p", "Hi", "-u", "sim:latency=0", "-m", "m", "-o", OUT)
    assert command(*words, "-n", "2").code == 0
    OUT.write_bytes(OUT.read_bytes()[:-20])
    ended = command(*words, "-n", "10", "--dry-run", "--json")
    assert (ended.code, json.loads(ended.out)["done"]) == (0, 1)


def test_a_dry_run_with_other_settings_is_refused_as_the_run_would_be() -> None:
    words = ("generate", "-n", "3", "-u", "sim:latency=0", "-m", "m", "-o", OUT)
    assert command(*words, "-p", "Hi").code == 0
    planned, made = (command(*words, "-p", "Ho", *how) for how in (("--dry-run",), ()))
    assert (planned.code, made.code) == (2, 2)
    assert planned.err == made.err
    assert "New calls: at least 3" in planned.err
    assert command(*words, "-p", "Ho", "--dry-run", "--overwrite").code == 0


def test_rows_that_would_be_asked_again_are_not_done_for_a_dry_run() -> None:
    Path("in.jsonl").write_text("".join(f'{{"id": {n}}}\n' for n in range(6)))
    words = ("generate", "-p", "{{ id }}", "in.jsonl", "-u", "sim:latency=0,spread=0,tokens=30", "-m", "m", "-o", OUT)
    assert command(*words, "--max-tokens", "5", "--limit", "3").code == 0
    more = json.loads(command(*words, "--max-tokens", "5", "--dry-run", "--json").out)
    assert (more["done"], more["calls"]) == (3, 3)
    again = json.loads(command(*words, "--max-tokens", "50", "--retry", "truncated", "--dry-run", "--json").out)
    assert (again["done"], again["calls"]) == (0, 6)
    Path("s.json").write_text('{"type": "object", "properties": {"a": {}}}')
    ended = command("generate", "-p", "x", "--schema", "s.json", *NOWHERE, "--retry", "truncated")
    assert (ended.code, "needs one answer per row" in ended.err) == (2, True)


def test_the_failed_requests_of_a_batch_are_not_done_for_a_dry_run() -> None:
    chats = [[{"role": "user", "content": "x"}], [{"role": "user"}]]  # the second has nothing to say: 400
    bodies = [{"model": "m", "messages": chats[n == 3]} for n in range(4)]
    lines = [{"custom_id": str(n), "url": "/v1/chat/completions", "body": body} for n, body in enumerate(bodies)]
    Path("b.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    words = ("run-batch", "b.jsonl", "-u", "sim:latency=0", "-o", OUT)
    assert command(*words).code == 3
    assert len(rows(OUT)) == 4
    plan = json.loads(command(*words, "--dry-run", "--json").out)
    assert (plan["done"], plan["calls"]) == (3, 1)


def test_rows_with_a_field_parts_of_their_own_are_done_for_a_dry_run_that_does_not_overwrite() -> None:
    Path("in.jsonl").write_text("".join(f'{{"id": "d0#{n}", "parts": 2}}\n' for n in range(2)))
    words = ("generate", "-p", "{{ id }}", "in.jsonl", "-u", "sim:latency=0", "-m", "m", "-o", OUT)
    assert command(*words).code == 0
    plan = json.loads(command(*words, "--dry-run", "--json").out)
    assert (plan["done"], plan["calls"]) == (2, 0)
    plan = json.loads(command(*words, "--overwrite", "--dry-run", "--json").out)
    assert (plan["done"], plan["calls"]) == (0, 2)
    assert len(rows(OUT)) == 2
