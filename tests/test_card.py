"""The card's figures are those that somebody else counts in the same files."""

import hashlib
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest

from manycall import dataset_card
from manycall.errors import UsageError
from shell import finish, manycall, rows, sim, start

HUB = Path.home() / ".cache" / "manycall-bench" / "venvs" / "datasets" / "bin" / "python"
PROMPT = "Say ``` to {{ name }}."
COMMAND = (
    "generate", "-p", PROMPT, "in.jsonl", "-n", "2", "-m", "m", "-o", "out.jsonl", "--max-tokens", "2", "--no-progress",
)  # fmt: skip
COUNTS = {
    "rows": ("out.jsonl", "length"),
    "truncated": ("out.jsonl", '[.[] | select(.text_finish_reason == "length")] | length'),
    "duplicates": (
        "out.jsonl",
        "length - ([.[].text | ascii_downcase | "
        r'gsub("[\\W_]+"; " ") | sub("^ "; "") | sub(" $"; "")] | unique | length)',
    ),
    "failures": ("out.jsonl.run/failures.jsonl", "[group_by(.kind)[] | {(.[0].kind): length}] | add // {}"),
    "replies": ("out.jsonl.run/calls.jsonl", "length"),
    "prompt_tokens": ("out.jsonl.run/calls.jsonl", "[.[].body | fromjson | .usage.prompt_tokens // 0] | add"),
    "completion_tokens": ("out.jsonl.run/calls.jsonl", "[.[].body | fromjson | .usage.completion_tokens // 0] | add"),
    "sessions": ("out.jsonl.run/manifest.json", ".[0].sessions | length"),
}


def made() -> None:
    """A run of two sessions, with failures, retries and duplicates."""
    names = "".join(f'{{"name": "n{n}"}}\n' for n in range(100))
    Path("in.jsonl").write_text(names + '{"other": 1}\n')
    with sim("--latency", "0", "--tokens", "2", "--error-rate", "0.1") as endpoint:
        for limit in ("50", "200"):
            manycall(*COMMAND, "-u", endpoint.url, "--limit", limit, "--price", "1/2")


