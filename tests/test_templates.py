import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manycall.data.jinja_sandbox import ENVIRONMENT
from manycall.data.prompt_error import PromptError
from manycall.data.prompt_template import PromptTemplate
from manycall.errors import UsageError
from manycall.records import Row


def row(**fields: Any) -> Row:
    return Row("r", fields)


def test_a_template_becomes_the_users_message_and_system_goes_before_it() -> None:
    assert PromptTemplate("About {{ topic }}.").messages(row(topic="老虎")) == [
        {"role": "user", "content": "About 老虎."}
    ]
    assert PromptTemplate("Hi", system="Be {{ mood }}.").messages(row(mood="brief")) == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
    ]


def test_a_template_may_be_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "p.j2").write_text("{% for w in words %}{{ w }} {% endfor %}", encoding="utf-8")
    for prompt in (str(tmp_path / "p.j2"), tmp_path / "p.j2"):
        assert PromptTemplate(prompt).messages(row(words=["a", "b"]))[0]["content"] == "a b "


def test_a_function_may_make_text_or_messages() -> None:
    assert PromptTemplate(lambda fields: f"n={fields['n']}").messages(row(n=1))[0]["content"] == "n=1"
    messages = [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": "y"},
        {"role": "user", "content": "z"},
    ]
    assert PromptTemplate(lambda fields: messages, system="S").messages(row()) == [
        {"role": "system", "content": "S"},
        *messages,
    ]


def test_a_changed_function_is_a_changed_prompt() -> None:
    def one(fields: dict[str, Any]) -> str:
        return "one"

    def two(fields: dict[str, Any]) -> str:
        return "two"

    assert "one" in PromptTemplate(one).text
    assert PromptTemplate(one).text != PromptTemplate(two).text
    first, second = (
        PromptTemplate(lambda fields: "same").text,
        PromptTemplate(lambda fields: "same").text,
    )  # in another place
    assert first == second


def test_a_functions_identity_is_the_same_in_every_process() -> None:
    program = (
        "from manycall.data.prompt_template import PromptTemplate\n"
        "print(PromptTemplate(lambda row: 'a' if row['x'] in {'p', 'q', 'rr', 's', 't'} else 'b').text)"
    )
    seen = set()
    for seed in "1234":
        env = {**os.environ, "PYTHONHASHSEED": seed}
        seen.add(subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, check=True).stdout)
    assert len(seen) == 1


def test_a_long_prompt_without_spaces_is_no_file_name() -> None:
    prompt = "\u8bb2\u4e00\u4e2a\u6545\u4e8b" * 2000
    assert PromptTemplate(prompt).text == prompt


def test_the_name_of_a_file_is_read_with_any_suffix(tmp_path: Path) -> None:
    (tmp_path / "story.prompt").write_text("from the file")
    assert PromptTemplate(str(tmp_path / "story.prompt")).text == "from the file"
    assert PromptTemplate("story.unknown").text == "story.unknown"


def test_a_prompt_that_names_nothing_of_the_row_is_known() -> None:
    assert PromptTemplate("Tell of {topic}.").is_constant
    assert not PromptTemplate("Tell of {{ topic }}.").is_constant
    assert not PromptTemplate("Go on.", system="You are {{ who }}.").is_constant
    assert not PromptTemplate(lambda fields: "x").is_constant


def test_a_missing_field_is_an_error_that_lists_the_fields() -> None:
    with pytest.raises(
        PromptError, match=r"the field 'topick', which this row does not have\. Its fields: id, topic\."
    ):
        PromptTemplate("{{ topick }}").messages(row(topic=1, id="x"))


@pytest.mark.parametrize("prompt", ["{{ q }}", "Q: {{ q }}", "{% if id %}Q: {{ q }}{% endif %}", "{{ more.q }}"])
def test_a_null_is_an_error_and_not_the_word_none(prompt: str) -> None:
    said = r"null in this row.* To send nothing instead: \{\{ q or '' \}\}\. Its fields that are null: q\."
    with pytest.raises(PromptError, match=said):
        PromptTemplate(prompt).messages(row(q=None, more={"q": None}, id="x"))
    assert PromptTemplate("Q: {{ q or '' }}{{ q | tojson }}").messages(row(q=None))[0]["content"] == "Q: null"


