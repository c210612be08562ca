"""The shape of an answer: what is asked for, what passes, what is asked again, and what becomes of the rest."""

import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import msgspec
import pydantic
import pytest

import manycall
from fakes import answer, refusal
from manycall.data.answer_schema import AnswerSchema, SchemaLike
from manycall.errors import UsageError
from manycall.sim.schema_instances import corrupt_json, example_json
from manycall.transport.messages import HttpResponse
from servers import http, read_request, serving
from shell import manycall as command
from shell import rows, sim

OUT = Path("out.jsonl")
STORY = {
    "type": "object",
    "properties": {"title": {"type": "string", "minLength": 1}, "words": {"type": "integer", "minimum": 1}},
    "required": ["title", "words"],
    "additionalProperties": False,
}


class Story(msgspec.Struct):
    title: Annotated[str, msgspec.Meta(min_length=1)]
    words: Annotated[int, msgspec.Meta(ge=1)]


class Model(pydantic.BaseModel):
    title: str = pydantic.Field(min_length=1)
    words: int = pydantic.Field(ge=1)


KINDS: list[Any] = [STORY, Story, Model]
ANSWERS = [
    ('{"title": "a", "words": 3}', True),
    ('```json\n{"title": "a", "words": 3}\n```', True),
    ('{"title": "", "words": 3}', False),
    ('{"title": "a", "words": "many"}', False),
    ('{"title": "a"}', False),
    ('Sure: {"title": "a", "words": 3}', True),
    ("[]", False),
    ("[" * 100_000, False),
    ("", False),
]


@pytest.mark.parametrize("schema", KINDS, ids=["json", "msgspec", "pydantic"])
@pytest.mark.parametrize(("text", "fits"), ANSWERS)
def test_an_answer_fits_or_the_reason_is_sent_to_the_model(schema: SchemaLike, text: str, fits: bool) -> None:
    shape = AnswerSchema(schema)
    assert shape.fields == ("title", "words")
    if fits:
        assert shape.parse(text).value == {"title": "a", "words": 3}
    else:
        with pytest.raises(ValueError, match=r"."):
            shape.parse(text)


def test_a_list_is_asked_for_in_an_object_with_its_definitions_at_the_top() -> None:
    shape = AnswerSchema(list[Story])
    asked = shape.response_format["json_schema"]["schema"]
    assert (shape.is_list, shape.fields, asked["type"], list(asked["properties"])) == (
        True, ("title", "words"), "object", ["rows"]
    )  # fmt: skip
    assert "Story" in asked["$defs"]
    for text in ('[{"title": "a", "words": 1}]', '{"rows": [{"title": "a", "words": 1}]}'):
        assert shape.parse(text).value == [{"title": "a", "words": 1}]
    AnswerSchema(asked)  # what is sent is itself a schema


@pytest.mark.parametrize("kind", [list[Model], list[Model | int]])
def test_a_list_of_pydantic_models_is_a_schema_too(kind: Any) -> None:
    shape = AnswerSchema(kind)
    assert shape.is_list
    assert shape.fields == (("title", "words") if kind == list[Model] else ())
    assert shape.parse('{"rows": [{"title": "a", "words": 1}]}').value == [{"title": "a", "words": 1}]
    with pytest.raises(ValueError, match="/0"):
        shape.parse('[{"title": "", "words": 1}]')


