"""The commands, in their own processes, over real sockets."""

import asyncio
import json
import re
from inspect import signature
from pathlib import Path
from typing import Any, get_args, get_type_hints

import msgspec
import pytest

from manycall.cli.flags import RUN_PARAMETERS, parse_params
from manycall.cli.sim_command import sim as sim_verb
from manycall.run.options import RunOptions
from manycall.sim.rate_limits import SIM_HEADERS
from manycall.sim.sim_settings import SimSettings
from servers import http, read_request, saying, serving
from shell import manycall, rows, sim

OUT = Path("out.jsonl")
GENERATE = ("generate", "-p", "Tell a story.", "-m", "any", "-o", "out.jsonl")


def test_generate_writes_readable_text_for_every_row() -> None:
    done = manycall("generate", "-p", "讲一个吸引人的、简短的故事。", "-n", "50", "-u", "sim", "-m", "any", "-o", OUT)
    assert done.code == 0
    assert sorted(int(row["id"]) for row in rows(OUT)) == list(range(50))
    assert re.search(r'"text":"[\u4e00-\u9fff]+。"', OUT.read_text(encoding="utf-8"))
    assert "50 of 50 done " in done.out
    assert "out.jsonl.run/" in done.out


def test_the_same_command_finds_everything_done() -> None:
    with sim("--latency", "0") as endpoint:
        for _ in range(2):
            assert manycall(*GENERATE, "-n", "20", "-u", endpoint.url).code == 0
        assert endpoint.stats["finished"] == 20
        assert manycall(*GENERATE, "-n", "30", "-u", endpoint.url).code == 0
        assert endpoint.stats["finished"] == 30


def test_a_changed_prompt_is_refused_with_a_diff_and_fresh_starts_over() -> None:
    manycall(*GENERATE, "-n", "3", "-u", "sim")
    changed = [word.replace("story", "joke") for word in GENERATE]
    done = manycall(*changed, "-n", "3", "-u", "sim")
    assert done.code == 2
    assert "-Tell a story." in done.err
    assert "+Tell a joke." in done.err
    assert manycall(*changed, "-n", "3", "-u", "sim", "--overwrite").code == 0
    assert len(rows(Path("out.jsonl.old"))) == 3


def test_eval_scores_the_accuracy_that_the_endpoint_was_given() -> None:
    done = manycall("eval", "wordmath", "-u", "sim:accuracy=0.9,latency=0", "-m", "any", "-o", OUT, "--json")
    result = json.loads(done.out)
    assert [(s["filter"], s["value"]) for s in result["scores"]] == [("strict-match", 0.9), ("last-number", 0.9)]
    assert result["run"]["sim"]["planted"] == {"asked": 1200, "right": 1080, "accuracy": 0.9}
    again = manycall("score", OUT, "--scorer", "wordmath/last-number", "--json")
    assert json.loads(again.out)["scores"][0]["value"] == 0.9
    assert manycall("score", OUT, "--fail-under", "0.9").code == 0
    assert manycall("score", OUT, "--fail-under", "0.91").code == 4


def test_gsm8k_is_evaluated_from_local_files(gsm8k: Path) -> None:
    files = ("--data", gsm8k / "test.jsonl", "--fewshot-data", gsm8k / "train.jsonl")
    done = manycall("eval", "gsm8k", *files, "-u", "sim:latency=0", "-m", "any", "-o", OUT, "--json")
    result = json.loads(done.out)
    assert len({row["id"] for row in rows(OUT)}) == len(rows(OUT)) == 1319
    assert [s["value"] for s in result["scores"]] == [989 / 1319] * 2
    assert result["run"]["sim"]["planted"]["right"] == 989


