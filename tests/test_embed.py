"""`manycall embed`: several texts per call, one outcome per row, vectors stored once and written in input order."""

import json
import re
import struct
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

import manycall
from fakes import SoloClient, refusal
from manycall import errors
from manycall.embedding.embed_job import embed_job
from manycall.records import Row
from manycall.run.options import RunOptions
from manycall.run.row_blocks import BlockSize, RowGrouper
from manycall.run.run_job import run_shared
from manycall.run.run_result import RunResult
from manycall.run.session_handle import SessionHandle
from manycall.sim import virtual_time
from manycall.sim.sim_embeddings import vector
from manycall.transport.memory import MemoryTransport
from manycall.transport.messages import HttpResponse, no_header
from shell import finish, rows, sim, start
from shell import manycall as command

OUT = Path("vectors.jsonl")
Reply = Callable[[dict[str, Any]], HttpResponse]


def texts(count: int) -> list[dict[str, Any]]:
    return [{"id": n, "text": f"text {n}"} for n in range(count)]


def reply(vectors: list[Any], **more: Any) -> HttpResponse:
    data = [{"index": index, "embedding": each} for index, each in enumerate(vectors)]
    usage = {"prompt_tokens": 5 * len(vectors), "total_tokens": 5 * len(vectors)}
    return HttpResponse(200, msgspec.json.encode({"data": data, "usage": usage, **more}), no_header)


def embedded(body: dict[str, Any]) -> HttpResponse:
    """Answer as a server does that knows base64."""
    vectors = [vector(text, 2) for text in body["input"]]
    return reply([b64encode(struct.pack("<2f", *each)).decode() for each in vectors])


def embed(given: Any, handler: Reply, out: Path = OUT, **how: Any) -> tuple[RunResult, list[list[str]]]:
    """Run the job on a fake server; return its result, and the texts of each request."""
    own = {name: how.pop(name) for name in ("field", "dimensions", "batch_size") if name in how}
    concurrency = how.pop("concurrency", 4)
    options = RunOptions(model="m", out=out, base_url="http://h", progress=False, **how)
    job, transport = embed_job(given, options, **own), MemoryTransport(handler, seconds=0.01)

    async def main() -> RunResult:
        async with SoloClient("m", base_url="http://h", transport=transport, concurrency=concurrency) as client:
            return await run_shared(job, options, client, SessionHandle())

    result = job.finish(virtual_time.run_virtual(main()))
    return result, [json.loads(request.body)["input"] for request in transport.requests]


def failures() -> dict[str, str]:
    return {str(row["id"]): row["error"] for row in rows(OUT.with_name(f"{OUT.name}.run") / "failures.jsonl")}


def without(*refused: str, status: int = 400) -> Reply:
    """A server that refuses every request with one of these texts."""
    return lambda body: refusal(status, "too long") if {*refused} & {*body["input"]} else embedded(body)


def test_each_row_keeps_its_id_and_its_fields_and_the_output_has_the_order_of_the_input() -> None:
    given = [{"id": f"doc-{n}", "text": f"text {n}", "year": n} for n in range(10)]
    result, requests = embed(given, embedded, batch_size=4)
    assert [len(each) for each in requests] == [4, 4, 2]
    assert rows(OUT) == [{**row, "embedding": vector(row["text"], 2)} for row in given]
    assert (result.done, result.calls, result.prompt_tokens, result.completion_tokens) == (10, 3, 50, 0)
    assert result.counts == {"vectors": 10, "dimensions": 2}


def test_only_the_text_that_the_server_refuses_fails() -> None:
    result, requests = embed(texts(64), without("text 20"))
    assert (result.done, result.failed) == (63, 1)
    assert list(failures()) == ["20"]
    assert "too long" in failures()["20"]
    assert len(requests) == 13  # one call, then two for each of six halvings
    assert [row["id"] for row in rows(OUT)] == [n for n in range(64) if n != 20]
    result, requests = embed(texts(64), embedded)
    assert requests == [["text 20"]]
    assert [row["id"] for row in rows(OUT)] == list(range(64))