@pytest.mark.parametrize(
    "prompt",
    [
        "{{ 5 | dictsort }}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ cycler(1).__init__.__globals__.os.popen('id').read() }}",
        "{{ words.append(3) }}",
        "{{ 1 / 0 }}",
        "{{ range(10 ** 9) | list }}",
    ],
)
def test_a_template_cannot_leave_its_sandbox(prompt: str) -> None:
    with pytest.raises(PromptError):
        PromptTemplate(prompt).messages(row(words=[1]))


def test_a_rows_text_is_never_itself_a_template() -> None:
    assert PromptTemplate("{{ q }}").messages(row(q="{{ 7 * 7 }}"))[0]["content"] == "{{ 7 * 7 }}"


def test_a_function_that_fails_is_the_rows_failure() -> None:
    def broken(fields: dict[str, Any]) -> str:
        return str(fields["none"])

    with pytest.raises(PromptError, match="KeyError"):
        PromptTemplate(broken).messages(row())
    with pytest.raises(PromptError, match="returned int"):
        PromptTemplate(lambda fields: 3).messages(row())  # type: ignore[arg-type,return-value]


def test_a_template_that_does_not_parse_or_exist_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="line 2"):
        PromptTemplate("a\n{% if %}")
    with pytest.raises(UsageError, match="cannot be compiled: RecursionError"):
        PromptTemplate("{{ " + "[" * 2000 + "]" * 2000 + " }}")
    with pytest.raises(UsageError, match=r"file 'gone\.j2' not found"):
        PromptTemplate("gone.j2")
    (tmp_path / "bad.j2").write_bytes(b"\xff")
    with pytest.raises(UsageError, match="cannot be read"):
        PromptTemplate(tmp_path / "bad.j2")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{{ ''.__class__ }}", "unsafe"),
        ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "unsafe"),
        ("{{ xs|attr('__class__') }}", "unsafe"),
        ("{{ '{0.__class__}'.format(xs) }}", "unsafe"),
        ("{{ '{0.__class__}'|attr('format')(xs) }}", "unsafe"),
        ("{{ cycler(1).__init__.__globals__.os.environ }}", "unsafe"),
        ("{{ cycler.__init__.__globals__.os.environ }}", "unsafe"),
        ("{{ nested.items }}", r"is a function.*a field is read with \['name'\] instead of \.name"),
        ("{{ self.__init__ }}", "unsafe"),
        ("{{ xs.append(1) }}", "unsafe"),
        ("{{ config }}", "the field 'config', which"),
        ("{{ lipsum() }}", "the field 'lipsum', which"),
        ("{% include '/etc/passwd' %}", "no loader"),
        ("{% import '/etc/passwd' as x %}", "no loader"),
        ("{% extends '/etc/passwd' %}", "no loader"),
        ("{{ 'x' * 10**9 }}", "more than 20,000,000 characters"),
        ("{{ 10**9 * xs }}", "more than 20,000,000 characters"),
        ("{{ 9 ** (9**9) }}", "more than 20,000,000 characters"),
        ("{% for i in range(10**9) %}{% endfor %}", "Range too big"),
        (
            "{% for i in range(99999) %}{% for j in range(99999) %}{{ 'x' * 1000 }}{% endfor %}{% endfor %}",
            "exceed 20,000,000",
        ),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "recursion"),
    ],
)
def test_a_template_reaches_nothing_but_its_row_and_makes_nothing_boundless(text: str, said: str) -> None:
    fields: dict[str, Any] = {"xs": [1, 2], "nested": {"a": 1}}
    with pytest.raises(PromptError, match=said):
        PromptTemplate(text).messages(row(**fields))
    assert fields == {"xs": [1, 2], "nested": {"a": 1}}


