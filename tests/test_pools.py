"""Several pools of endpoints in one run: calls that name one, their keys, limits, prices and spending."""

import asyncio
import json
import re
import shutil
import time
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest

import manycall
from fakes import SoloClient
from manycall import errors
from manycall.client.endpoints_file import read_endpoints_file
from manycall.client.pool_names import PoolChoice
from manycall.providers.price_book import recorded_price_book
from manycall.run.dry_run import PLACEHOLDER
from manycall.run.map_rows import UserFunction, map_job
from manycall.run.options import RunOptions
from manycall.run.run_job import run_shared
from manycall.run.session_handle import SessionHandle
from manycall.steps import Generate, Judge
from manycall.store.journal_line import request_hash
from manycall.testing import (
    InProcessTransport,
    MemoryTransport,
    SimServer,
    SimSettings,
    chat_response,
    error_response,
    run_virtual,
)
from manycall.transport.messages import HttpRequest, HttpResponse
from shell import manycall as manycall_command
from shell import sim, start

OUT = Path("out.jsonl")
JOURNAL = Path("out.jsonl.run/calls.jsonl")
POOLS = ("writer", "judge")
THREE = """
[[endpoint]]
name = "writer"
base_url = "http://writer/v1"
model = "big-writer"
price = "2/10"

[[endpoint]]
name = "judge"
base_url = "http://judge/v1"
model = "small-judge"
price = "1/3"

[[endpoint]]
name = "judge"
base_url = "http://judge-too/v1"
model = "vendor/small-judge"
price = "4/8"
"""


def configure(text: str = THREE) -> None:
    Path("endpoints.toml").write_text(text)


class Servers(MemoryTransport):
    """Answers with the host and the model of each request.

    Args:
        missing: a host at which the model does not exist.
    """

    def __init__(self, missing: str = "") -> None:
        super().__init__(lambda body: "")
        self.seen: list[tuple[str, str]] = []
        self._missing = missing

    async def send(self, request: HttpRequest) -> HttpResponse:
        """Answer one request."""
        if request.method == "GET":
            return await super().send(request)
        host, model = request.url.split("/")[2], msgspec.json.decode(request.body)["model"]
        self.seen.append((host, model))
        if host == self._missing:
            return error_response(404, "no such model")
        await asyncio.sleep(1.0)
        return chat_response(f"4 {host} {model}")


def client(transport: Any = None, **options: Any) -> manycall.Client:
    return manycall.Client("story", transport=transport or Servers(), **options)