def test_a_server_that_takes_fewer_texts_gets_no_more_of_them_after_the_first_refusals() -> None:
    result, requests = embed(
        texts(48), lambda body: refusal(400, "at most 4") if len(body["input"]) > 4 else embedded(body), batch_size=16,
        concurrency=1,
    )  # fmt: skip
    assert result.done == 48
    assert [len(each) for each in requests] == [16, 8, *[4] * 12]


def test_a_parameter_that_is_always_refused_ends_the_run_after_a_few_calls() -> None:
    sent: list[Any] = []

    def refuse(body: dict[str, Any]) -> HttpResponse:
        sent.append(body["input"])
        return refusal(400, "this model has no dimensions")

    with pytest.raises(errors.RunStopped, match=r"first 10 rows all failed.*no dimensions"):
        embed(texts(1000), refuse, dimensions=4)
    assert len(sent) < 80


def test_a_server_that_fails_from_the_beginning_gets_no_further_calls_for_the_halves() -> None:
    with pytest.raises(errors.RunStopped, match="first 10 rows all failed"):
        embed(texts(64), lambda body: refusal(500, "out of order"))
    assert "out of order" in failures()["0"]


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (lambda body: reply([[1.0, 2.0], [1.0, 2.0]]), "2 vectors for 1 texts"),
        (lambda body: reply([[1.0, 2.0, 3.0]]), "3 numbers instead of 2"),
        (lambda body: reply([None]), "is empty"),
        (lambda body: reply(["AAA"]), "not base64"),
        (lambda body: reply([b64encode(struct.pack("<2f", 1.0, float("nan"))).decode()]), "not finite"),
        (lambda body: reply([]), "contains no embedding"),
    ],
)  # fmt: skip
def test_a_vector_that_cannot_be_used_fails_its_row_with_a_sentence(answer: Reply, sentence: str) -> None:
    bad = "text 1"
    result, _ = embed(texts(3), lambda body: answer(body) if bad in body["input"] else embedded(body), batch_size=1)
    assert (result.done, result.failed) == (2, 1)
    assert sentence in failures()["1"]


def test_one_null_vector_fails_one_row_of_a_block() -> None:
    def answer(body: dict[str, Any]) -> HttpResponse:
        return reply([None if text == "text 1" else vector(text, 2) for text in body["input"]])

    result, requests = embed(texts(4), answer)
    assert (result.done, list(failures()), len(requests)) == (3, ["1"], 1)


@pytest.mark.parametrize("indexes", [(None, None), (0, 0), (1, 2)])
def test_vectors_without_a_place_are_refused(indexes: tuple[Any, Any]) -> None:
    places: list[dict[str, Any]] = [{} if index is None else {"index": index} for index in indexes]
    data = [{"embedding": [1.0], **place} for place in places]
    answer = HttpResponse(200, msgspec.json.encode({"data": data}), no_header)
    embed(texts(4), lambda body: embedded(body) if len(body["input"]) == 1 else answer, batch_size=2)
    assert [row["embedding"] for row in rows(OUT)] == [vector(f"text {n}", 2) for n in range(4)]


def test_vectors_in_another_order_are_assigned_by_their_index() -> None:
    def answer(body: dict[str, Any]) -> HttpResponse:
        data = [{"index": n, "embedding": [float(text.split()[1])]} for n, text in enumerate(body["input"])]
        return HttpResponse(200, msgspec.json.encode({"data": data[::-1]}), no_header)

    embed(texts(3), answer)
    assert [row["embedding"] for row in rows(OUT)] == [[0.0], [1.0], [2.0]]


def test_a_row_without_a_text_fails_without_a_call() -> None:
    given: list[dict[str, Any]] = [
        {"text": "a"},
        {"text": " "},
        {"text": 3},
        {"other": "b"},
        {"text": "c", "embedding": []},
    ]
    Path("in.jsonl").write_text("".join(json.dumps({"id": n, **row}) + "\n" for n, row in enumerate(given)))
    result, requests = embed(Path("in.jsonl"), embedded)
    assert requests == [["a"]]
    assert result.failure_counts == {"prompt_error": 4}
    assert "field 'text' is empty" in failures()["1"]
    assert "no field 'text'. Its fields: id, other" in failures()["3"]


