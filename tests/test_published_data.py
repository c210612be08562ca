"""Where the questions come from: pinned files of a hub, local copies in the published form, made-up rows."""

import asyncio
import json
import re
import runpy
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

import manycall
from manycall.errors import UsageError
from manycall.evals.evaluate import evaluate_job
from manycall.evals.tasks import extras, published_data
from manycall.evals.tasks.hub_files import GitHubFile, HubFile
from manycall.evals.tasks.published_data import PublishedData
from manycall.evals.tasks.refused import REFUSED, refusal_reason
from manycall.evals.tasks.registry import BENCHMARKS, TASKS
from manycall.evals.tasks.task import Task
from manycall.evals.tasks.task_prompt import TaskPrompt
from manycall.records import Row
from servers import http, serving
from shell import manycall as command

BODY = b'{"problem": "1+1?", "answer": "2"}\n'
FILE = HubFile("owner/set", "c0ffee" * 6 + "abcd", "data/test.jsonl", sha256(BODY).hexdigest(), "other/set", gated=True)


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("HF_ENDPOINT", "HF_TOKEN", "MANYCALL_HUB"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "cache"


class Hub:
    """A server that answers from a table of paths, and keeps what it was asked with which token."""

    def __init__(self, replies: dict[str, tuple[int, bytes, list[str]]]) -> None:
        self.replies, self.asked = replies, list[tuple[str, str]]()

    async def connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        path = head.split()[1]
        token = next(
            (line.partition(": ")[2] for line in head.splitlines() if line.lower().startswith("authorization")), ""
        )
        self.asked.append((path, token))
        status, body, headers = self.replies.get(path, (404, b"", []))
        writer.write(http(status, body, *headers))
        await writer.drain()


def test_the_address_follows_the_environment() -> None:
    at = f"datasets/owner/set/resolve/{FILE.revision}/data/test.jsonl"
    assert FILE.url({}) == f"https://huggingface.co/{at}"
    assert FILE.url({"HF_ENDPOINT": "https://hf-mirror.example/"}) == f"https://hf-mirror.example/{at}"
    query = "repo?Revision=master&FilePath=data%2Ftest.jsonl"
    assert FILE.url({"MANYCALL_HUB": "modelscope"}) == f"https://www.modelscope.cn/api/v1/datasets/other/set/{query}"
    with pytest.raises(UsageError, match="must be huggingface or modelscope, not 'nosuch'"):
        FILE.url({"MANYCALL_HUB": "nosuch"})
    with pytest.raises(UsageError, match=r"owner/set is not on ModelScope\. Unset MANYCALL_HUB, or pass a local copy"):
        HubFile("owner/set", "c", "t.jsonl").url({"MANYCALL_HUB": "modelscope"})


def test_a_file_is_downloaded_once_and_the_token_stays_with_the_hub() -> None:
    at = f"/datasets/owner/set/resolve/{FILE.revision}/data/test.jsonl"
    storage = Hub({"/big": (200, BODY, [])})
    with serving(storage.connection) as other:
        hub = Hub({at: (302, b"", [f"location: {other.removesuffix('/v1').replace('127.0.0.1', 'localhost')}/big"])})
        with serving(hub.connection) as url:
            environ = {"HF_ENDPOINT": url.removesuffix("/v1"), "HF_TOKEN": "hf_secret"}
            path = FILE.fetch(environ)
            assert (path.read_bytes(), FILE.fetch(environ)) == (BODY, path)
    assert hub.asked == [(at, "Bearer hf_secret")]
    assert storage.asked == [("/big", "")]


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (401, b"", "owner/set is gated. Accept its conditions at https://huggingface.co/datasets/owner/set and set"),
        (404, b"", r"status 404\)\. Set HF_ENDPOINT to the address of a mirror, or set MANYCALL_HUB=modelscope, or"),
        (200, b"another", "has changed: its SHA-256 differs"),
    ],
)  # fmt: skip
def test_what_cannot_be_downloaded_is_said_with_a_way_out(status: int, body: bytes, said: str) -> None:
    at = f"/datasets/owner/set/resolve/{FILE.revision}/data/test.jsonl"
    with serving(Hub({at: (status, body, [])}).connection) as url, pytest.raises(UsageError, match=said):
        FILE.fetch({"HF_ENDPOINT": url.removesuffix("/v1")})