def test_a_task_sends_what_its_protocol_says(gsm8k: Path) -> None:
    bodies: list[dict[str, Any]] = []

    async def server(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        bodies.append(json.loads((await read_request(reader))[1]))
        writer.write(http(200, b'{"choices":[{"message":{"content":"#### 18"},"finish_reason":"stop"}]}'))
        await writer.drain()

    files = ("--data", gsm8k / "test.jsonl", "--fewshot-data", gsm8k / "train.jsonl")
    with serving(server) as url:
        manycall("eval", "gsm8k", *files, "-u", url, "-m", "X", "-o", OUT, "--limit", "1", "--param", "timeout=7")
    (body,) = bodies
    assert len(body.pop("messages")) == 11
    stop = ["Question:", "</s>", "<|im_end|>"]
    assert body == {"model": "X", "max_tokens": 256, "temperature": 0.0, "stop": stop, "seed": 1234, "timeout": 7}


def test_run_takes_a_function_from_a_file() -> None:
    Path("judge.py").write_text(
        "async def grade(row, llm):\n"
        "    draft = await llm.chat(row['q'])\n"
        "    if row['q'] == 'q3' and MENDED is None:\n"
        "        raise ValueError('cannot grade')\n"
        "    return {'draft': draft.text}\n"
        "MENDED = None\n"
    )
    Path("in.jsonl").write_text("".join(f'{{"q": "q{n}"}}\n' for n in range(10)))
    with sim("--latency", "0") as endpoint:
        command = ("run", "judge.py:grade", "in.jsonl", "-m", "any", "-u", endpoint.url, "-o", OUT)
        assert manycall(*command).code == 3
        (failure,) = rows(Path("out.jsonl.run/failures.jsonl"))
        assert (failure["row"], failure["error"]) == ({"q": "q3"}, "ValueError: cannot grade (judge.py, line 4)")
        assert failure["last_text"]
        Path("judge.py").write_text(Path("judge.py").read_text().replace("MENDED = None", "MENDED = True"))
        assert manycall(*command).code == 0
        assert len(rows(OUT)) == 10
        assert endpoint.stats["finished"] == 10


@pytest.mark.usefixtures("no_key")
@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("generate", "-p", "x", "-m", "m", "-o", "o.jsonl"), 2, r"No endpoint configured.*--base-url sim"),
        (("generate", "-p", "x", "-o", "o.jsonl", "-u", "sim"), 2, r"Missing model. Pass --model"),
        (("generate", "-p", "x", "none.jsonl", "-m", "m", "-o", "o.jsonl", "-u", "sim"), 2, "file not found"),
        (("generate", "-p", "{{ a }}", "bad.jsonl", "-m", "m", "-o", "o.jsonl", "-u", "sim"), 2, r"bad.jsonl, line 7"),
        (("generate", "-p", "{{ b }}", "a.jsonl", "-m", "m", "-o", "o.jsonl", "-u", "sim"), 2, "the field 'b', which"),
        (("generate", "-p", "{{ b }}", "-m", "m", "-o", "o.jsonl", "-u", "sim"), 2, "the field 'b', which"),
        (
            ("generate", "-p", "{{ a }}", "a.jsonl", "--output-field", "a", "-m", "m", "-o", "o.jsonl", "-u", "sim"),
            2,
            r"Rename it",
        ),
        (
            ("generate", "-p", "x", "-m", "m", "-o", "o.jsonl", "-u", "nowhere"),
            2,
            r"Unknown provider 'nowhere'. Expected a URL",
        ),
        (("generate", "-p", "x", "-m", "m", "-o", "o.jsonl", "-u", "https://api.openai.com/v1"), 2, r"OPENAI_API_KEY"),
        (("generate", "-p", "x", "-m", "m", "-o", "o.jsonl", "-u", "sim:warp=9"), 2, r"No such option.*warp"),
        (("generate", "-p", "x", "-m", "m", "-o", "o.jsonl", "-u", "sim:slots=0"), 2, r"start: slots must be from 1"),
        (("generate", "-p", "{{ a }}", ".", "-m", "m", "-o", "o.jsonl", "-u", "sim"), 2, r"is a folder"),
        (
            ("generate", "-p", "caf\udce9", "-m", "m", "-o", "o.jsonl", "-u", "sim"),
            2,
            r"bytes that are not valid UTF-8",
        ),
        (("generate", "-p", "x", "-m", "m", "-o", "o.jsonl", "-u", "sim", "--param", "top_p"), 2, r"NAME=VALUE"),
        (("generate", "-p", "x", "-m", "m", "-o", "o.jsonl", "-u", "sim", "-j", "0"), 2, r"--concurrency must be"),
        (("generate", "-p", "x", "-m", "m", "-o", "o.jsonl", "-u", "sim", "-n", "0"), 2, r"--samples must be"),
        (("generate", "-p", "x", "-m", "m", "-o", "a.jsonl/o", "-u", "sim"), 2, r"cannot be used"),
        (("generate", "-p", "x", "-m", "m", "-o", "o.jsonl", "-u", "http://127.0.0.1:1/v1"), 4, r"refused"),
        (("eval", "nosuch", "-m", "m", "-o", "o.jsonl", "-u", "sim"), 2, r"Unknown task 'nosuch'.*eval --list"),
        (("eval", "gsm8k", "--data", "a.jsonl", "-m", "m", "-o", "o.jsonl", "-u", "sim"), 2, r"line 1.*question"),
        (("run", "judge.py", "a.jsonl", "-m", "m", "-o", "o.jsonl", "-u", "sim"), 2, r"FILE.py:function"),
        (("run", "f.py:none", "a.jsonl", "-m", "m", "-o", "o.jsonl", "-u", "sim"), 2, r"no function 'none'"),
        (("run", "f.py:plain", "a.jsonl", "-m", "m", "-o", "o.jsonl", "-u", "sim"), 2, r"must be an async function"),
        (
            ("run", "broken.py:f", "a.jsonl", "-m", "m", "-o", "o.jsonl", "-u", "sim"),
            2,
            r"cannot be loaded: SyntaxError",
        ),
        (("steps", ".", "-m", "m", "-o", "o.jsonl", "-u", "sim"), 2, r"cannot be read: Is a directory"),
        (("eval", "none.jsonl", "-m", "m", "-o", "o.jsonl", "-u", "sim"), 2, r"none.jsonl: file not found."),
        (
            ("eval", "wordmath", "-m", "m", "-o", "o.jsonl", "-u", "sim", "--fail-under", "80"),
            2,
            r"--fail-under must be from 0 to 1",
        ),
        (("score", "a.jsonl", "--scorer", "exact", "--fail-under", "nan"), 2, r"--fail-under must be from 0 to 1"),
        (("score", "none.jsonl"), 2, "file not found"),
        (("score", "."), 2, ". is a folder. Pass a file in it."),
        (
            ("generate", "-p", "x", "-m", "m", "-o", "o.csv", "-u", "sim"),
            2,
            r"Name it o.jsonl; `manycall export`",
        ),
        (("repair", "."), 2, ". is a folder. Pass an output."),
        (("sim", "--port", "99999"), 2, r"Cannot listen on"),
        (("sim", "--rate-limit-headers", "latin"), 2, r"'latin' is not one of"),
        (("nosuch",), 2, r"No such command"),
        (
            ("generate", "-p", "{a}", "a.jsonl", "-m", "m", "-o", "o.jsonl", "-u", "sim"),
            2,
            r"does not use any field.*It contains \{a\}: write \{\{ a \}\} instead\. To run one prompt",
        ),
        (("generate", "-p", "", "-m", "m", "-o", "o.jsonl", "-u", "sim"), 2, r"The prompt is empty"),
        (("generate", "-p", "x", "-m", "m", "-o", "/dev/full", "-u", "sim"), 2, r"not the name of a file"),
        (("generate", "-p", "x", "-m", "m", "-o", ".", "-u", "sim"), 2, r"not the name of a file"),
        (("generate", "-p", "x", "-m", "m", "-o", "new/", "-u", "sim"), 2, r"--out new/ is not the name of a file"),
        (
            ("generate", "-p", "{{ a }}", "a.jsonl", "-m", "m", "-o", "./a.jsonl", "--overwrite", "-u", "sim"),
            2,
            r"at once",
        ),
        (("generate", "-p", "x", "/dev/null", "-m", "m", "-o", "o.jsonl", "-u", "sim"), 2, r"not a regular file"),
        (("generate", "-p", "x", "-m", "m", "-o", "o.jsonl", "-u", "sim", "--param", "stream=true"), 2, r"'stream'"),
        (
            ("judge", "a.jsonl", "--rubric", "{{ a }}", "-m", "m", "-o", "o.jsonl", "-u", "sim", "--param", "n=4"),
            2,
            r"--samples",
        ),
    ],
)
def test_what_cannot_work_is_one_sentence_and_the_right_code(words: tuple[str, ...], code: int, said: str) -> None:
    Path("a.jsonl").write_text('{"a": 1}\n')
    Path("bad.jsonl").write_text('{"a": 1}\n' * 6 + '{"a":\n')
    Path("f.py").write_text("def plain(row, llm): pass\n")
    Path("broken.py").write_text("def f(:\n")
    done = manycall(*words)
    assert done.code == code, done.err
    assert re.search(said, done.err)
    assert done.out == ""
    assert not Path("o.jsonl").exists() or Path("o.jsonl").read_bytes() == b""


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (
            http(401, b'{"error":{"message":"Incorrect API key provided: sk-CANARY-1234"}}'),
            r"returned status 401: Incorrect",
        ),
        (
            http(404, b'{"error":{"message":"The model `any` does not exist","code":404}}'),
            r"404: The model `any` does not",
        ),
        (http(429, b'{"error":{"message":"You exceeded","code":"insufficient_quota"}}'), r"429: You exceeded"),
        (http(404, b"<html>nothing here</html>"), r"404: <html>nothing here"),
    ],
)
def test_what_stops_a_run_is_one_sentence_and_how_to_go_on(reply: bytes, said: str) -> None:
    with serving(saying(reply)) as url:
        done = manycall(*GENERATE, "-n", "1000", "-u", url, env={"OPENAI_API_KEY": "sk-CANARY-1234"})
    assert done.code == 4
    assert re.search(said, done.err)
    assert "Fix the problem and resume with: manycall generate -p 'Tell a story.' -m any" in done.err
    assert "CANARY" not in done.err + done.out
    for path in [OUT, *Path("out.jsonl.run").iterdir()]:
        assert b"CANARY" not in path.read_bytes()