def test_base64_is_not_requested_again_from_a_server_that_refuses_it() -> None:
    sent: list[dict[str, Any]] = []

    def answer(body: dict[str, Any]) -> HttpResponse:
        sent.append(body)
        if "encoding_format" in body:
            return refusal(400, "encoding_format: only float is supported")
        return reply([vector(text, 2) for text in body["input"]])

    result, _ = embed(texts(12), answer, batch_size=4, concurrency=1)
    assert result.done == 12
    assert ["encoding_format" in body for body in sent] == [True, False, False, False]
    assert [row["embedding"] for row in rows(OUT)] == [vector(f"text {n}", 2) for n in range(12)]


def test_a_simulated_provider_gets_as_many_texts_as_the_real_one() -> None:
    options = RunOptions(model="m", out=OUT, base_url="sim:provider=siliconflow", api_key=None, progress=False)
    size = embed_job(texts(3), options).block_size
    assert size is not None
    assert size.rows == 32


def test_a_provider_that_documents_lists_only_gets_no_base64_and_few_texts() -> None:
    sent: list[dict[str, Any]] = []
    options = RunOptions(model="m", out=OUT, base_url="dashscope", api_key=None, progress=False)
    job = embed_job(texts(25), options)

    def answer(body: dict[str, Any]) -> HttpResponse:
        sent.append(body)
        return reply([vector(text, 2) for text in body["input"]])

    async def main() -> RunResult:
        transport = MemoryTransport(answer)
        async with SoloClient("m", base_url="dashscope", api_key="sk-0123456789", transport=transport) as client:
            return await run_shared(job, options, client, SessionHandle())

    virtual_time.run_virtual(main())
    assert sorted(len(body["input"]) for body in sent) == [5, 10, 10]
    assert not any("encoding_format" in body for body in sent)


def test_the_vectors_are_stored_once_and_another_batch_size_resumes_without_a_call() -> None:
    embed(texts(20), embedded, batch_size=8)
    folder = Path("vectors.jsonl.run")
    numbers = b64encode(struct.pack("<2f", *vector("text 7", 2)))
    assert sum(path.read_bytes().count(numbers) for path in folder.iterdir()) == 1
    OUT.unlink()
    result, requests = embed(texts(20), embedded, batch_size=3)
    assert (result.done, requests) == (20, [])
    assert len(rows(OUT)) == 20


def test_answers_that_were_saved_without_their_rows_are_replayed() -> None:
    embed(texts(20), embedded, batch_size=8)
    lines = Path("vectors.jsonl.run/rows.jsonl")
    lines.write_bytes(b"".join(lines.read_bytes().splitlines(keepends=True)[:8]))
    result, requests = embed(texts(20), embedded, batch_size=8)
    assert (requests, result.replayed) == ([], 2)
    assert [row["id"] for row in rows(OUT)] == list(range(20))


@pytest.mark.parametrize("count", [50, 100, 107])
def test_answers_of_split_calls_are_replayed_before_the_limit_of_the_server_is_known(count: int) -> None:
    def limited(body: dict[str, Any]) -> HttpResponse:
        return refusal(400, "at most 7") if len(body["input"]) > 7 else embedded(body)

    embed(texts(count), limited, batch_size=25, concurrency=1)
    lines = Path("vectors.jsonl.run/rows.jsonl")
    lines.write_bytes(b"".join(lines.read_bytes().splitlines(keepends=True)[:25]))
    result, requests = embed(texts(count), limited, batch_size=25)
    assert result.done == count
    assert [texts for texts in requests if len(texts) <= 7] == []


def test_new_rows_are_embedded_into_their_places() -> None:
    embed(texts(20)[::2], embedded)
    _, requests = embed(texts(20), embedded)
    assert sorted(text for each in requests for text in each) == sorted(row["text"] for row in texts(20)[1::2])
    assert rows(OUT) == [{**row, "embedding": vector(row["text"], 2)} for row in texts(20)]


def test_equal_texts_get_the_same_vector_in_every_place() -> None:
    given = [{"id": n, "text": "same"} for n in range(8)]
    embed(given, without(), batch_size=4)
    assert [row["embedding"] for row in rows(OUT)] == [vector("same", 2)] * 8