def test_without_a_known_checksum_that_of_the_first_download_holds() -> None:
    file = HubFile("owner/set", "main", "t.jsonl")
    at = "/datasets/owner/set/resolve/main/t.jsonl"
    hub = Hub({at: (200, BODY, [])})
    with serving(hub.connection) as url:
        environ = {"HF_ENDPOINT": url.removesuffix("/v1")}
        path = file.fetch(environ)
        assert file.fetch(environ) == path
        assert len(hub.asked) == 1
        path.write_bytes(b"damaged")
        assert file.fetch(environ).read_bytes() == BODY
        path.unlink()
        hub.replies[at] = (200, b"another", [])
        with pytest.raises(UsageError, match="has changed"):
            file.fetch(environ)


def test_a_file_on_github_has_a_checksum(monkeypatch: pytest.MonkeyPatch) -> None:
    file = GitHubFile("owner/name", "abc", "a/b.tsv", sha256(BODY).hexdigest())
    hub = Hub({"/owner/name/abc/a/b.tsv": (200, BODY, [])})
    with serving(hub.connection) as url:
        monkeypatch.setattr("manycall.evals.tasks.hub_files.GITHUB", url.removesuffix("/v1"))
        assert file.fetch().read_bytes() == BODY


def data_of(**more: Any) -> PublishedData:
    """A loader whose rows have a problem and an answer."""
    convert = lambda fields, file: {"question": fields["problem"], "answer": int(fields["answer"]), "year": file}  # noqa: E731
    return PublishedData((FILE,), convert, **more)


TASK = Task((), "{{ question }}", str.strip, lambda read, target: read == target, subtask="year")


def test_local_files_have_ids_by_subtask_and_their_checksum_in_the_settings() -> None:
    Path("d").mkdir()
    for year, count in (("2024", 2), ("2025", 1)):
        Path(f"d/{year}.jsonl").write_bytes(BODY * count)
    Path("d/README.md").write_text("not read")
    task = data_of()(TASK, Path("d"))
    rows: Any = task.rows
    assert [row["id"] for row in rows] == ["2024-0", "2024-1", "2025-0"]
    assert len(task.identity["data"]) == 64
    assert "made_up_rows" not in task.identity


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"question": "1+1?"}\n', r"line 1: missing field 'problem'\. Expected a row in the published form"),
        ('{"problem": "1+1?", "answer": "two"}\n', r"line 1: invalid literal for int"),
        ("", "contains no rows"),
    ],
)  # fmt: skip
def test_a_file_in_another_form_is_refused(text: str, said: str) -> None:
    Path("d.jsonl").write_text(text)
    with pytest.raises(UsageError, match=said):
        data_of()(TASK, Path("d.jsonl"))


def test_a_task_without_made_up_rows_and_a_missing_extra_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="no made-up rows"):
        data_of()(TASK, "sample")
    monkeypatch.setitem(extras.EXTRA_MODULES, "math", ("no_such_module",))
    with pytest.raises(UsageError, match=r"math500 needs the math extra\. Run: pip install 'manycall\[math\]'"):
        evaluate_job("math500", manycall_options())


def manycall_options() -> Any:
    """The options of a run at the simulated endpoint."""
    from manycall.run.options import RunOptions

    return RunOptions(model="m", out="out.jsonl", base_url="sim")