def test_faults_on_the_way_cost_retries_and_no_row() -> None:
    with sim("--latency", "0", "--error-rate", "0.1", "--drop-rate", "0.1") as endpoint:
        done = manycall(*GENERATE, "-n", "300", "-u", endpoint.url, "--json")
        stats = endpoint.stats
    report = json.loads(done.out)
    assert (done.code, report["done"], report["failed"]) == (0, 300, 0)
    assert report["retries"] == stats["failed"] + stats["dropped"] > 20
    assert report["possibly_billed"] == stats["dropped"]


def test_an_unknown_quota_is_found_and_fails_nothing() -> None:
    with sim("--latency", "0.2", "--token-latency", "0", "--rpm", "3000") as endpoint:
        done = manycall(*GENERATE, "-n", "300", "-j", "40", "-u", endpoint.url, "--json")
        refused = endpoint.stats["refused"]
    report = json.loads(done.out)
    assert (done.code, report["done"], report["http_429"]) == (0, 300, refused)
    assert refused < 60


def test_a_configured_quota_is_never_exceeded() -> None:
    with sim("--latency", "0.2", "--token-latency", "0", "--rpm", "3000") as endpoint:
        Path("endpoints.toml").write_text(f'[[endpoint]]\nbase_url = "{endpoint.url}"\nrpm = 3000\n')
        done = manycall(*GENERATE, "-n", "200", "--json")
        assert endpoint.stats["refused"] == 0
    report = json.loads(done.out)
    assert (done.code, report["done"]) == (0, 200)
    assert report["seconds"] < 200 / 50 / 0.98 + 3.0  # a busy machine takes a second or two more