@pytest.mark.parametrize("hostile", ["{{ 7 * 7 }}", "{% include 'x' %}", "{# gone #}", "\\N{BULLET} %s {0}"])
def test_a_value_of_a_row_is_never_read_as_a_template(hostile: str) -> None:
    assert (
        PromptTemplate("{{ text }}{% set t = text %}{{ t }}").messages(row(text=hostile))[0]["content"] == hostile * 2
    )


def test_products_and_powers_of_a_usual_size_work() -> None:
    text = "{{ '-' * 3 }}{{ 3 * 4 }}{{ 2 ** 10 }}{{ 2.5 * 2 }}{{ ([1] * 2)|length }}"
    assert PromptTemplate(text).messages(row())[0]["content"] == "---1210245.02"


ODD = ["{{ a }}", "{{ b }}", "{{a}}", "%", "%s", "{ ", "x\n", "{# no #}", "{% raw %}{{ b }}{% endraw %}", " {{- a -}} "]


@given(st.lists(st.sampled_from(ODD)))
def test_a_template_of_nothing_but_names_is_as_jinja_would_have_it(parts: list[str]) -> None:
    text = "".join(["x", *parts])
    fields = {"a": "{{ b }} %s", "b": 7}
    assert PromptTemplate(text).messages(row(**fields))[0]["content"] == ENVIRONMENT.from_string(text).render(fields)


@pytest.mark.parametrize("name", ["range", "dict", "cycler", "joiner", "namespace"])
@pytest.mark.parametrize("text", ["{{ NAME }}", "{{ NAME | upper }}", "{% if NAME %}{{ NAME }}{% endif %}"])
def test_a_field_may_have_the_name_of_a_function_of_jinja(name: str, text: str) -> None:
    prompt = PromptTemplate(text.replace("NAME", name))
    assert prompt.required_fields == {name}
    assert prompt.messages(row(**{name: "5 KM"}))[0]["content"] == "5 KM"
    for render in (prompt.messages, prompt.evaluate):
        with pytest.raises(PromptError, match=f"the field '{name}', which this row does not have"):
            render(row())


def test_a_name_of_which_all_uses_are_calls_is_a_function_of_jinja() -> None:
    prompt = PromptTemplate("{% set n = namespace(x=1) %}{{ n.x }}{{ range(3) | list }}{{ dict }}")
    assert prompt.required_fields == {"dict"}
    assert prompt.messages(row(dict="d"))[0]["content"] == "1[0, 1, 2]d"


@pytest.mark.parametrize(
    ("prompt", "fields", "kind"),
    [
        ("{{ messages }}", {"messages": [{"role": "user", "content": "hi"}]}, "a list"),
        (" {{messages}}\n", {"messages": []}, "a list"),
        ("{{ row.messages }}", {"row": {"messages": [1]}}, "a list"),
        ("{{ messages[0] }}", {"messages": [{"role": "user"}]}, "an object"),
        ([{"role": "user", "content": "{{ messages }}"}], {"messages": [1]}, "a list"),
    ],
)
def test_a_prompt_that_is_a_list_or_an_object_is_refused(prompt: Any, fields: Any, kind: str) -> None:
    with pytest.raises(PromptError, match=rf"is {kind}, not text\. Name a text in it, for example {{{{ messages\[-1\]"):
        PromptTemplate(prompt).messages(Row("1", fields))


@pytest.mark.parametrize(
    ("prompt", "sent"),
    [
        ("{{ messages[-1].content }}", "hi"),
        ("{{ messages | tojson }}", '[{"content": "hi"}]'),
        ("{{ n }}", "7"),
        ("Say {{ messages }}", "Say [{'content': 'hi'}]"),
    ],
)
def test_a_text_made_of_a_list_is_a_prompt(prompt: str, sent: str) -> None:
    row = Row("1", {"messages": [{"content": "hi"}], "n": 7})
    assert PromptTemplate(prompt).messages(row) == [{"role": "user", "content": sent}]
