"""The steps that a chain is made of. In a file each is a table whose one key says what it does:

    [[steps]]
    judge = "Is this true? {{ text }}"
    min = 4

A step is compiled once, and then called for each row: it gets the row with all that the steps before it made, and
returns what it makes, or raises Rejected.
"""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import msgspec

from manycall.data.schema import Schema
from manycall.data.templates import BadPrompt, Prompt, Template
from manycall.engine.calls import Calls, Tally, added, fitting
from manycall.errors import Rejected, UsageError
from manycall.records import Completion, Messages, Row
from manycall.synth.ask import Ask
from manycall.synth.evolve import WAYS, drawn
from manycall.synth.score import score

Function = Callable[[Row, Calls], Awaitable[dict[str, Any]]]


class Shared(NamedTuple):
    """What the steps of a chain have in common: how often an answer is asked for again, the seed, the counts."""

    reask: int
    seed: int
    tally: Tally


class Compiled(NamedTuple):
    """A step, ready to be called. `writes` are the fields that it adds, `needs` those that must be there before,
    `identity` is what changes an answer."""

    function: Function
    writes: tuple[str, ...]
    needs: set[str]
    identity: dict[str, Any]


class Step(msgspec.Struct, forbid_unknown_fields=True):
    """What one step does."""

    def compiled(self, shared: Shared) -> Compiled:
        """Ready to be called.

        Raises:
            UsageError: a template, schema or setting that is none.
        """
        raise NotImplementedError


class Generate(Step):
    """Ask, and keep the text (or, with a schema, the fields).

    Attributes:
        generate: the prompt; system, schema, raw: as for `manycall.generate`.
        into: the field that takes the text. params: of its calls, besides those of the run.
    """

    generate: Any
    into: str = "text"
    system: str | None = None
    schema: Any = None
    raw: bool = False
    params: dict[str, Any] = {}

    def compiled(self, shared: Shared) -> Compiled:
        prompt: Prompt = self.generate
        schema: Schema | None = self.schema
        ask = Ask(
            prompt, system=self.system, into=self.into, schema=schema, raw=self.raw, params=self.params,
            reask=shared.reask, tally=shared.tally,
        )  # fmt: skip
        if ask.shape is not None and ask.shape.is_list:
            raise UsageError("a step cannot make many rows of one: generate them first, then run the steps over them")

        async def function(row: Row, llm: Calls) -> dict[str, Any]:
            made = await ask(row, llm)
            assert isinstance(made, dict)
            return made

        return Compiled(function, ask.writes, ask.template.needs, {"generate": ask.identity})


class Evolve(Step):
    """Make an instruction harder, some times over, in ways drawn for each row (synth/evolve.py).

    Attributes:
        evolve: the field with the instruction. into: the field that takes the last; `<into>_by` tells the ways.
        times: how often. ways: which: names of `WAYS`, or name -> template over `instruction`.
    """

    evolve: str
    into: str = "evolved"
    times: int = 1
    ways: list[str] | dict[str, str] = msgspec.field(default_factory=lambda: list(WAYS))
    params: dict[str, Any] = {}

    def compiled(self, shared: Shared) -> Compiled:
        if isinstance(self.ways, list) and (unknown := [name for name in self.ways if name not in WAYS]):
            raise UsageError(f"there is no way {unknown[0]!r} to evolve; there are {', '.join(WAYS)}")
        ways = self.ways if isinstance(self.ways, dict) else {name: WAYS[name] for name in self.ways}
        if not ways or self.times < 1:
            raise UsageError("evolve needs at least one of its ways, and to be done at least once")
        templates = {name: Template(prompt) for name, prompt in ways.items()}
        by = f"{self.into}_by"

        async def function(row: Row, llm: Calls) -> dict[str, Any]:
            if self.evolve not in row.fields:
                raise BadPrompt(f"there is no field {self.evolve!r} to evolve")
            text, done = str(row.fields[self.evolve]), []
            for turn in range(self.times):
                name = drawn(ways, shared.seed, row.id, turn)
                reply = await llm.chat(templates[name].messages(Row(row.id, {"instruction": text})), **self.params)
                if _plain(reply.text) == _plain(text):
                    raise Rejected(f"evolved into itself ({name})", **{self.into: reply.text})
                text = reply.text.strip()
                done.append(name)
            return {self.into: text, by: done}

        identity = {"evolve": self.evolve, "into": self.into, "times": self.times, "ways": ways, "params": self.params}
        return Compiled(function, (self.into, by), {self.evolve}, identity)


