"""What is counted of a dataset, against what was planted in it."""

import json
from pathlib import Path
from typing import Any

import pytest

from manycall import check_data, generate, run_steps
from manycall.dataset.contamination import ContaminationIndex
from manycall.dataset.normalize import normalize, words
from manycall.errors import UsageError
from planted import found
from shell import manycall, rows

SENTENCE = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen"

CHINESE = "在一个标准大气压下，保温瓶里装有质量为一千克、温度为八十摄氏度的水，倒出一半后，其温度和比热容分别是多少"
MEETING = "中国共产党第十一届中央委员会第三次全体会议"
"""21 characters in a row that any text may have."""


def dataset(*texts: Any, field: str = "text", **more: Any) -> Path:
    lines = [{"id": str(n), field: text, **more} for n, text in enumerate(texts)]
    Path("out.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return Path("out.jsonl")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("The cat.", "the  CAT!", True),
        ("The cat.", "the cats", False),
        ("Straße", "STRASSE", True),
        ("从前，有座山。", "从前 有座山", True),
        ("a_b", "a b", True),
        ("ice cream", "icecream", False),
        ("1.5", "15", False),
        ("a  , b", " a.b", True),
        ("!!!", "???", False),
        ("", " ", False),
        ("é", "e", False),
        ("कि", "का", False),
        ("3.5 apples", "35 apples", False),
        ("An answer of many words, " * 4, "an answer ofmany words " * 4, True),
    ],
)
def test_duplicates_are_those_that_differ_in_case_space_and_punctuation_alone(one: str, other: str, same: bool) -> None:
    assert (normalize(one) == normalize(other)) is same


def test_words_without_spaces_are_separated() -> None:
    assert words("Don't stop, 从前有 café_1!") == ["don", "t", "stop", "从", "前", "有", "café", "1"]


def test_duplicates_and_variety_are_counted() -> None:
    q = check_data(dataset("A cat sat.", "a CAT sat", "a dog sat", "a cat, sat", "A dog ran"))
    assert (q.rows, q.duplicates, q.near_duplicates, q.contaminated) == (5, 2, None, None)
    assert (q.distinct_1, q.distinct_2) == (round(5 / 15, 4), 0.5)
    assert "| duplicates " in str(q)


@pytest.mark.parametrize(
    ("one", "other", "is_duplicate"),
    [
        ("共 3 个，用 GPT-4。", "共3个用GPT 4", True),
        ("你好，世界", "你好世界！", True),
        ("你好\u3000世界", "你好\n世界", True),
        ("共 3 个", "共 4 个", False),
        ("ice cream", "icecream", False),
        ("아이 스크림", "아이스크림", False),
    ],
)
def test_chinese_texts_are_compared_without_their_spacing(one: str, other: str, is_duplicate: bool) -> None:
    assert check_data(dataset(one, other)).duplicates == is_duplicate


@pytest.mark.parametrize(
    ("values", "duplicates"),
    [
        ([1, 2, 3, 1], 1),
        ([1, -1, 1.5, 15, None, True], 0),
        ([{"n": "a", "age": 1}, {"n": "a", "age": 2}, {"n": "A!", "age": 1}], 1),
        ([[], {}, ""], 2),
    ],
)
def test_what_is_no_text_is_compared_too(values: list[Any], duplicates: int) -> None:
    assert check_data(dataset(*values)).duplicates == duplicates


@pytest.mark.parametrize("language", ["english", "chinese"])
def test_what_was_planted_is_found(language: str, tmp_path: Path) -> None:
    pytest.importorskip("rensa")
    for name, (recall, precision, many) in found(tmp_path, 2500, language_name=language).items():
        assert many == 49, name
        assert recall >= 0.98, name
        assert precision >= 0.98, name


def test_any_file_of_rows_can_be_checked() -> None:
    Path("table.csv").write_text("question,answer\nWhy?,Because.\nHow?,because\n")
    result = check_data("table.csv", text_field="answer", flagged="rejects.jsonl")
    assert (result.rows, result.duplicates) == (2, 1)
    assert rows(Path("rejects.jsonl"))[0]["id"] == "Row at table.csv, line 3"


def test_without_rensa_near_duplicates_are_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "rensa", None)
    with pytest.raises(UsageError, match=r"pip install 'manycall\[near\]'"):
        check_data(dataset("x"), near_duplicates=0.8)


def test_rejects_are_written_with_all_their_reasons() -> None:
    Path("bench.jsonl").write_text(json.dumps({"question": SENTENCE.upper()}) + "\n")
    out = dataset("fine", f"So, {SENTENCE}, he said", f"so {SENTENCE} he said", text_finish_reason="stop")
    with out.open("a") as file:
        file.write('{"id":"cut","text":"and the","text_finish_reason":"length"}\n')
    q = check_data(out, benchmarks=["bench.jsonl"], flagged="rejects.jsonl")
    assert (q.duplicates, q.contaminated, q.truncated, q.flagged_rows) == (1, 2, 1, 3)
    assert [(each.found, each.items, each.short) for each in q.benchmarks] == [(1, 1, 0)]
    rejected = {row["id"]: row for row in rows(Path("rejects.jsonl"))}
    assert rejected.keys() == {"1", "2", "cut"}
    piece = "contaminated: bench.jsonl, line 1: " + " ".join(SENTENCE.split()[:13])
    assert rejected["1"]["reason"] == piece
    assert rejected["2"]["reason"].startswith("duplicate: ")
    assert rejected["2"]["reason"].endswith(piece)
    assert rejected["cut"]["reason"].startswith("truncated: ")
    assert rejected["1"]["row"]["text"] == f"So, {SENTENCE}, he said"
    with Path("rejects.jsonl").open("a") as file:
        file.write('{"id":"of another file","reason":"x"}\n')
    done = manycall("export", out, "-o", "kept.jsonl", "--exclude", "rejects.jsonl", "--json")
    assert (json.loads(done.out)["rows"], json.loads(done.out)["excluded"]) == (1, 3)
    assert [row["id"] for row in rows(Path("kept.jsonl"))] == ["0"]