def test_a_function_fixed_within_the_second_is_loaded_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    from manycall.cli.user_code import load_function

    monkeypatch.setattr("sys.dont_write_bytecode", False)
    for value in "abc":  # the same length, so that neither size nor second tells the files apart
        Path("quick.py").write_text(f"def f(row, llm): return '{value}'\n")
        assert load_function("quick.py:f")({}, None) == value
    assert not Path("__pycache__").exists()


def test_embeddings_and_raw_completions_work_too() -> None:
    Path("f.py").write_text(
        "async def f(row, llm):\n"
        "    vectors = (await llm.embed([row['q'], 'b'])).vectors\n"
        "    return {'more': (await llm.complete(row['q'])).text, 'size': [len(v) for v in vectors]}\n"
    )
    Path("in.json").write_text('[{"q": "once"}]')
    assert manycall("run", "f.py:f", "in.json", "-m", "any", "-u", "sim", "-o", OUT).code == 0
    assert rows(OUT)[0]["size"] == [8, 8]
    assert rows(OUT)[0]["more"]


def test_the_card_is_printed_as_json_too_when_it_is_written() -> None:
    manycall(*GENERATE, "-n", "3", "-u", "sim")
    assert manycall("dataset-card", OUT, "-o", "README.md").out == ""
    assert json.loads(manycall("dataset-card", OUT, "-o", "README.md", "--json").out)["name"] == "out"
    assert Path("README.md").read_text().startswith("---\n")


def test_every_run_option_but_the_key_has_a_flag() -> None:
    shown = {each.name for each in RUN_PARAMETERS}
    assert shown | {"api_key"} == set(RunOptions.__struct_fields__)
    assert parse_params(["top_p=0.9", "stop=a"]) == {"top_p": 0.9, "stop": "a"}


def test_every_setting_of_the_simulated_server_is_a_flag_with_its_default() -> None:
    flags = {name: each.default for name, each in signature(sim_verb).parameters.items()}
    defaults = msgspec.structs.asdict(SimSettings())
    assert {name: flags[name] for name in defaults} == defaults
    headers = get_type_hints(SimSettings)["rate_limit_headers"]
    assert set(get_args(headers)) == {"auto", *SIM_HEADERS}


def test_help_and_version_are_there() -> None:
    for verb in ("generate", "eval", "run", "score", "compare", "judge", "sim"):
        assert verb in manycall("--help").out
        assert manycall(verb, "--help").code == 0
    assert manycall("--version").out.startswith("manycall ")
