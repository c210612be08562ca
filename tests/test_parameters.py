"""Parameters that a model does not accept, and the options `drop` and `thinking`, in whole jobs."""

import json
import re
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import msgspec
import pytest

import manycall
import shell
from gpt5 import gpt5
from manycall import errors
from manycall.providers.parameter_lesson import ParameterChange
from manycall.run.parameter_log import ParameterLog
from manycall.sim.sim_dialects import DIALECTS
from manycall.testing import InProcessTransport, MemoryTransport, SimServer, SimSettings, run_virtual

README = Path(__file__).parents[1] / "README.md"
URL = "http://h/v1"
NOT_ACCEPTED = (
    "gpt-5-mini at http://h/v1: sends max_completion_tokens instead of max_tokens; "
    "temperature omitted (only 1 is accepted)"
)
ROWS = [{"question": f"{n} times 7?"} for n in range(20)]


def client(handler: Any = gpt5, model: str = "gpt-5-mini", **options: Any) -> manycall.Client:
    return manycall.Client(model, base_url=URL, transport=MemoryTransport(handler), **options)


def manifest(out: str) -> dict[str, Any]:
    return msgspec.json.decode(Path(f"{out}.run/manifest.json").read_bytes(), type=dict[str, Any])


def run(work: Coroutine[Any, Any, None]) -> None:
    run_virtual(work)