def test_a_run_at_the_simulated_endpoint_says_that_its_questions_are_made_up() -> None:
    ended = command("eval", "aime25", "-u", "sim", "-m", "any", "-o", "out.jsonl", "--no-progress")
    assert ended.code == 0, ended.err
    assert "aime25 (made-up questions) | none   | 0.7500" in ended.out
    assert "The scores say nothing about a model." in ended.out
    assert "Expected score from the simulated endpoint: 9 of 12 correct (0.7500)." in ended.out
    assert json.loads(Path("out.jsonl.run/manifest.json").read_text())["settings"]["made_up_rows"] is True
    assert "made-up questions" in str(manycall.score("out.jsonl"))
    results, samples = manycall.export_lm_eval("out.jsonl", "exported")
    assert json.loads(results.read_text())["results"]["aime25"]["exact_match,none"] == 0.75
    assert len(samples.read_text().splitlines()) == 12


WITH_SAMPLE = sorted(name for name, task in TASKS.items() if isinstance(task.loader, PublishedData))


@pytest.mark.parametrize("name", WITH_SAMPLE)
def test_every_filter_reads_the_planted_responses_of_the_made_up_rows(name: str) -> None:
    if package := {"math": "math_verify", "ifeval": "langdetect"}.get(BENCHMARKS[name].extra):
        pytest.importorskip(package)
    task = TASKS[name]
    assert task.loader is not None
    assert task.planted is not None
    loaded = task.loader(task, "sample")
    rows: Any = loaded.rows
    assert len(rows) % 4 == 0
    for published in rows[:12]:
        row = published if loaded.vary is None else loaded.vary(published, 0)
        right, wrong = task.planted(row)
        stops = task.params.get("stop", [])
        assert not any(stop in text for stop in stops for text in (right, wrong))
        assert {value for _, value in task.score_response(right, row).values()} == {1.0}, right
        assert {value for _, value in task.score_response(wrong, row).values()} == {0.0}, wrong


def test_what_is_left_out_is_refused_with_the_reason() -> None:
    ended = command("eval", "humaneval_instruct", "-u", "sim", "-m", "any", "-o", "out.jsonl")
    assert (ended.code, "humaneval_instruct is not included: scoring it executes code" in ended.err) == (2, True)
    assert not REFUSED.keys() & TASKS.keys()
    assert all(reason.endswith(".") for reason in REFUSED.values())
    assert refusal_reason("MBPP-plus") == REFUSED["mbpp"]
    assert refusal_reason("mine") is None


def test_the_example_of_a_benchmark_works_as_contributing_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")
    example = re.search(r"```python\n(.*?)```", page[page.index("### A benchmark") :], re.DOTALL)
    assert example is not None
    (tmp_path / "example.py").write_text(example[1])
    (tmp_path / "example.jsonl").write_text('{"problem": "What is 17 + 25?", "answer": 42}\n')
    monkeypatch.setattr(published_data, "SAMPLES_FOLDER", tmp_path)
    (benchmark,) = runpy.run_path(str(tmp_path / "example.py"))["BENCHMARKS"]
    task = benchmark.task.loader(benchmark.task, "sample")
    assert TaskPrompt(task).messages(Row("x", task.rows[0], 0))[0]["content"].startswith("What is 17 + 25?\nReason")
    scores = [task.score_response(text, task.rows[0])["boxed"][1] for text in task.planted(task.rows[0])]
    assert scores == [1.0, 0.0]


def test_the_list_says_which_files_have_no_confirmed_checksum() -> None:
    unconfirmed = {name for name, each in BENCHMARKS.items() if each.source.endswith("(checksum not confirmed)")}
    assert {"aime24", "cmath", "mmlu_pro", "gsm8k_platinum"} <= unconfirmed
    assert not {"aime25", "math500", "gsm8k", "ifeval", "wordmath", "ceval"} & unconfirmed


def test_the_list_names_every_benchmark_its_protocol_and_its_extra() -> None:
    ended = command("eval", "--list")
    assert ended.code == 0
    assert all(f"| {name} " in ended.out for name in TASKS)
    assert "| 500       | lm-evaluation-harness 0.4.13" in ended.out
