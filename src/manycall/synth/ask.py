"""One prompt for a row, and what its answer becomes: a text in a field, or the fields of a schema."""

from collections.abc import Mapping
from typing import Any

from manycall.data.schema import Schema, Shape
from manycall.data.templates import Prompt, Template
from manycall.engine.calls import Calls, Send, Tally, added, fitting
from manycall.errors import Refused, UsageError
from manycall.records import Completion, Made, Messages, Row
from manycall.store.parts import PARTS
from manycall.synth.duplicates import Duplicates
from manycall.synth.texts import leaves

NOT_TAKEN, DUPLICATES = "sent without response_format", "duplicates"
REASK = 2
"""How often an answer that does not fit is asked for again."""
_NAMES_IT = ("response_format", "json_schema", "guided_json", "structured output")


class Ask:
    """One prompt, and what its answer becomes.

    Args:
        prompt, system: see `Template`.
        into: the field that takes a text; why it ended goes to `<into>_finish_reason`.
        schema: the shape of the answer; its fields are then those of the row.
        raw: the prompt goes to /completions as it is, without a chat template.
        params: of its calls, besides those of the run.
        reask: how often an answer that does not fit is asked for again.
        tally: counts what happened: answers that were asked for again, and those that came before (`Duplicates`).

    Attributes:
        template: the prompt. shape: the schema. writes: the fields it adds to a row. identity: what changes an answer.
    """

    def __init__(
        self,
        prompt: Prompt,
        *,
        system: str | None = None,
        into: str = "text",
        schema: Schema | None = None,
        raw: bool = False,
        params: Mapping[str, Any] | None = None,
        reask: int = REASK,
        tally: Tally | None = None,
    ) -> None:
        if into in ("", "id"):
            raise UsageError(f"the field {into!r} cannot take the answer: it names the row")
        if raw and (schema is not None or system is not None):
            raise UsageError("--raw sends a text alone: it goes with no --schema and no --system")
        self.template = Template(prompt, system)
        self.shape = None if schema is None else Shape(schema)
        self._into, self._raw, self._params, self._reask = into, raw, dict(params or {}), chances(reask)
        self._tally = {} if tally is None else tally
        self._takes_format, self._met = True, Duplicates()
        self.writes: tuple[str, ...] = (into, f"{into}_finish_reason")
        if self.shape is not None:
            if self.shape.is_list and PARTS in self.shape.fields:
                raise UsageError(
                    f"the schema's items have a property {PARTS!r}, which is ours to give: call it otherwise"
                )
            self.writes = (*(self.shape.fields or (into,)), *((PARTS,) if self.shape.is_list else ()))
        self.identity = {
            "prompt": self.template.source,
            "system": self.template.system_text,
            "field": into,
            **({"schema": self.shape.schema} if self.shape is not None else {}),
            **({"raw": True} if raw else {}),
            **({"params": self._params} if self._params else {}),
        }

    def __repr__(self) -> str:
        return f"<Ask {self.template!r} for {', '.join(self.writes)}>"

    async def __call__(self, row: Row, llm: Calls) -> Made:
        """What the answer for this row becomes.

        Raises:
            BadPrompt: the template does not fit the row.
            Misshapen: no answer fitted the schema.
        """
        if self.shape is not None:
            value = await fitting(
                self.template.messages(row), self._shaped(llm), self.shape.read, self._reask, self._tally
            )
            for each in value if self.shape.is_list else [value]:
                self._count("\n".join(leaves(each)))
            return [self._fields(each) for each in value] if self.shape.is_list else self._fields(value)
        if self._raw:
            reply = await llm.complete(self.template.messages(row)[-1]["content"], **self._params)
        else:
            reply = await llm.chat(self.template.messages(row), **self._params)
        self._count(reply.text)
        return {self._into: reply.text, f"{self._into}_finish_reason": reply.finish_reason}

    def _count(self, text: str) -> None:
        if self._met.add(text):
            self._tally[DUPLICATES] = self._tally.get(DUPLICATES, 0) + 1

    def _fields(self, value: Any) -> dict[str, Any]:
        assert self.shape is not None
        return value if isinstance(value, dict) and self.shape.fields else {self._into: value}

    def _shaped(self, llm: Calls) -> Send:
        """Send with the schema; where the endpoint does not take it, with the schema in the prompt, from then on."""
        shape = self.shape
        assert shape is not None

        async def send(messages: Messages) -> Completion:
            if self._takes_format:
                try:
                    return await llm.chat(messages, response_format=shape.response_format, **self._params)
                except Refused as refusal:
                    if refusal.status not in (400, 422) or not any(name in str(refusal) for name in _NAMES_IT):
                        raise
                    self._takes_format = False
            self._tally[NOT_TAKEN] = self._tally.get(NOT_TAKEN, 0) + 1
            return await llm.chat(added(messages, shape.in_words, 0), **self._params)

        return send


def chances(reask: int) -> int:
    """How often an answer is asked for again, if it can be.

    Raises:
        UsageError: less than never.
    """
    if reask < 0:
        raise UsageError(f"--reask must be at least 0, not {reask}")
    return reask