class Judge(Step):
    """Ask for a score, and keep the row if it is high enough.

    Attributes:
        judge: the question. How to answer it is added: with a number of the scale and nothing else.
        into: the field that takes the score. min: the lowest that is kept; None: all are. scale: from, to.
    """

    judge: Any
    into: str = "score"
    min: float | None = None
    scale: tuple[int, int] = (1, 5)
    system: str | None = None
    params: dict[str, Any] = {}

    def compiled(self, shared: Shared) -> Compiled:
        template = Template(self.judge, self.system)
        least, most = self.scale
        if not least < most or (self.min is not None and not least <= self.min <= most):
            raise UsageError(f"judge: the scale is {least} to {most}, and 'min' {self.min}")
        wanted = f"Score it from {least} to {most}. Answer with the number, digit only."

        async def function(row: Row, llm: Calls) -> dict[str, Any]:
            async def send(messages: Messages) -> Completion:
                return await llm.chat(messages, **self.params)

            messages = added(template.messages(row), wanted)
            given = await fitting(messages, send, partial(score, least=least, most=most), shared.reask, shared.tally)
            if self.min is not None and given < self.min:
                raise Rejected(f"{self.into} {given} is below {self.min:g}", **{self.into: given})
            return {self.into: given}

        identity = {"judge": template.text, "system": template.system_text, "into": self.into}
        settings = {"min": self.min, "scale": list(self.scale), "params": self.params}
        return Compiled(function, (self.into,), template.needs, {**identity, **settings})


class Keep(Step):
    """Keep the rows for which something is true; reject the others. No call is made.

    Attributes:
        keep: a Jinja expression over the row's fields ("score > 3 and text | length > 200"), or a function of them.
        reason: why others are rejected.
    """

    keep: Any
    reason: str = ""

    def compiled(self, shared: Shared) -> Compiled:
        template = None if callable(self.keep) else Template(f"{{% if {self.keep} %}}yes{{% endif %}}")
        said = getattr(self.keep, "__name__", "a function") if template is None else str(self.keep)

        def holds(fields: dict[str, Any]) -> bool:
            return bool(self.keep(fields) if template is None else _text(template, fields))

        async def function(row: Row, llm: Calls) -> dict[str, Any]:
            if not holds({**row.fields, "id": row.id}):
                raise Rejected(self.reason or f"not so: {said}")
            return {}

        return Compiled(function, (), set() if template is None else template.needs - {"id"}, {"keep": said})


class Set(Step):
    """Fields made of others, without a call.

    Attributes:
        set: field -> template ("{{ a if score_a > score_b else b }}"). One that is an expression alone keeps its kind:
            "{{ score_a - score_b }}" is a number.
    """

    set: dict[str, str]

    def compiled(self, shared: Shared) -> Compiled:
        templates = {name: Template(text) for name, text in self.set.items()}

        async def function(row: Row, llm: Calls) -> dict[str, Any]:
            return {name: template.value(row) for name, template in templates.items()}

        needs = set().union(*(template.needs for template in templates.values()))
        return Compiled(
            function, tuple(templates), needs, {"set": {name: each.text for name, each in templates.items()}}
        )


KINDS: dict[str, type[Step]] = {"generate": Generate, "evolve": Evolve, "judge": Judge, "keep": Keep, "set": Set}


def step(given: "Step | Mapping[str, Any]", number: int) -> Step:
    """A step, from a file's table or from Python.

    Raises:
        UsageError: it says not what to do, or what there is not.
    """
    if isinstance(given, Step):
        return given
    named = [kind for kind in KINDS if kind in given] if isinstance(given, Mapping) else []
    if len(named) != 1:
        raise UsageError(f"step {number} must have one of the keys {', '.join(KINDS)}")
    try:
        return msgspec.convert(dict(given), KINDS[named[0]], strict=False)
    except msgspec.ValidationError as error:
        raise UsageError(f"step {number} ({named[0]}): {error}") from None


def _text(template: Template, fields: dict[str, Any]) -> str:
    text: str = template.messages(Row("", fields))[-1]["content"]
    return text


def _plain(text: str) -> str:
    return " ".join(text.lower().split())
