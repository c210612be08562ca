"""Images: from a path, a URL or bytes of a row to a part of a message, and from there to a training file."""

import json
import os
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import manycall
from manycall.control.token_estimate import IMAGE_TOKENS, text_size
from manycall.data.images import MAX_IMAGE_BYTES
from manycall.errors import UsageError
from manycall.sim.server import SimServer
from manycall.sim.sim_settings import SimSettings
from manycall.testing import InProcessTransport, MemoryTransport, run_virtual
from shell import manycall as command
from shell import rows

PNG = b"\x89PNG\r\n\x1a\n" + b"\x00" * 32
SAMPLES = {
    "image/png": PNG,
    "image/jpeg": b"\xff\xd8\xff\xe0" + b"\x01" * 32,
    "image/gif": b"GIF89a" + b"\x02" * 32,
    "image/webp": b"RIFF\x24\x00\x00\x00WEBP" + b"\x03" * 32,
}
OUT = Path("out.jsonl")


def data_url(media_type: str, data: bytes) -> str:
    return f"data:{media_type};base64,{b64encode(data).decode()}"


def image(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


def sent(prompt: Any, source: Any, transport: Any = None, url: str = "http://h/v1", **how: Any) -> list[Any]:
    """Return the contents of the last message of each request; None of a row that fails."""
    bodies: list[Any] = []

    def answer(body: dict[str, Any]) -> str:
        bodies.append(body["messages"][-1]["content"])
        return "fine"

    async def work() -> None:
        key = None if url.startswith("http:") else "k"
        client = manycall.Client("m", base_url=url, api_key=key, transport=transport or MemoryTransport(answer, 0))
        async with client as llm:
            await llm.generate(prompt, source, out=OUT, overwrite=True, progress=False, **how).result()

    run_virtual(work())
    return bodies


def failure() -> str:
    (line,) = rows(Path("out.jsonl.run/failures.jsonl"))
    return str(line["error"])


@pytest.mark.parametrize("media_type", SAMPLES)
@pytest.mark.parametrize("form", ["path", "bytes", "object", "file url"])
def test_an_image_is_sent_as_a_data_url_of_the_type_of_its_bytes(media_type: str, form: str) -> None:
    Path("photo.xyz").write_bytes(data := SAMPLES[media_type])
    value: dict[str, Any] = {
        "path": "photo.xyz", "bytes": data, "object": {"bytes": data, "path": "a.png"},
        "file url": f"file://{Path.cwd()}/photo.xyz",
    }  # fmt: skip
    (content,) = sent("Describe {{ n }}.", [{"n": 1, "photo": value[form]}], images=["photo"])
    assert content == [image(data_url(media_type, data)), {"type": "text", "text": "Describe 1."}]


def test_urls_are_passed_on_and_a_list_holds_several_images() -> None:
    links = ["https://example.org/a.png", data_url("image/png", PNG)]
    (content,) = sent("Compare.", [{"photos": links}], images="photos")
    assert content == [*map(image, links), {"type": "text", "text": "Compare."}]


def test_relative_paths_begin_at_the_file_of_the_rows_even_for_its_outputs() -> None:
    Path("data").mkdir()
    Path("data/a.png").write_bytes(PNG)
    Path("data/rows.jsonl").write_text('{"id": "1", "photo": "a.png"}\n')
    assert sent("What?", Path("data/rows.jsonl"), images=["photo"])[0][0] == image(data_url("image/png", PNG))
    OUT.rename("first.jsonl")
    Path("out.jsonl.run").rename("first.jsonl.run")
    (content,) = sent("Is it {{ text }}?", Path("first.jsonl"), images=["photo"], output_field="again")
    assert content[0] == image(data_url("image/png", PNG))


def test_turns_and_functions_have_image_parts() -> None:
    Path("a.png").write_bytes(PNG)
    Path("turns.toml").write_text(
        """
        [[messages]]
        role = "user"
        content = [
            { type = "text", text = "First {{ n }}:" }, { type = "image", field = "photo", detail = "low" },
            { type = "image", image = "{{ name }}.png" },
            { type = "image_url", image_url = { url = "https://h/{{ n }}" } },
        ]
        """
    )
    source = [{"n": 7, "photo": "a.png", "name": "a"}]
    url = data_url("image/png", PNG)
    (content,) = sent("turns.toml", source)
    low = {"type": "image_url", "image_url": {"url": url, "detail": "low"}}
    assert content == [{"type": "text", "text": "First 7:"}, low, image(url), image("https://h/7")]
    (content,) = sent(lambda row: [{"role": "user", "content": [{"type": "image", "image": row["photo"]}]}], source)
    assert content == [image(url)]


def test_a_turn_with_an_unknown_part_is_refused_with_the_forms() -> None:
    turns = [{"role": "user", "content": [{"type": "video", "field": "x"}]}]
    with pytest.raises(UsageError, match=r'turn 1, part 1 is not valid\. Expected .*type = "image", field = "photo"'):
        manycall.generate(turns, [{"x": 1}], model="m", base_url="http://127.0.0.1:9/v1", out=OUT)


def too_large(path: Path) -> None:
    path.write_bytes(PNG)
    os.truncate(path, MAX_IMAGE_BYTES + 1)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda path: None, r"The image bad\.png does not exist\. Relative paths begin at the folder of the rows"),
        (lambda path: path.write_text("<svg/>"), r"bad\.png is not a PNG, JPEG, GIF or WebP image: it begins with"),
        (too_large, r"bad\.png has 20\.0 MiB\. The limit is 20 MiB"),
        (lambda path: path.mkdir(), r"bad\.png cannot be read: Is a directory|bad\.png is not a file"),
        (os.mkfifo, r"bad\.png is not a file"),
    ],
)  # fmt: skip
def test_an_image_that_cannot_be_read_fails_its_row_and_no_other(make: Callable[[Path], Any], sentence: str) -> None:
    make(Path("bad.png"))
    source = [{"id": "1", "photo": "bad.png"}, {"id": "2", "photo": "https://h/a.png"}]
    assert len(sent("What?", source, images=["photo"])) == 1
    with pytest.raises(AssertionError, match=sentence):
        raise AssertionError(failure())
    assert rows(Path("out.jsonl.run/failures.jsonl"))[0]["kind"] == "prompt_error"


