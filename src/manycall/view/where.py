"""The filter language: `score.strict-match = 0 and ending = length and answer.len > 2000 and "hyperbola"`.

    expression := and ("or" and)*      and := not ("and" not)*      not := "not" not | "(" expression ")" | test
    test := NAME OPERATOR value | TEXT      OPERATOR: = != < <= > >= ~      value: NUMBER, TEXT, WORD, true, false, null

`~` means "contains", ignoring case. A text alone is searched for in all texts of a row. A filter is parsed to bound
parameters of a query; nothing of it becomes a part of the SQL.
"""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

from manycall.view.replies import ViewRefused

_TOKEN = re.compile(r'\s*(?:(?P<text>"(?:[^"\\]|\\.)*")|(?P<mark>!=|<=|>=|[=<>~()])|(?P<word>[^\s"()=!<>~]+))')
_NUMBER = re.compile(r"-?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
OPERATORS = frozenset({"=", "!=", "<", "<=", ">", ">=", "~"})
CONSTANTS = {"true": True, "false": False, "null": None}
MAX_TOKENS, MAX_DEPTH = 500, 50


class Token(NamedTuple):
    """A word of a filter. `kind` is `text`, `mark` or `word`; `at` is its place, from 1."""

    kind: str
    value: str
    at: int


class Test(NamedTuple):
    """A comparison, or a search in all texts if `name` is empty."""

    name: str
    operator: str
    value: Any


class Junction(NamedTuple):
    """`and`, `or` or `not` of some parts."""

    word: str
    parts: tuple["Filter", ...]


Filter = Test | Junction


class Sql(NamedTuple):
    """A condition with its bound parameters."""

    text: str
    parameters: tuple[Any, ...] = ()


class TestCompiler(Protocol):
    """Makes a condition of a comparison."""

    def __call__(self, test: Test) -> Sql:
        """Return the condition. With a missing value it is false, so that `not` makes it true.

        Raises:
            ViewRefused: there is no such column, or the comparison is not possible.
        """


def parse_filter(text: str) -> Filter | None:
    """Return a filter; None for an empty text.

    Raises:
        ViewRefused: the text is not a filter. The message gives the place.
    """
    tokens = list(_tokens(text))
    if not tokens:
        return None
    parser = _Parser(tokens, len(text) + 1)
    return parser.parse()


def compile_filter(filter: Filter, compile_test: TestCompiler) -> Sql:
    """Return a filter as SQL."""
    if isinstance(filter, Test):
        return compile_test(filter)
    parts = [compile_filter(part, compile_test) for part in filter.parts]
    parameters = tuple(value for part in parts for value in part.parameters)
    if filter.word == "not":
        return Sql(f"not {parts[0].text}", parameters)
    return Sql("(" + f" {filter.word} ".join(part.text for part in parts) + ")", parameters)


def _refused(message: str, at: int) -> ViewRefused:
    return ViewRefused(400, f"{message} at character {at}.", 'For example: score = 0 and answer.len > 2000 and "word"')


def _tokens(text: str) -> Iterator[Token]:
    at = 0
    text = text.rstrip()
    for _ in range(MAX_TOKENS):
        if at == len(text):
            return
        if (match := _TOKEN.match(text, at)) is None:
            raise _refused("Unexpected character, or a text without its closing quote,", at + 1)
        kind = str(match.lastgroup)
        yield Token(kind, match[kind], match.start(kind) + 1)
        at = match.end()
    raise ViewRefused(400, "The filter is too long.")


class _Parser:
    def __init__(self, tokens: list[Token], end: int) -> None:
        self._tokens, self._next, self._end, self._depth = tokens, 0, end, 0

    def parse(self) -> Filter:
        found = self._junction("or")
        if (token := self._peek()) is not None:
            raise _refused(f"Unexpected {token.value!r}", token.at)
        return found

    def _peek(self) -> Token | None:
        return self._tokens[self._next] if self._next < len(self._tokens) else None

    def _take(self, *values: str) -> bool:
        """Skip the next token if it is one of these words or marks. A quoted text never is."""
        token = self._peek()
        if token is None or token.kind == "text" or token.value.lower() not in values:
            return False
        self._next += 1
        return True

    def _junction(self, word: str) -> Filter:
        parts = [self._part_of(word)]
        while self._take(word):
            parts.append(self._part_of(word))
        return parts[0] if len(parts) == 1 else Junction(word, tuple(parts))

    def _part_of(self, word: str) -> Filter:
        return self._junction("and") if word == "or" else self._not()

    def _not(self) -> Filter:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise ViewRefused(400, "The filter is nested too deeply.")
        try:
            if self._take("not"):
                return Junction("not", (self._not(),))
            if self._take("("):
                inner = self._junction("or")
                if not self._take(")"):
                    raise _refused("Expected ')'", self._place())
                return inner
            return self._test()
        finally:
            self._depth -= 1

    def _place(self) -> int:
        token = self._peek()
        return self._end if token is None else token.at

    def _test(self) -> Filter:
        name = self._peek()
        if name is None or name.kind == "mark" or (name.kind == "word" and name.value.lower() in ("and", "or")):
            raise _refused("Expected a field or a quoted text", self._place())
        self._next += 1
        operator = self._peek()
        if operator is None or operator.value not in OPERATORS or operator.kind != "mark":
            if name.kind == "text":
                return Test("", "~", _unquoted(name))
            raise _refused(f"Expected a comparison after {name.value!r}", self._place())
        self._next += 1
        value = self._peek()
        if value is None or value.kind == "mark":
            raise _refused(f"Expected a value after {operator.value!r}", self._place())
        self._next += 1
        return Test(_unquoted(name), operator.value, _constant(value))


def _unquoted(token: Token) -> str:
    return re.sub(r"\\(.)", r"\1", token.value[1:-1], flags=re.DOTALL) if token.kind == "text" else token.value


def _constant(token: Token) -> Any:
    if token.kind == "text":
        return _unquoted(token)
    if token.value.lower() in CONSTANTS:
        return CONSTANTS[token.value.lower()]
    if _NUMBER.fullmatch(token.value):
        number = float(token.value)
        return int(number) if number.is_integer() and abs(number) < 1 << 53 else number
    return token.value