def test_the_readmes_judge_works_with_the_model_that_it_names(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"```python\n# judge\.py\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    (model,) = re.findall(r"manycall run judge\.py:grade .* -m (\S+)", README.read_text(encoding="utf-8"))
    namespace: dict[str, Any] = {}
    exec(code, namespace)

    async def main() -> None:
        async with client(model=model) as llm:
            result = await llm.map(namespace["grade"], ROWS, temperature=0, max_tokens=400, out="graded.jsonl")
            assert (result.done, result.failed, result.calls) == (20, 0, 40)
            assert {row["grade"] for row in result.rows()} == {5}
            assert result.parameter_changes == [NOT_ACCEPTED]
            assert f"| parameters | {NOT_ACCEPTED} |" in re.sub(" +", " ", str(result))

    run(main())
    shown = capsys.readouterr().err
    assert shown.count("sends max_completion_tokens instead of max_tokens\n") == 1
    assert shown.count("temperature omitted (only 1 is accepted)\n") == 1
    timeline = [json.loads(line) for line in Path("graded.jsonl.run/timeline.jsonl").read_text().splitlines()]
    events = [line["event"] for line in timeline if "event" in line]
    assert events.count("gpt-5-mini: temperature omitted (only 1 is accepted)") == 1


def test_the_journal_keeps_the_canonical_request_so_that_nothing_is_paid_twice() -> None:
    async def ask(row: dict[str, Any], llm: manycall.LLM) -> dict[str, Any]:
        answer = (await llm.chat(row["question"])).text
        if answer == "5":
            raise ValueError("no")
        return {"answer": answer}

    async def main() -> None:
        for calls, replayed in ((5, 0), (0, 5)):
            async with client() as llm:
                result = await llm.map(ask, ROWS[:5], temperature=0, out="o.jsonl", progress=False)
            assert (result.failed, result.calls, result.replayed) == (5, calls, replayed)

    run(main())


def test_a_benchmark_says_which_parameters_of_its_protocol_were_not_sent() -> None:
    async def main() -> None:
        async with client() as llm:
            result = await llm.evaluate("wordmath", out="strict.jsonl", limit=5, progress=False)
        assert result.protocol_changes == ["temperature=0 (only 1 is accepted)"]
        sentence = "Protocol parameters not sent: temperature=0 (only 1 is accepted)."
        assert sentence in result.warnings()
        assert sentence in str(result)
        assert result.to_dict()["protocol_changes"] == result.protocol_changes
        assert manycall.score("strict.jsonl").protocol_changes == result.protocol_changes
        async with client(lambda body: "#### 5") as llm:
            other = await llm.evaluate("wordmath", out="lenient.jsonl", limit=5, progress=False)
        assert other.protocol_changes == []

    run(main())
    manycall.write_report(manycall.score("strict.jsonl"), "report.html")
    report = Path("report.html").read_text()
    assert "Protocol parameters not sent: temperature=0 (only 1 is accepted)." in report
    assert NOT_ACCEPTED in report
    differences = manycall.compare("strict.jsonl", "lenient.jsonl").setting_differences
    assert differences == ["parameters not sent: temperature=0 (only 1 is accepted) | null"]


def test_the_sessions_before_count_too() -> None:
    async def main() -> None:
        async with client() as llm:
            await llm.evaluate("wordmath", out="o.jsonl", limit=5, progress=False)
        async with client(lambda body: "#### 5") as llm:
            result = await llm.evaluate("wordmath", out="o.jsonl", progress=False)
        assert result.protocol_changes == ["temperature=0 (only 1 is accepted)"]
        assert result.run is not None
        assert result.run.parameter_changes == []

    run(main())


def test_a_dropped_parameter_is_not_sent_and_the_score_says_so() -> None:
    transport = MemoryTransport(lambda body: "#### 5")

    async def main() -> None:
        async with manycall.Client("m", base_url=URL, transport=transport, drop=["temperature"]) as llm:
            result = await llm.evaluate("wordmath", out="o.jsonl", limit=5, progress=False)
        assert result.protocol_changes == ["temperature=0 (dropped)"]

    run(main())
    assert all("temperature" not in msgspec.json.decode(each.body) for each in transport.requests)
    assert manifest("o.jsonl")["settings"]["drop"] == ["temperature"]


def test_an_output_cannot_be_resumed_with_other_thinking_or_another_dropped_parameter() -> None:
    async def once(**options: Any) -> None:
        llm = manycall.Client(
            "m", base_url="https://api.groq.com/openai/v1", api_key="k" * 30, transport=MemoryTransport(lambda _: "5"),
            **options,
        )  # fmt: skip
        async with llm:
            await llm.generate("{{ question }}", ROWS, out="o.jsonl", progress=False)

    async def main() -> None:
        await once(thinking="Low", drop=["stop", "seed"])
        await once(thinking="low", drop=["seed", "stop", "seed"])
        for options in ({}, {"thinking": "high", "drop": ["seed", "stop"]}, {"thinking": "low", "drop": ["stop"]}):
            with pytest.raises(errors.SettingsMismatch, match=r"thinking|drop"):
                await once(**options)

    run(main())


def test_the_files_of_lm_eval_contain_the_parameters_that_were_sent() -> None:
    async def main() -> None:
        async with client() as llm:
            await llm.evaluate("wordmath", out="o.jsonl", limit=3, max_tokens=9, progress=False)

    run(main())
    manycall.export_lm_eval("o.jsonl", "exported")
    (results,) = Path("exported").rglob("results_*.json")
    assert json.loads(results.read_text())["configs"]["wordmath"]["generation_kwargs"] == {"max_tokens": 9}
    (samples,) = Path("exported").rglob("samples_*.jsonl")
    sent = json.loads(samples.read_text().splitlines()[0])["arguments"]["gen_args_0"]["arg_1"]
    assert (sent["temperature"], sent["max_gen_toks"]) == (1.0, 9)


def test_the_card_of_a_dataset_says_how_the_parameters_were_sent() -> None:
    async def main() -> None:
        async with client(drop="seed") as llm:
            await llm.generate("{{ question }}", ROWS, out="o.jsonl", max_tokens=9, temperature=0, progress=False)

    run(main())
    card = manycall.dataset_card("o.jsonl")
    assert (card.drop, card.thinking, card.parameter_changes) == (["seed"], "", [NOT_ACCEPTED])
    assert {("parameters not sent", "seed"), ("parameter changes", NOT_ACCEPTED)} <= {*card.lines()}


def test_a_dry_run_shows_no_dropped_parameter() -> None:
    result = manycall.generate(
        "Hi.", samples=1, model="m", out="o.jsonl", params={"seed": 1, "top_p": 1}, drop="seed", dry_run=True
    )
    assert [each.keys() for each in result.to_dict()["requests"]] == [{"model", "messages", "top_p"}]


def test_a_misspelt_parameter_to_drop_is_refused_by_a_benchmark() -> None:
    with pytest.raises(errors.UsageError, match=r"drop='temprature': wordmath sends no .* It sends: max_tokens, temp"):
        manycall.evaluate("wordmath", model="m", base_url="sim", out="o.jsonl", drop="temprature")


def test_both_options_are_flags() -> None:
    command = ("generate", "-p", "Hi.", "-n", "2", "-u", "sim:latency=0", "-m", "any", "-o", "o.jsonl")
    assert shell.manycall(*command, "--param", "seed=1", "--drop", "seed", "--drop", "stop").code == 0
    assert manifest("o.jsonl")["settings"]["drop"] == ["seed", "stop"]
    refused = shell.manycall(*command, "--thinking", "off", "--overwrite")
    assert refused.code == 2
    assert "does not know how this server switches thinking (--thinking off)" in refused.err
    streamed = shell.manycall(*command, "--param", "stream=true", "--overwrite")
    assert "manycall sets it itself. Omit it: a reply is returned when it is complete." in streamed.err
    assert "--param chat_template_kwargs" in shell.manycall(*command, "--param", 'extra_body={"a": 1}').err


def test_a_change_is_announced_and_recorded_once() -> None:
    changes: list[ParameterChange] = []
    records: list[list[dict[str, Any]]] = []
    log = ParameterLog(lambda: changes, records.append)
    assert log.new_sentences() == []
    changes.append(ParameterChange("stop", "omit", endpoint=URL, model="m"))
    assert log.new_sentences() == ["m at http://h/v1: stop omitted (not accepted)"]
    changes.append(ParameterChange("stop", "omit", endpoint=URL, model="m"))
    assert log.new_sentences() == []
    assert [len(each) for each in records] == [1, 2]
    assert records[0] == [{"parameter": "stop", "change": "omit", "value": None, "endpoint": URL, "model": "m"}]


@pytest.mark.parametrize(
    ("provider", "model", "params", "changes"),
    [
        ("openai", "gpt-5-mini", {"max_tokens": 3000, "temperature": 0},
         "sends max_completion_tokens instead of max_tokens; temperature omitted (only 1 is accepted)"),
        ("dashscope", "qwq-plus", {}, "answers are streamed (required)"),
        ("moonshot", "kimi-k2.5", {"temperature": 0, "top_p": 0.5},
         "temperature set to 1 (only 1 is accepted); top_p set to 0.95 (only 0.95 is accepted)"),
        ("xai", "grok-4", {"stop": ["x"], "presence_penalty": 0.5},
         "stop omitted (not accepted); presence_penalty omitted (not accepted)"),
        ("groq", "llama-3", {"logprobs": True}, "logprobs omitted (not accepted)"),
        ("mistral", "mistral-large", {"seed": 1}, "seed omitted (not accepted)"),
    ],
)  # fmt: skip
def test_every_row_is_done_at_a_provider_that_refuses_its_parameters(
    provider: str, model: str, params: dict[str, Any], changes: str
) -> None:
    server = SimServer(SimSettings(provider=provider, latency=0.1, token_latency=0.0), {})
    url = "http://s" + DIALECTS[provider].base_paths[0]

    async def main() -> None:
        async with manycall.Client(model, base_url=url, transport=InProcessTransport({"s": server})) as llm:
            result = await llm.generate("{{ question }}", ROWS, params=params, out="o.jsonl", progress=False)
        assert (result.done, result.failed) == (20, 0)
        assert result.parameter_changes == [f"{model} at {url}: {changes}"]

    run(main())