def test_other_dimensions_or_another_model_are_refused_with_what_differs() -> None:
    embed(texts(2), embedded)
    with pytest.raises(errors.SettingsMismatch, match="dimensions"):
        embed(texts(2), embedded, dimensions=3)


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ({"out": Path("v.csv")}, "must end in .parquet, .npy, .jsonl"),
        ({"given": iter(texts(2))}, "reads the rows twice"),
        ({"batch_size": 0}, "batch_size= must be at least 1"),
        ({"out": Path("taken.npy")}, "taken.ids.jsonl already exists"),
        ({"field": "body"}, "no field 'body'"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused_before_any_call(how: dict[str, Any], sentence: str) -> None:
    Path("taken.ids.jsonl").write_text("{}\n")
    with pytest.raises(errors.UsageError, match=sentence):
        embed(how.pop("given", texts(2)), embedded, **how)


def test_a_numpy_file_has_the_ids_next_to_it() -> None:
    embed(texts(5), embedded, Path("v.npy"), batch_size=2)
    content = Path("v.npy").read_bytes()
    length = int.from_bytes(content[8:10], "little")
    assert content[:8] == b"\x93NUMPY\x01\x00"
    assert (10 + length) % 64 == 0
    assert content[10 : 10 + length].split() == b"{'descr': '<f4', 'fortran_order': False, 'shape': (5, 2), }".split()
    numbers = struct.unpack("<10f", content[10 + length :])
    assert list(numbers) == [number for row in texts(5) for number in vector(row["text"], 2)]
    assert [row["id"] for row in rows(Path("v.ids.jsonl"))] == list(range(5))


def test_a_parquet_file_has_vectors_of_fixed_length_and_the_fields_of_the_rows() -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    embed(texts(5), embedded, Path("v.parquet"), batch_size=2)
    table = parquet.read_table("v.parquet")
    assert table.schema.field("embedding").type == pyarrow.list_(pyarrow.float32(), 2)
    assert table.to_pylist() == [{**row, "embedding": vector(row["text"], 2)} for row in texts(5)]


def test_rows_are_grouped_by_their_place_and_bounded_by_their_length() -> None:
    def blocks(given: list[Row]) -> list[list[int]]:
        grouper = RowGrouper(BlockSize(4, 100, lambda row: len(row.fields["text"])))
        made = [block for row in given for block in grouper.add(row)] + list(grouper.flush())
        return [[row.index for row in block.rows] for block in made]

    short = [Row(str(n), {"text": "x"}, n) for n in range(10)]
    assert blocks(short) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert blocks(short[1:3] + short[6:]) == [[1, 2], [6, 7], [8, 9]]
    assert blocks([Row(str(n), {"text": "x" * 60}, n) for n in range(3)]) == [[0], [1], [2]]


def test_the_function_of_the_python_package_returns_the_counts() -> None:
    result = manycall.embed(texts(3), model="any", base_url="sim", out="v.jsonl", dimensions=4, progress=False)
    assert result.counts == {"vectors": 3, "dimensions": 4}
    assert [row["embedding"] for row in result.rows()] == [vector(row["text"], 4) for row in texts(3)]


def test_a_killed_run_embeds_no_text_again_except_those_in_flight() -> None:
    count, batch, in_flight = 600, 10, 4
    Path("in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in texts(count)))
    with sim("--latency", "0.05", "--slots", str(in_flight)) as endpoint:
        words = ("embed", "in.jsonl", "-m", "any", "-u", endpoint.url, "-o", OUT, "--batch-size", str(batch), "-j", "4")
        for share in (0.3, 0.6):
            process = start(*words)
            while endpoint.stats["inputs"] < share * count:
                assert process.poll() is None
            process.kill()
            finish(process)
            assert not OUT.exists()
        ended = command(*words)
        assert ended.code == 0, ended.err
        assert count <= endpoint.stats["inputs"] <= count + 2 * in_flight * batch
    assert rows(OUT) == [{**row, "embedding": vector(row["text"])} for row in texts(count)]
    assert re.search(r"rows +\| 600 of 600 done", ended.out)