@pytest.mark.parametrize(
    ("value", "sentence"),
    [(None, "The field 'photo' is empty"), ([], "The field 'photo' is empty"), (7, "holds int, not an image")],
)
def test_a_value_that_is_no_image_is_said_before_the_first_call(value: Any, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        sent("What?", [{"photo": value}], images=["photo"])


def test_a_missing_file_has_the_exit_code_of_failed_rows() -> None:
    Path("rows.jsonl").write_text('{"id": "1", "photo": "gone.png"}\n{"id": "2", "photo": "https://h/a.png"}\n')
    words = ("generate", "rows.jsonl", "-p", "What?", "--image", "photo", "-m", "m", "-u", "sim:latency=0", "-o", OUT)
    assert command(*words).code == 3
    assert [row["id"] for row in rows(OUT)] == ["2"]
    assert failure() == "The image gone.png does not exist. Relative paths begin at the folder of the rows."


def test_the_data_of_an_image_is_neither_journaled_nor_shown() -> None:
    how: dict[str, Any] = {"model": "m", "base_url": "sim:latency=0", "out": OUT, "progress": False}
    source = [{"photo": PNG}]
    shown = manycall.generate("What?", source, images=["photo"], dry_run=True, **how)
    assert "data:image/png;base64,iVBORw0KGgoAAAAAAA... (" in str(shown)
    manycall.generate("What?", source, images=["photo"], **how)
    assert b"iVBOR" not in Path("out.jsonl.run/calls.jsonl").read_bytes()


@pytest.mark.parametrize(
    ("provider", "host"),
    [
        ("anthropic", "api.anthropic.com"), ("gemini", "generativelanguage.googleapis.com"),
        ("openai", "api.openai.com"), ("dashscope", "dashscope.aliyuncs.com"),
    ],
)  # fmt: skip
def test_the_simulated_providers_accept_images(provider: str, host: str) -> None:
    server = SimServer(SimSettings(provider=provider, latency=0.0, token_latency=0.0), {})
    source = [{"id": str(n), "photo": PNG + bytes([n])} for n in range(3)]
    sent("What?", source, InProcessTransport({host: server}), provider, images=["photo"])
    assert len({row["text"] for row in rows(OUT)}) == 3  # other images, other answers


def test_steps_and_judges_see_images() -> None:
    Path("rows.jsonl").write_text('{"id": "1", "photo": "a.png"}\n')
    Path("a.png").write_bytes(PNG)
    steps = [
        {"generate": "What?", "images": ["photo"]},
        {"judge": "Is it {{ text }}?", "images": ["photo"], "output_field": "points"},
    ]
    how: dict[str, Any] = {"model": "m", "base_url": "sim:latency=0,token_latency=0", "progress": False}
    assert manycall.run_steps(steps, "rows.jsonl", out=OUT, **how).done == 1
    assert manycall.judge(OUT, "Is it {{ text }}?", images=["photo"], out="judged.jsonl", **how).scored_rows == 1


def test_an_image_counts_as_a_fixed_number_of_tokens() -> None:
    text = json.dumps({"content": "x" * 400}).encode()
    with_image = json.dumps({"content": "x" * 400, "url": data_url("image/png", b"\0" * 3_000_000)}).encode()
    assert text_size(text) == len(text)
    assert abs(text_size(with_image) - len(text) - 4 * IMAGE_TOKENS) < 100


def test_an_image_is_read_only_when_its_call_can_be_sent() -> None:
    """So memory depends on the calls in flight: when the first call arrives, the files of later rows may still go."""
    source = [{"id": str(n), "photo": f"{n}.png"} for n in range(50)]
    for row in source:
        Path(row["photo"]).write_bytes(PNG)

    def answer(body: dict[str, Any]) -> str:
        for row in source:
            Path(row["photo"]).unlink(missing_ok=True)
        return "fine"

    async def work() -> None:
        transport = MemoryTransport(answer, 1.0)
        async with manycall.Client("m", base_url="http://h/v1", concurrency=2, transport=transport) as llm:
            await llm.generate("What?", source, images=["photo"], out=OUT, progress=False).result()

    run_virtual(work())
    assert len(rows(OUT)) <= 4


PHOTOS = [{"id": str(n), "photo": f"photos/{n}.png"} for n in range(3)]


@pytest.fixture
def captions() -> Path:
    """Write an output with captions of three photos."""
    Path("photos").mkdir()
    for row in PHOTOS:
        Path(row["photo"]).write_bytes(PNG)
    Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in PHOTOS))
    sent("Describe it.", Path("rows.jsonl"), images=["photo"])
    return OUT