def jq(program: str, file: str) -> Any:
    done = subprocess.run(["jq", "-s", program, file], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.skipif(shutil.which("jq") is None, reason="jq is not there")
def test_every_figure_is_what_jq_counts() -> None:
    made()
    told = json.loads(manycall("dataset-card", "out.jsonl", "--json").out)
    for figure, (file, program) in COUNTS.items():
        assert told[figure] == jq(program, file), figure
    assert told["rows"] == 200
    assert told["duplicates"] > 0
    assert told["failures"] == {"prompt_error": 2}
    assert told["duplicate_rate"] == round(told["duplicates"] / told["rows"], 6)
    assert told["cost"] == pytest.approx((told["prompt_tokens"] + 2 * told["completion_tokens"]) / 1e6)
    assert (told["model"], told["params"], told["source"]) == ("m", {"max_tokens": 2}, "in.jsonl")
    digest = hashlib.sha256(PROMPT.encode()).hexdigest()
    assert told["prompts"] == [{"what": "The prompt", "text": PROMPT, "sha256": digest}]
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/v1", *told["endpoints"])


@pytest.mark.skipif(shutil.which("jq") is None, reason="jq is not there")
def test_killed_sessions_are_in_the_figures() -> None:
    command = ("generate", "-p", "x", "-n", "300", "-m", "m", "-o", "out.jsonl", "-j", "4")
    with sim("--latency", "0.01", "--slots", "4") as endpoint:
        first = start(*command, "-u", endpoint.url)
        while not Path("out.jsonl").exists() or Path("out.jsonl").read_bytes().count(b"\n") < 20:
            assert first.poll() is None
        first.kill()
        finish(first)
        assert 20 <= dataset_card("out.jsonl").rows < 300
        assert manycall(*command, "-u", endpoint.url).code == 0
    told = msgspec.structs.asdict(dataset_card("out.jsonl"))
    for figure in ("rows", "replies", "prompt_tokens", "completion_tokens"):
        assert told[figure] == jq(COUNTS[figure][1], COUNTS[figure][0]), figure
    assert (told["sessions"], told["unfinished_sessions"], told["failures"]) == (1, 1, {})


def test_failed_requests_of_a_batch_are_failures_and_no_rows() -> None:
    chats = [[{"role": "user", "content": "x"}], [{"role": "user"}]]  # the second has nothing to say: 400
    bodies = [{"model": "m", "messages": chats[n == 3]} for n in range(4)]
    lines = [{"custom_id": str(n), "url": "/v1/chat/completions", "body": body} for n, body in enumerate(bodies)]
    Path("b.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert manycall("run-batch", "b.jsonl", "-u", "sim:latency=0", "-o", "out.jsonl").code == 3
    told = dataset_card("out.jsonl")
    assert (told.rows, told.failures, told.duplicates) == (3, {"call_error": 1}, 0)


def test_the_card_lists_all_models_of_a_batch() -> None:
    body = {"messages": [{"role": "user", "content": "x"}]}
    models = ["gpt-4o", *["gpt-4o-mini"] * 4]
    lines = [
        {"custom_id": str(n), "url": "/v1/chat/completions", "body": {**body, "model": model}}
        for n, model in enumerate(models)
    ]
    Path("b.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert manycall("run-batch", "b.jsonl", "-u", "sim:latency=0", "-o", "out.jsonl").code == 0
    assert dataset_card("out.jsonl").model == "gpt-4o-mini (4), gpt-4o (1)"


def test_the_card_of_steps_lists_judges_draws_and_rejected_rows() -> None:
    Path("chain.toml").write_text("""
random_vars.topic = ["tea", "rain"]
random_vars.tone = ["sad", "funny"]
[[steps]]
output_field = "story"
generate = "Tell of {{ topic }}.\\nBe {{ tone }}."
system = "You are Ann."
params = { temperature = 1.5 }
[[steps]]
judge = "Good? {{ story }}"
min_score = 3
[[steps]]
keep = "score != 4"
reason = "dull: a four"
""")
    assert manycall("steps", "chain.toml", "-n", "60", "-u", "sim:latency=0", "-m", "m", "-o", "out.jsonl").code == 0
    told, page = dataset_card("out.jsonl"), str(dataset_card("out.jsonl"))
    rejected = rows(Path("out.jsonl.run/rejected.jsonl"))
    assert told.rows + sum(told.rejected.values()) == 60
    assert told.rejected["dull"] == sum(row["reason"] == "dull: a four" for row in rejected) > 0
    assert told.rejected["score 1 is below 3"] == sum(row["score"] == 1 for row in rejected) > 0
    assert re.search(rf"^\| rejected +\| {len(rejected)} \(\d+ ", page, re.M)
    assert re.search(r"^\| random variables +\| topic, tone +\|$", page, re.M)
    assert "prompt: Tell of {{ topic }}.\nBe {{ tone }}.\nsystem: You are Ann.\n" in page
    assert "\nStep 2 of 3 (SHA-256 `" in page
    assert 'params: {"temperature": 1.5}' in page
    assert "judge: Good? {{ story }}\noutput_field: score\nmin_score: 3.0\nscale: 1-5\n" in page
    assert "keep: score != 4\n" in page


def test_without_the_price_of_one_endpoint_neither_the_report_nor_the_card_has_a_cost() -> None:
    endpoint = '[[endpoint]]\nbase_url = "sim:latency=0,seed={}"\n{}'
    words = ("generate", "-p", "x", "-n", "20", "-m", "m", "-o", "out.jsonl", "--json")
    Path("endpoints.toml").write_text(endpoint.format(1, 'price = "1/1"\n') + endpoint.format(2, ""))
    assert json.loads(manycall(*words).out)["total_cost"] is None
    assert len({call["endpoint"] for call in rows(Path("out.jsonl.run/calls.jsonl"))}) == 2
    assert dataset_card("out.jsonl").cost is None
    Path("endpoints.toml").write_text(endpoint.format(1, 'price = "1/1"\n') + endpoint.format(2, 'price = "2/2"'))
    report = json.loads(manycall(*words, "--overwrite").out)
    assert dataset_card("out.jsonl").cost == pytest.approx(report["total_cost"])


def test_rows_that_were_left_out_are_counted_by_reason() -> None:
    made()
    q = json.loads(manycall("check-data", "out.jsonl", "--flagged", "rejects.jsonl", "--json").out)
    told = dataset_card("out.jsonl", exclude=["rejects.jsonl"])
    assert told.rows == 200 - q["flagged_rows"]
    assert told.duplicates == 0
    assert sum(told.excluded.values()) == len(rows(Path("rejects.jsonl"))) == q["flagged_rows"]
    assert told.excluded["duplicate"] == q["duplicates"]


def test_the_page_says_the_same_and_the_prompt_stays_in_its_fence() -> None:
    made()
    assert manycall("dataset-card", "out.jsonl", "-o", "README.md", "--data-files", "data-*.parquet").code == 0
    page, told = Path("README.md").read_text(), dataset_card("out.jsonl")
    assert re.search(rf"^\| rows +\| {told.rows} +\|$", page, re.M)
    assert re.search(r"^\| failed +\| 2 \(2 prompt\\_error\) +\|$", page, re.M)
    assert f"````text\n{PROMPT}\n````" in page
    assert page.startswith("---\npretty_name: ")
    assert manycall("dataset-card", "out.jsonl", "-o", "out.jsonl").code == 2
    assert manycall("dataset-card", "out.jsonl", "-o", "README.md").code == 0


def test_without_a_manifest_there_is_no_card() -> None:
    Path("plain.jsonl").write_text('{"id":"a","text":"x"}\n')
    with pytest.raises(UsageError, match=r"plain\.jsonl: plain\.jsonl\.run/manifest\.json not found"):
        dataset_card("plain.jsonl")


LOAD = """
from huggingface_hub import DatasetCard
data = DatasetCard.load("hub/README.md").data.to_dict()
print(data["size_categories"], data["configs"][0]["data_files"][0]["path"], data["tags"])
import datasets
datasets.disable_progress_bars()
print(datasets.load_dataset("./hub", split="train").num_rows)
"""


@pytest.mark.skipif(not HUB.exists(), reason="the hub's libraries are not there")
def test_the_hub_understands_the_card_and_finds_the_shards(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    made()
    Path("hub").mkdir()
    assert manycall("export", "out.jsonl", "-o", "hub/data.parquet", "--shard-rows", "70").code == 0
    assert manycall("dataset-card", "out.jsonl", "-o", "hub/README.md", "--data-files", "data-*.parquet").code == 0
    env = {"HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "1", "PATH": "/usr/bin:/bin"}
    done = subprocess.run([HUB, "-c", LOAD], capture_output=True, text=True, timeout=120, env=env, check=False)
    assert done.stdout.splitlines() == ["['n<1K'] data-*.parquet ['synthetic', 'manycall']", "200"], done.stderr