@pytest.mark.parametrize(
    ("item", "text", "options", "hit"),
    [
        (SENTENCE, SENTENCE, {}, True),
        (SENTENCE, " ".join(SENTENCE.split()[:12]), {}, False),
        (SENTENCE, " ".join(SENTENCE.split()[:12]), {"n": 12}, True),
        (SENTENCE, SENTENCE.replace("seven", "7"), {}, False),
        (" ".join(SENTENCE.split()[:8]), f"x {SENTENCE}", {}, True),  # a short item, whole
        (" ".join(SENTENCE.split()[:7]), SENTENCE, {}, False),  # too short to be looked for
        (" ".join(SENTENCE.split()[:7]), SENTENCE, {"n": 5}, True),
        (CHINESE, f"题目：{CHINESE.replace('，', ' ')}（ ）", {}, True),  # a copied question
        (CHINESE, f"他说{CHINESE[:32]}", {}, True),  # 30 characters and two signs
        (CHINESE, f"他说{CHINESE[:31]}", {}, False),
        (CHINESE, "在海边，一个标准大气压下，保温瓶里装有她爱喝的汤。", {}, False),  # 14 of an ordinary phrase
        (CHINESE, "那是一个标准大气压下，保温瓶里装有质量为多少的水", {}, False),
        (f"{MEETING}在哪一年召开，它通过了什么决议，为什么重要", f"他的论文写的是{MEETING}以后农村的变化", {}, False),
        (
            "下列哪一项不属于中国古代的四大发明之一",
            "请问下列哪一项不属于中国古代的四大发明之一？",
            {},
            True,
        ),  # 19, whole
        ("下列哪一项不属于中国古代四大发明之一", "请问下列哪一项不属于中国古代四大发明之一？", {}, False),  # 18
        ("下列哪一项不属于中国古代四大发明之一", "请问下列哪一项不属于中国古代四大发明之一？", {"n": 5}, True),
        (f"{CHINESE[:9]} {SENTENCE[:33]} {CHINESE[9:20]}", f"{CHINESE[:9]} {SENTENCE[:33]} {CHINESE[9:20]}", {}, True),
    ],
)
def test_a_shared_ngram_of_a_benchmark_is_found(item: str, text: str, options: Any, hit: bool) -> None:
    Path("bench.jsonl").write_text(json.dumps({"deep": [{"question": item}]}) + "\n")
    benchmarks = ContaminationIndex([Path("bench.jsonl")], **options)
    assert (benchmarks.find({"messages": [{"content": text}]}) is not None) is hit
    assert len(benchmarks.found["bench.jsonl"]) == hit


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"text_field": "story"}, r"Row '0' has no field 'story'\. Its fields: id, text\. Choose a field with"),
        ({"near_duplicates": 1.5}, "near_duplicates= must be more than 0 and at most 1, got 1.5"),
        ({"ngram_size": 0}, "ngram_size= must be at least 1, got 0"),
        ({"benchmarks": ["none.jsonl"]}, "none.jsonl: file not found"),
        ({"benchmarks": ["empty.jsonl"]}, "benchmarks='empty.jsonl': the file contains no items"),
        ({"flagged": "out.jsonl"}, "out.jsonl is an input of this command and cannot be overwritten"),
        (
            {"benchmarks": ["bench.jsonl"], "flagged": "bench.jsonl"},
            "bench.jsonl is an input of this command and cannot be overwritten",
        ),
    ],
)
def test_bad_options_are_one_sentence(options: Any, sentence: str) -> None:
    dataset("x")
    Path("bench.jsonl").write_text('{"question":"x"}\n')
    Path("empty.jsonl").touch()
    with pytest.raises(UsageError, match=sentence):
        check_data("out.jsonl", **options)
    assert len(rows(Path("out.jsonl"))) == 1


def test_a_run_counts_the_duplicates_among_its_answers() -> None:
    words = ("-p", "x", "-n", "60", "-u", "sim:latency=0", "-m", "any", "-o", "out.jsonl", "--max-tokens", "1")
    done = manycall("generate", *words, "--json")
    assert json.loads(done.out)["counts"]["duplicates"] == check_data("out.jsonl").duplicates > 0
    assert json.loads(manycall("generate", *words, "--json").out)["counts"] == {}


def test_of_shaped_answers_and_of_those_of_steps_too() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"enum": ["x", "y"]}}, "required": ["b"]}
    options: Any = {"model": "any", "base_url": "sim:latency=0", "samples": 40, "progress": False}
    for shape in (schema, {"type": "array", "items": schema, "minItems": 1}):
        report = generate("x", schema=shape, out="out.jsonl", overwrite=True, **options)
        assert report.counts["duplicates"] == check_data("out.jsonl").duplicates > 0
    chain: list[dict[str, Any]] = [{"generate": "x", "params": {"max_tokens": 1}}, {"keep": "false"}]
    assert (
        run_steps(chain, out="chain.jsonl", **options).counts["duplicates"] > 0
    )  # of rejects, which were paid for, too