def test_strict_is_asked_for_only_where_nothing_is_optional() -> None:
    def is_strict(schema: Any) -> bool:
        return bool(AnswerSchema(schema).response_format["json_schema"]["strict"])

    assert is_strict(STORY)
    assert not is_strict({**STORY, "required": ["title"]})
    assert not is_strict({**STORY, "properties": {"title": {"type": "object"}}, "required": ["title"]})


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"type": "objekt"}, "Not a valid JSON Schema"),
        ({"$ref": "http://example.com/schema.json"}, "Remote references are not loaded"),
        ({"$ref": "file:///etc/hostname"}, "Remote references are not loaded"),
        ({"properties": {"id": {}}}, "'id', which is reserved"),
        (object, "cannot be converted to a JSON schema"),
        ("missing.json", "file not found"),
    ],
)
def test_an_invalid_schema_is_refused_before_any_call(schema: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        AnswerSchema(schema)


@pytest.mark.parametrize(
    "schema",
    [
        STORY,
        msgspec.json.schema(Story),
        Model.model_json_schema(),
        {"type": "array", "items": {"anyOf": [{"type": "number"}, {"type": "null"}]}, "minItems": 5},
        {"enum": ["a", 3, None]},
        {"const": {"a": 1}},
        msgspec.json.schema(list[tuple[int, str]]),
        msgspec.json.schema(tuple[int, str]),
        {"type": "array", "prefixItems": [{"type": "integer"}], "items": {"type": "string"}, "minItems": 3},
        {"type": "array", "items": True},
        {"type": "object", "properties": {"any": True}, "required": ["any"]},
        {"type": ["string", "null"], "minLength": 40},
        {"type": "object", "properties": {"b": {"type": "boolean"}, "n": {"type": "null"}}, "required": ["b", "n"]},
    ],
)
def test_the_simulated_endpoint_makes_what_fits_and_what_does_not(schema: dict[str, Any]) -> None:
    shape = AnswerSchema(schema)
    for n in range(20):
        made = example_json(schema, 0, n)
        assert shape.validate(json.loads(made)) is not None or made == "null"
    for u in (0.0, 0.4, 0.9):
        with pytest.raises(ValueError, match=r"."):
            AnswerSchema(STORY).parse(corrupt_json(example_json(STORY, 0), u))


def test_of_answers_that_are_invalid_three_times_in_ten_only_valid_ones_come_through() -> None:
    Path("story.json").write_text(json.dumps(STORY))
    words = ("generate", "-p", "A story about {{ n }}.", "--schema", "story.json", "--grid-var", f"n={_numbers(1000)}")
    with sim("--latency", "0", "--token-latency", "0", "--invalid-rate", "0.3") as endpoint:
        ended = command(*words, "-m", "any", "-u", endpoint.url, "-o", OUT, "--json")
        report = json.loads(ended.out)
        finished = endpoint.stats["finished"]
    shape = AnswerSchema(STORY)
    for row in rows(OUT):
        assert shape.validate({name: row[name] for name in ("title", "words")})
    failures = rows(Path("out.jsonl.run/failures.jsonl"))
    assert len(rows(OUT)) + len(failures) == 1000
    assert 10 < len(failures) < 50  # 0.3 ** 3 of them: 27
    assert {row["kind"] for row in failures} == {"invalid"} == set(report["failure_counts"])
    for row in failures:
        with pytest.raises(ValueError, match=r"."):
            shape.parse(row["last_text"])
    asked = Counter(call["id"] for call in rows(Path("out.jsonl.run/calls.jsonl")))
    assert max(asked.values()) == 3
    assert sum(asked.values()) == finished == 1000 + report["counts"]["re-asked"]
    assert ended.code == 3


def _numbers(count: int) -> str:
    return ",".join(map(str, range(count)))


def generate(schema: Any = STORY, **how: Any) -> manycall.results.RunResult:
    return manycall.generate("x {{ n }}", [{"n": 1}], schema=schema, model="m", out=OUT, progress=False, **how)


class Server:
    """Says these things, one after the other, the last for ever; remembers what it was asked."""

    def __init__(self, *replies: HttpResponse) -> None:
        self._replies = list(replies)
        self.asked: list[dict[str, Any]] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, body = await read_request(reader)
        if not body:
            writer.write(http(404, b""))
            return
        self.asked.append(json.loads(body))
        reply = self._replies.pop(0) if len(self._replies) > 1 else self._replies[0]
        writer.write(http(reply.status, reply.body))
        await writer.drain()


GOOD, BAD = answer('{"title": "a", "words": 3}'), answer('{"title": "a"}')


@pytest.mark.parametrize(("name", "text"), [("s.json", '{"type": "object"}'), ("s.toml", 'type = "object"')])
def test_the_file_of_a_schema_may_begin_with_a_byte_order_mark(name: str, text: str) -> None:
    Path(name).write_text(text, encoding="utf-8-sig")
    assert AnswerSchema(name).schema == {"type": "object"}


@pytest.mark.parametrize(
    ("schema", "fields"),
    [
        ({"$ref": "#/allOf/1", "allOf": [True, {"properties": {"b": {}}}]}, ("b",)),
        ({"$ref": "#/$defs/any", "$defs": {"any": True}}, ()),
        ({"type": "array", "items": {"$ref": "#/$defs/any"}, "$defs": {"any": False}}, ()),
        ({"type": "array", "items": True}, ()),
    ],
)
def test_a_reference_may_lead_into_a_list_or_to_a_boolean(schema: dict[str, Any], fields: tuple[str, ...]) -> None:
    assert AnswerSchema(schema).fields == fields


def test_an_answer_that_does_not_fit_is_asked_again_with_the_reason() -> None:
    server = Server(BAD, GOOD)
    with serving(server) as url:
        report = generate(base_url=url)
    assert (report.done, report.counts) == (1, {"re-asked": 1})
    first, second = server.asked
    assert first["response_format"]["json_schema"]["strict"] is True
    assert [turn["role"] for turn in second["messages"]] == ["user", "assistant", "user"]
    assert second["messages"][1]["content"] == '{"title": "a"}'
    assert '"words" is a required property' in second["messages"][2]["content"]


def test_a_row_that_never_fitted_has_its_chances_again_and_pays_for_none_twice() -> None:
    bad = Server(BAD)
    with serving(bad) as url:
        report = generate(base_url=url, reask=1)
    assert (report.failed, report.failure_counts, len(bad.asked)) == (1, {"invalid": 1}, 2)
    (failure,) = rows(Path("out.jsonl.run/failures.jsonl"))
    assert failure["last_text"] == '{"title": "a"}'
    server = Server(BAD, GOOD)
    with serving(server) as url:
        report = generate(base_url=url, reask=1)
    assert (report.done, report.replayed, len(server.asked)) == (1, 2, 2)


def test_a_truncated_answer_is_not_requested_again() -> None:
    server = Server(answer('{"title": "a', "length"))
    with serving(server) as url:
        report = generate(base_url=url)
    assert (report.failed, len(server.asked)) == (1, 1)
    assert "raise max_tokens=" in report.top_errors[0][0]


@pytest.mark.parametrize(
    "message",
    [
        "Unknown parameter: 'response_format'",
        "output_config.format.schema: For 'object' type, 'additionalProperties' must be explicitly set to false",
    ],
)
def test_an_endpoint_that_takes_no_response_format_gets_the_schema_in_the_prompt(message: str) -> None:
    server = Server(refusal(400, message), GOOD)
    with serving(server) as url:
        report = generate(base_url=url)
    assert (report.done, report.counts) == (1, {"sent without response_format": 1})
    assert "response_format" not in server.asked[1]
    assert '"minLength":1' in server.asked[1]["messages"][0]["content"]


def test_any_other_refusal_is_the_rows_own() -> None:
    server = Server(refusal(400, "the prompt is too long"))
    with serving(server) as url:
        assert generate(base_url=url).failure_counts == {"call_error": 1}
    assert len(server.asked) == 1


def test_one_call_may_give_many_rows() -> None:
    server = Server(answer('{"rows": [{"title": "a", "words": 1}, {"title": "b", "words": 2}]}'))
    with serving(server) as url:
        for _ in range(2):
            report = generate(list[Story], base_url=url)
    assert (report.done, report.output_rows, report.total_rows, len(server.asked)) == (1, 2, 1, 1)
    first, second = rows(OUT)
    assert (first["id"], second["id"]) == (f"{second['id'][:-2]}/0", f"{first['id'][:-2]}/1")
    assert (first["n"], first["title"], second["title"], second["parts"]) == (1, "a", "b", 2)


def test_a_function_may_make_many_rows_of_an_answer_or_none() -> None:
    def parse(row: dict[str, Any], text: str) -> list[dict[str, Any]]:
        return [{"line": line} for line in text.splitlines() if line != "none"]

    server = Server(answer("none"), answer("one\ntwo\nthree"), answer("one"))
    with serving(server) as url:
        report = manycall.generate(
            "x {{ id }}", [{"id": n} for n in range(3)], parse=parse, model="m", base_url=url, out=OUT, concurrency=1,
            progress=False,
        )  # fmt: skip
    assert (report.done, report.rejected, report.output_rows) == (2, 1, 4)
    assert [(row["id"], row["line"]) for row in rows(OUT)] == [
        ("1/0", "one"), ("1/1", "two"), ("1/2", "three"), ("2/0", "one")
    ]  # fmt: skip
    assert rows(Path("out.jsonl.run/rejected.jsonl")) == [{"id": 0, "reason": "the answer gave no rows"}]


def test_items_with_the_name_that_is_ours_are_refused_before_any_call() -> None:
    with pytest.raises(UsageError, match="'parts', which is reserved"):
        generate({"type": "array", "items": {"properties": {"parts": {}}}}, base_url="http://127.0.0.1:1")


@pytest.mark.parametrize(
    "result", [lambda row: [{"id": row["id"]}], lambda row: [{"parts": 2}], lambda row: {"parts": ["a"]}]
)
def test_a_row_fails_if_parse_returns_a_name_that_is_reserved_for_split_rows(result: Any) -> None:
    """Otherwise a resumed run could not read the output: it takes `parts` for the number of rows of a split row."""
    options: dict[str, Any] = {"rows": [{"id": "a#0"}], "model": "m", "out": OUT, "progress": False}
    with serving(Server(answer("x"))) as url:
        failed = manycall.generate("{{ id }}", parse=lambda row, _: result(row), base_url=url, **options)
        assert failed.failure_counts == {"function_error": 1}
        assert "reserved for split rows" in failed.top_errors[0][0]
        assert manycall.generate("{{ id }}", parse=lambda row, _: {"part": 2}, base_url=url, **options).done == 1


@pytest.mark.parametrize("many", [False, True])
def test_a_function_that_changes_a_field_of_the_row_has_failed(many: bool) -> None:
    """Else the output would not say any more what was asked."""
    options: dict[str, Any] = {"model": "m", "out": OUT, "progress": False, "rows": [{"thing": "leek"}]}

    def parse(row: dict[str, Any], text: str) -> Any:
        made = {**row, "thing": new, "said": text}
        return [{name: made[name] for name in ("thing", "said")}] if many else made

    new = "CHANGED"
    server = Server(answer("x"))
    with serving(server) as url:
        report = manycall.generate("Tell {{ thing }}", parse=parse, base_url=url, **options)
        assert (report.failure_counts, "the field 'thing'" in report.top_errors[0][0]) == ({"function_error": 1}, True)
        new = "leek"
        assert manycall.generate("Tell {{ thing }}", parse=parse, base_url=url, **options).done == 1
    assert (len(server.asked), rows(OUT)[0]["thing"]) == (1, "leek")


def test_a_function_that_was_fixed_continues_without_a_call() -> None:
    options: dict[str, Any] = {"model": "m", "out": OUT, "progress": False}

    def parse(row: dict[str, Any], text: str) -> dict[str, Any]:
        return {"number": int(text)}

    first = parse

    def fixed(row: dict[str, Any], text: str) -> dict[str, Any]:
        return {"number": len(text)}

    fixed.__name__ = "parse"
    server = Server(answer("many"))
    with serving(server) as url:
        assert manycall.generate("x", parse=first, base_url=url, **options).failure_counts == {"function_error": 1}
        assert manycall.generate("x", parse=fixed, base_url=url, **options).done == 1
    assert len(server.asked) == 1
    assert rows(OUT)[0]["number"] == 4