def test_images_are_exported_as_a_column_with_paths_from_the_new_file(captions: Path) -> None:
    info = "data/dataset_info.json"
    Path("data").mkdir()
    manycall.export(captions, "data/train.jsonl", format="sharegpt", in_order=True, dataset_info=info)
    assert rows(Path("data/train.jsonl"))[0] == {
        "conversations": [
            {"from": "human", "value": "<image>Describe it."}, {"from": "gpt", "value": "fine"}
        ],
        "images": ["../photos/0.png"],
    }  # fmt: skip
    columns = json.loads(Path(info).read_text())["train"]["columns"]
    assert columns == {"messages": "conversations", "images": "images"}
    manycall.export(captions, "data/trl.jsonl", format="messages", in_order=True)
    assert rows(Path("data/trl.jsonl"))[0] == {
        "messages": [
            {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Describe it."}]},
            {"role": "assistant", "content": [{"type": "text", "text": "fine"}]},
        ],
        "images": ["../photos/0.png"],
    }


def test_what_llama_factory_cannot_load_is_refused(captions: Path) -> None:
    with pytest.raises(UsageError, match=r"Row '\d' has images, for which LLaMA-Factory expects <image> in the text"):
        manycall.export(captions, "train.jsonl", format="messages", dataset_info="info.json")
    sent("Describe <image>.", [{"photo": "https://h/a.png"}], images=["photo"])
    for how, sentence in ((None, "has <image> in a text"), ("info.json", "has <image> in a text")):
        with pytest.raises(UsageError, match=sentence):
            manycall.export(OUT, "train.jsonl", format="sharegpt", dataset_info=how)
    sent("Describe.", [{"photo": "https://h/a.png"}], images=["photo"])
    with pytest.raises(UsageError, match="has the URL of an image, which LLaMA-Factory does not load"):
        manycall.export(OUT, "train.jsonl", format="sharegpt", dataset_info="info.json")


def test_bytes_of_the_hubs_image_feature_make_the_round_trip_through_parquet() -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    table = pyarrow.table({"id": ["a", "b"], "image": [{"bytes": PNG, "path": None}, {"bytes": PNG, "path": "b.png"}]})
    parquet.write_table(table, "hub.parquet")
    url = data_url("image/png", PNG)
    assert [content[0] for content in sent("What?", Path("hub.parquet"), images=["image"])] == [image(url)] * 2
    with pytest.raises(UsageError, match=r"has the bytes of an image, which \.jsonl cannot hold\. Write \.parquet"):
        manycall.export(OUT, "train.jsonl", format="messages")
    manycall.export(OUT, "train.parquet", format="messages", in_order=True)
    written = parquet.read_table("train.parquet").to_pylist()
    assert [row["images"] for row in written] == [[{"bytes": PNG, "path": None}], [{"bytes": PNG, "path": "b.png"}]]


@pytest.mark.parametrize("value", [PNG, b64encode(PNG).decode(), data_url("image/png", PNG)])
def test_the_bytes_of_an_image_in_a_text_are_exported_as_bytes(value: str | bytes) -> None:
    pytest.importorskip("pyarrow")
    from pyarrow import parquet

    sent("What?", [{"id": "a", "image": value}], images=["image"])
    with pytest.raises(UsageError, match=r"Row 'a' has the bytes of an image, which \.jsonl cannot hold"):
        manycall.export(OUT, "train.jsonl", format="sharegpt")
    manycall.export(OUT, "train.parquet", format="sharegpt")
    (written,) = parquet.read_table("train.parquet").to_pylist()
    assert written["images"] == [{"bytes": PNG, "path": None}]


def test_a_custom_benchmark_may_ask_about_images() -> None:
    Path("a.png").write_bytes(PNG)
    Path("quiz.jsonl").write_text('{"id": "1", "question": "Which?", "photo": "a.png", "answer": "A"}\n')
    turn = [{"type": "image", "field": "photo"}, {"type": "text", "text": "{{ question }}"}]
    bodies: list[Any] = []

    def answer(body: dict[str, Any]) -> str:
        bodies.append(body["messages"][-1]["content"])
        return "A"

    async def work() -> None:
        async with manycall.Client("m", base_url="http://h/v1", transport=MemoryTransport(answer, 0)) as llm:
            prompt = [{"role": "user", "content": turn}]
            result = await llm.evaluate("quiz.jsonl", prompt=prompt, scorer="exact", out=OUT, progress=False)
            assert result.scores[0].value == 1

    run_virtual(work())
    assert bodies == [[image(data_url("image/png", PNG)), {"type": "text", "text": "Which?"}]]
