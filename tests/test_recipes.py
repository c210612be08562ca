"""The recipes that end with a file for a trainer run as the page shows them, on the simulated provider."""

import csv
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from manycall.sim.sim_embeddings import vector
from shell import manycall, rows

ROOT = Path(__file__).parents[1]
PAGES = {name: (ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("recipes.md", "zh/recipes.md")}
SOURCES = [f"Line {n}, with a comma" for n in range(30)]
INFO = Path("data/dataset_info.json")
PROVIDERS = ("deepseek", "siliconflow", "openai", "dashscope")
PNG = b"\x89PNG\r\n\x1a\n" + bytes(32)

over_pages = pytest.mark.parametrize("page", PAGES)


@pytest.fixture(autouse=True)
def files() -> None:
    """Write the input files that the recipes name, and link the examples."""
    Path("questions.jsonl").write_text("".join(f'{{"question": "What is {n} times 7?"}}\n' for n in range(20)))
    Path("table.csv").write_text("number,source\n" + "".join(f'{n},"{text}"\n' for n, text in enumerate(SOURCES)))
    Path("corpus.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in SOURCES))
    Path("photos").mkdir()
    for n in range(5):
        Path(f"photos/{n}.png").write_bytes(PNG + bytes([n]))
    Path("photos.jsonl").write_text("".join(f'{{"photo": "photos/{n}.png"}}\n' for n in range(5)))
    Path("examples").symlink_to(ROOT / "examples")


def run_recipe(page: str, output: str) -> None:
    """Run the block of commands that writes an output, and the file of steps before it if it is only on the page."""
    text = PAGES[page]
    for name, steps in re.findall(r"^```toml\n# (\S+\.toml)：(.*?)^```", text, re.M | re.DOTALL):
        Path(name).write_text(f"# {steps}", encoding="utf-8")
    (block,) = [block for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) if f"-o {output} " in block + " "
                or f"-o {output}\n" in block]  # fmt: skip
    for line in block.strip().splitlines():
        _, *words = shlex.split(line)
        done = manycall(*[f"sim:provider={word},latency=0" if word in PROVIDERS else word for word in words])
        assert done.code == 0, done.err


def entry(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(INFO.read_text())[name]
    assert (INFO.parent / found["file_name"]).is_file()
    return found


@over_pages
def test_reasoning_traces_become_answers_with_thinking(page: str) -> None:
    run_recipe(page, "traces.jsonl")
    made = rows(Path("data/traces.jsonl"))
    assert {row["instruction"] for row in made} == {f"What is {n} times 7?" for n in range(20)}
    assert all(re.fullmatch(r"<think>\n.+\n</think>\n\n.+", row["output"], re.DOTALL) for row in made)
    assert entry("traces")["columns"] == {"prompt": "instruction", "query": "input", "response": "output"}


@over_pages
def test_dialogues_alternate_and_end_with_an_answer(page: str) -> None:
    run_recipe(page, "dialogues.jsonl" if page == "recipes.md" else "dialogues-zh.jsonl")
    name = "dialogues" if page == "recipes.md" else "dialogues-zh"
    made = rows(Path(f"data/{name}.jsonl"))
    assert len(made) == 20
    assert {tuple(turn["from"] for turn in row["conversations"]) for row in made} == {("human", "gpt") * 2}
    assert entry(name)["columns"] == {"messages": "conversations"}


@over_pages
def test_a_translated_table_has_the_order_and_the_columns_of_its_input(page: str) -> None:
    run_recipe(page, "table.jsonl")
    name = "table-chinese.csv" if page == "recipes.md" else "table-english.csv"
    with Path(name).open(encoding="utf-8", newline="") as file:
        made = list(csv.DictReader(file))
    assert [(row["number"], row["source"]) for row in made] == [(str(n), text) for n, text in enumerate(SOURCES)]
    assert all(row[name.partition("-")[2].removesuffix(".csv")] for row in made)


@over_pages
def test_captions_have_their_images_in_the_forms_of_trl_and_llama_factory(page: str) -> None:
    run_recipe(page, "captions.jsonl")
    made, trl = rows(Path("data/captions.jsonl")), rows(Path("data/captions-trl.jsonl"))
    assert sorted(row["images"][0] for row in made) == [f"../photos/{n}.png" for n in range(5)]
    assert all((INFO.parent / row["images"][0]).is_file() for row in made)
    assert all(row["conversations"][0]["value"].startswith("<image>") for row in made)
    assert entry("captions")["columns"] == {"messages": "conversations", "images": "images"}
    assert [row["images"] for row in trl] == [row["images"] for row in made]
    assert all(row["messages"][0]["content"][0] == {"type": "image"} for row in trl)


@over_pages
def test_preference_pairs_are_in_the_forms_of_trl_and_llama_factory(page: str) -> None:
    name = "preferences.jsonl" if page == "recipes.md" else "preferences-zh.jsonl"
    run_recipe(page, name)
    source = [(row["prompt"], row["chosen"], row["rejected"]) for row in rows(Path(name))]
    assert len(source) > 5
    trl = rows(Path("data/dpo.jsonl"))
    assert [tuple(row[key][0]["content"] for key in ("prompt", "chosen", "rejected")) for row in trl] == source
    ours = rows(Path("data/pairs.jsonl"))
    assert [(row["instruction"], row["chosen"], row["rejected"]) for row in ours] == source
    assert entry("pairs")["ranking"] is True


@over_pages
def test_an_embedded_corpus_has_the_order_of_the_input(page: str) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    run_recipe(page, "corpus.parquet")
    table = parquet.read_table("corpus.parquet")
    assert table["text"].to_pylist() == SOURCES
    assert table["embedding"].to_pylist() == [vector(text) for text in SOURCES]
    assert [row["id"] for row in rows(Path("sample.ids.jsonl"))] == table["id"].to_pylist()[:20]