def finished(work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    result: list[Any] = []

    async def main() -> None:
        result.append(await work())

    run_virtual(main())
    return result[0]


async def both(row: dict[str, Any], llm: manycall.LLM) -> dict[str, Any]:
    return {"text": (await llm.chat("same")).text, "verdict": (await llm.chat("same", endpoint="judge")).text}


def lose_rows() -> None:
    """Empty the output, as if the process had been killed before it wrote the rows."""
    OUT.write_bytes(b"")


def journal() -> list[dict[str, Any]]:
    return [json.loads(line) for line in JOURNAL.read_text().splitlines()]


def test_a_call_goes_to_the_endpoints_that_it_names_with_their_model_and_is_replayed_from_them() -> None:
    configure()
    transport = Servers()

    async def run() -> Any:
        async with client(transport) as llm:
            await llm.map(both, [{}] * 8, out=OUT, progress=False)
            lose_rows()
            return await llm.map(both, [{}] * 8, out=OUT, progress=False)

    result = finished(run)
    assert (result.done, result.calls, result.replayed) == (8, 0, 16)
    assert transport.seen.count(("writer", "big-writer")) == 8
    assert {model for host, model in transport.seen if host == "judge"} == {"small-judge"}
    assert {model for host, model in transport.seen if host == "judge-too"} == {"vendor/small-judge"}
    for row in result:
        assert row["text"] == "4 writer big-writer"
        assert row["verdict"] in ("4 judge small-judge", "4 judge-too vendor/small-judge")
    keys = {(call["key"], call.get("model")) for call in journal()}
    body = b'{"model":"%s","messages":[{"role":"user","content":"same"}]}'
    assert keys == {
        (request_hash("chat", body % b"story"), None),  # as in a run with one endpoint
        (request_hash("chat", body % b"small-judge", "judge"), "small-judge"),  # one key for both endpoints
    }


def test_the_spending_of_each_endpoint_over_all_sessions_equals_a_recount_of_the_journal() -> None:
    configure()

    async def run() -> Any:
        async with client() as llm:
            await llm.map(both, [{"n": n} for n in range(4)], out=OUT, progress=False)
            return await llm.map(both, [{"n": n} for n in range(10)], out=OUT, progress=False)

    result = finished(run)
    prices = {"writer": (2, 10), "judge http://judge/v1": (1, 3), "judge http://judge-too/v1": (4, 8)}
    assert {each.endpoint for each in result.endpoints} == prices.keys()
    for each in result.endpoints:
        mine = [json.loads(call["body"])["usage"] for call in journal() if call["endpoint"] == each.endpoint]
        cost_in, cost_out = prices[each.endpoint]
        cost = sum(used["prompt_tokens"] * cost_in + used["completion_tokens"] * cost_out for used in mine)
        assert (each.calls, each.prompt_tokens, each.completion_tokens) == (len(mine), 3 * len(mine), 2 * len(mine))
        assert each.cost == pytest.approx(cost / 1e6)
    assert result.total_cost == pytest.approx(sum(each.cost for each in result.endpoints))
    assert sum(each.calls for each in result.endpoints) == 20
    assert "at writer" in str(result)
    timeline = [json.loads(line) for line in Path("out.jsonl.run/timeline.jsonl").read_text().splitlines()]
    last = [line for line in timeline if "total_ended" in line][-1]
    assert {each["endpoint"]: each["cost"] for each in last["endpoints"]} == {
        each.endpoint: pytest.approx(each.cost) for each in result.endpoints
    }


def test_endpoints_without_a_name_are_the_default_and_otherwise_those_with_the_first_name() -> None:
    async def text(**options: Any) -> Any:
        async with client(**options) as llm:
            return (await llm.chat("x")).text

    configure()
    assert finished(text) == "4 writer big-writer"
    assert finished(lambda: text(endpoint="judge")).startswith("4 judge")
    configure(THREE + '[[endpoint]]\nbase_url = "http://plain/v1"\n')
    assert finished(text) == "4 plain story"
    assert finished(lambda: text(endpoint="writer")) == "4 writer big-writer"


def test_the_model_of_the_endpoint_is_the_default() -> None:
    configure()
    assert (SoloClient().model, SoloClient(endpoint="judge").model) == ("big-writer", "small-judge")
    assert SoloClient(pools=()).pools.models == {}
    configure(THREE.replace("model", "#"))
    with pytest.raises(errors.UsageError, match="Missing model"):
        SoloClient()


def test_a_call_may_name_the_default_pool_and_another_model() -> None:
    configure()

    async def texts() -> Any:
        async with client() as llm:
            answers = [await llm.chat("x", endpoint="writer"), await llm.chat("x", endpoint="judge", model="other")]
            return [each.text for each in answers]

    writer, judge = finished(texts)
    assert writer == "4 writer big-writer"
    assert judge.split()[2] == "other"


def test_a_wrong_model_in_one_pool_stops_the_run_although_another_pool_answers() -> None:
    configure(THREE.partition('[[endpoint]]\nname = "judge"\nbase_url = "http://judge-too')[0])
    transport = Servers(missing="judge")

    async def run() -> Any:
        async with client(transport) as llm:
            return await llm.map(both, [{"n": n} for n in range(1000)], out=OUT, progress=False)

    with pytest.raises(errors.RunStopped, match="no such model"):
        finished(run)
    assert 1 <= sum(host == "judge" for host, _ in transport.seen) <= 8


@pytest.mark.parametrize("dry_run", [False, True])
def test_an_unknown_name_stops_a_run_with_the_names_and_the_nearest_one(dry_run: bool) -> None:
    configure()

    async def misspelt(row: dict[str, Any], llm: manycall.LLM) -> dict[str, Any]:
        return {"text": (await llm.chat("x", endpoint="jugde")).text}

    async def run() -> Any:
        async with client() as llm:
            return await llm.map(misspelt, [{}] * 100, out=OUT, progress=False, dry_run=dry_run)

    with pytest.raises(errors.UsageError, match=r"named 'jugde'. Did you mean 'judge'.*: judge, writer") as caught:
        finished(run)
    assert caught.value.exit_code == 2
    assert not OUT.exists() or OUT.read_bytes() == b""


def test_a_step_that_names_an_unknown_endpoint_is_refused_before_the_first_call() -> None:
    configure()
    steps = [Generate("x"), Judge("{{ text }}", endpoint="judje")]
    with pytest.raises(errors.UsageError, match="Did you mean 'judge'"):
        manycall.run_steps(steps, [{}], model="m", out=OUT, progress=False)
    with pytest.raises(errors.UsageError, match="no endpoint has a name"):
        manycall.run_steps(steps, [{}], model="m", out=OUT, base_url="http://127.0.0.1:1/v1", progress=False)
    with pytest.raises(errors.UsageError, match="not a parameter of the request"):
        manycall.run_steps([Generate("x", params={"endpoint": "judge"})], [{}], model="m", out=OUT)
    assert not OUT.exists()


@pytest.mark.usefixtures("no_key")
def test_only_the_endpoints_that_are_used_need_a_key_and_a_common_currency() -> None:
    hosted = '[[endpoint]]\nname = "paid"\nprovider = "openai"\nprice = { input = 1, output = 1, currency = "CNY" }\n'
    configure(THREE + hosted)
    SoloClient("m", pools=("judge",))
    with pytest.raises(errors.EndpointMissing, match=r"endpoint 4: .* needs a key"):
        SoloClient("m", pools=("paid",))
    with pytest.raises(errors.EndpointMissing):
        SoloClient("m")


def test_endpoints_of_one_pool_have_different_labels_and_the_keys_of_one_server_the_same() -> None:
    names = iter(range(9))
    tables = [
        'name = "a"\nbase_url = "http://127.0.0.1:1/v1"\napi_key = ["k1", "k2"]',
        'name = "b"\nbase_url = "http://127.0.0.1:2/v1"',
        'name = "b"\nbase_url = "http://127.0.0.1:3/v1"',
        'name = "b"\nbase_url = "http://127.0.0.1:3/v1"\nprice = "1/1"',
        'base_url = "http://127.0.0.1:4/v1"',
    ]
    path = Path("endpoints.toml")
    path.write_text("".join(f"[[endpoint]]\n{table}\n# {next(names)}\n" for table in tables))
    found = [each.shown_name for each in read_endpoints_file(path, False, lambda name: None)]
    b = "b http://127.0.0.1"
    assert found == ["a", "a", f"{b}:2/v1", f"{b}:3/v1", f"{b}:3/v1 (2)", "http://127.0.0.1:4/v1"]
    chosen = read_endpoints_file(path, False, lambda name: None, PoolChoice("a", ()))
    assert [each.name for each in chosen] == ["a", "a"]


def write_two_pools(**rpm: int) -> None:
    """Configure a writer and a judge, some of them with a quota."""
    tables = [
        f'[[endpoint]]\nname = "{name}"\nbase_url = "http://{name}/v1"\n'
        + (f"rpm = {rpm[name]}\n" if name in rpm else "")
        for name in ("writer", "judge")
    ]
    configure("".join(tables))


def seconds_of(function: UserFunction, rows: int) -> float:
    """Process rows at simulated servers whose calls take a second. Return how many seconds all of them take."""

    async def run() -> float:
        servers = {name: SimServer(SimSettings(slots=50, latency=1.0, token_latency=0.0), {}) for name in POOLS}
        options = RunOptions(model="m", out=OUT, progress=False)
        job = map_job(function, [{"n": n} for n in range(rows)], options)
        async with SoloClient("m", transport=InProcessTransport(servers)) as client:
            began = asyncio.get_running_loop().time()
            result = await run_shared(job, options, client, SessionHandle())
            assert (result.done, result.failed) == (rows, 0)
            return asyncio.get_running_loop().time() - began

    return float(finished(run))


@pytest.mark.parametrize(("slow", "most_rows"), [("judge", 250), ("writer", 70)])
def test_rows_do_not_pile_up_at_a_slow_pool_which_is_never_idle(slow: str, most_rows: int) -> None:
    write_two_pools(**{slow: 300})
    alive = most = 0

    async def write_and_judge(row: dict[str, Any], llm: manycall.LLM) -> dict[str, Any]:
        nonlocal alive, most
        alive += 1
        most = max(most, alive)
        text = (await llm.chat("x", max_tokens=1)).text
        verdict = (await llm.chat("y", endpoint="judge", max_tokens=1)).text
        alive -= 1
        return {"text": text, "verdict": verdict}

    assert seconds_of(write_and_judge, 400) < 400 / 5 * 1.08
    assert most < most_rows  # 350 rows without a limit


def test_a_full_pool_does_not_stop_the_rows_that_use_the_other_one() -> None:
    write_two_pools(judge=60)
    ended: dict[str, float] = {}

    async def route(row: dict[str, Any], llm: manycall.LLM) -> dict[str, Any]:
        name = POOLS[row["n"] % 2]
        text = (await llm.chat("x", endpoint=name, max_tokens=1)).text
        ended[name] = asyncio.get_running_loop().time()
        return {"text": text}

    assert seconds_of(route, 80) > 38
    assert ended["judge"] - ended["writer"] > 30


def test_a_dry_run_uses_the_prices_of_endpoints_toml(no_key: None) -> None:
    configure()
    steps = [Generate("w" * 400, params={"max_tokens": 50}), Generate("{{ text }}", output_field="b", endpoint="judge")]
    planned = manycall.run_steps(steps, [{}] * 10, model="m", out=OUT, max_tokens=7, dry_run=True, progress=False)
    prompt = len(PLACEHOLDER.format("A")) + len('[{"role":"user","content":""}]')
    writer = 10 * ((400 + 30) / 4 * 2 + 50 * 10)
    judge = 10 * (prompt / 4 * (1 + 4) / 2 + 7 * (3 + 8) / 2)
    assert planned.calls == 20
    assert planned.cost == pytest.approx((writer + judge) / 1e6, rel=0.01)
    configure(THREE + '[[endpoint]]\nprovider = "openai"\n')  # without a key
    unknown = manycall.run_steps(steps, [{}], model="m", out=OUT, dry_run=True, progress=False)
    assert unknown.cost is None


def test_a_recount_knows_no_price_of_an_endpoint_without_one() -> None:
    price = {"rates": {"prompt": 1.0, "completion": 1.0}}
    book = recorded_price_book("m", [{"prices": [{"endpoint": "writer", "model": "m", "price": price}]}])
    assert book is not None
    assert book.find("writer", "") is not None
    assert book.find("judge", "small-judge") is None


STEPS = """
[[steps]]
generate = "Write a story about {{ n }}."

[[steps]]
generate = "Score: {{ text }}"
output_field = "score"
endpoint = "judge"

[[steps]]
generate = "Faults: {{ text }}"
output_field = "faults"
endpoint = "checker"
"""
PROVIDERS = {"writer": ("deepseek", 2.0, 3.0), "judge": ("openai", 0.25, 2.0), "checker": ("anthropic", 1.0, 5.0)}


def test_the_costs_of_three_providers_in_a_run_that_was_killed_twice_equal_a_recount_of_the_journal() -> None:
    Path("steps.toml").write_text(STEPS)
    Path("rows.jsonl").write_text("".join(f'{{"n": {n}}}\n' for n in range(60)))
    command = ("steps", "steps.toml", "rows.jsonl", "-m", "story", "--max-tokens", "400", "-o", OUT, "--json")
    with ExitStack() as stack:
        tables = []
        sims = {}
        for name, (provider, prompt, completion) in PROVIDERS.items():
            options = ("--provider", provider, "--latency", "0.03", "--tokens", "20", "--token-latency", "0")
            sims[name] = stack.enter_context(sim(*options, "--slots", "8"))
            tables.append(
                f'[[endpoint]]\nname = "{name}"\nbase_url = "{sims[name].url}"\nprovider = "{provider}"\n'
                f'model = "model-of-{name}"\napi_key = "key-of-{name}"\nprice = "{prompt}/{completion}"\n'
            )
        configure("".join(tables))
        for calls in (50, 110):
            process = start(*command)
            deadline = time.monotonic() + 60
            while not JOURNAL.exists() or JOURNAL.read_bytes().count(b"\n") < calls:
                assert time.monotonic() < deadline
                assert process.poll() is None
                time.sleep(0.005)
            process.kill()
            process.communicate()
        ended = manycall_command(*command)
        assert ended.code == 0, ended.err
        result = json.loads(ended.out)
        answered = {name: server.stats["finished"] for name, server in sims.items()}
    spent = {each["endpoint"]: each for each in result["endpoints"]}
    assert spent.keys() == PROVIDERS.keys()
    for name, (_, prompt, completion) in PROVIDERS.items():
        used = [json.loads(call["body"])["usage"] for call in journal() if call["endpoint"] == name]
        assert len(used) == spent[name]["calls"] == 60 <= answered[name]
        cost = sum(each["prompt_tokens"] * prompt + each["completion_tokens"] * completion for each in used) / 1e6
        assert spent[name]["cost"] == pytest.approx(cost)
    assert result["total_cost"] == pytest.approx(sum(each["cost"] for each in spent.values()))
    assert "key-of-" not in "".join(path.read_text() for path in Path("out.jsonl.run").iterdir())


def test_the_example_of_a_writer_and_a_judge_runs_as_it_says(tmp_path: Path) -> None:
    example = Path(__file__).parents[1] / "examples" / "writer_and_judge"
    for path in example.iterdir():
        shutil.copy(path, tmp_path)
    (command,) = re.findall("^# manycall (.*)$", (example / "stories.toml").read_text(), re.MULTILINE)
    ended = manycall_command(*command.split())
    assert ended.code == 0, ended.err
    assert "at writer" in ended.out
    assert "at judge" in ended.out
