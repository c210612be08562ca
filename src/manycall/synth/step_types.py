"""The step types of a pipeline. In a file, each step is a table, and one of its keys names the type:

    [[steps]]
    judge = "Is this true? {{ text }}"
    min_score = 4

A step is compiled once and then called for each row. It receives the row with the fields of all earlier steps, and
returns new fields or raises RowRejected.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import msgspec

from manycall.client.requests import LLM
from manycall.data.answer_schema import SchemaLike
from manycall.data.prompt_template import PromptLike, PromptTemplate
from manycall.data.row_prompt import RowPrompt
from manycall.errors import RowRejected, UsageError
from manycall.judging.verdict_format import parse_number, parse_scale
from manycall.records import Completion, Messages, Row
from manycall.run.argument_types import check_types
from manycall.run.job import refuse_choices
from manycall.run.reask import append_text, ask_until_valid, read_at_once
from manycall.run.reasoning_field import ReasoningField
from manycall.synth.call_checks import TextApi
from manycall.synth.evolve import Evolve
from manycall.synth.prompt_call import PromptCall
from manycall.synth.reply_fields import parse_keep
from manycall.synth.step_base import CompiledStep, Step, StepContext, endpoint_identity


class Generate(Step):
    """Send a prompt and add the text, or with a schema the fields, of the answer.

    Attributes:
        generate: the prompt.
        output_field: the field for the text.
        messages: the field with the conversation to send, instead of a prompt.
        images, system, schema, extract, api, keep: as for `manycall.generate`.
        params: request parameters in addition to those of the run.
        endpoint: name of the endpoint of the calls, in endpoints.toml. Default: the run's.
    """

    generate: Any = None
    output_field: str = "text"
    messages: str | None = None
    images: list[str] = msgspec.field(default_factory=list)
    system: str | None = None
    schema: Any = None
    extract: str | None = None
    api: TextApi = "chat"
    keep: str | list[str] = msgspec.field(default_factory=list)
    params: dict[str, Any] = msgspec.field(default_factory=dict)
    endpoint: str = ""

    def compile(self, context: StepContext) -> CompiledStep:
        prompt: PromptLike | None = self.generate
        schema: SchemaLike | None = self.schema
        refuse_choices(self.params)
        sent = RowPrompt(
            prompt, messages=self.messages, system=self.system, images=self.images, folder=context.folder
        )  # fmt: skip
        call = PromptCall(
            sent, output_field=self.output_field, schema=schema, extract=self.extract, api=self.api,
            params=self.params, reask=context.reask, reasoning=context.reasoning, keep=parse_keep(self.keep),
            counts=context.counts, earlier_settings=context.earlier_settings,
            endpoint=self.endpoint,
        )  # fmt: skip
        if call.may_split:
            raise UsageError(
                "A step cannot split a row into several. Generate the rows first, then run the steps on them."
            )

        async def function(row: Row, llm: LLM) -> dict[str, Any]:
            fields = await call.process_row(row, llm)
            assert isinstance(fields, dict)
            return fields

        identity = {"generate": call.identity}
        return CompiledStep(
            function, call.writes, sent.required_fields, identity, self.endpoint, call.finish_reason_field
        )  # fmt: skip


class Judge(Step):
    """Request a score and reject the row if the score is too low.

    Attributes:
        judge: the prompt. An instruction to answer with a number of the scale is appended.
        output_field: the field for the score.
        min_score: minimum score of rows that are kept; None keeps all rows.
        scale: lowest and highest score, as a range of whole numbers.
        images: fields with images that the judge sees.
        system: the system prompt.
        params: request parameters in addition to those of the run.
        endpoint: name of the endpoint of the calls, in endpoints.toml. Default: the run's.
    """

    judge: Any
    output_field: str = "score"
    min_score: float | None = None
    scale: str = "1-5"
    images: list[str] = msgspec.field(default_factory=list)
    system: str | None = None
    params: dict[str, Any] = msgspec.field(default_factory=dict)
    endpoint: str = ""

    def compile(self, context: StepContext) -> CompiledStep:
        refuse_choices(self.params)
        prompt = RowPrompt(self.judge, system=self.system, images=self.images, folder=context.folder)
        low, high = parse_scale(self.scale, f"judge: scale {self.scale!r}")
        if self.min_score is not None and not low <= self.min_score <= high:
            raise UsageError(f"judge: the scale is {low} to {high}, but min_score is {self.min_score}.")
        thinking = ReasoningField(self.output_field, context.reasoning)
        instruction = f"Score it from {low} to {high}. Answer with the number, digit only."
        read = read_at_once(partial(parse_number, least=low, most=high))

        async def function(row: Row, llm: LLM) -> dict[str, Any]:
            async def send(messages: Messages) -> Completion:
                return await llm.chat(messages, endpoint=self.endpoint, **self.params)

            messages = append_text(prompt.load(row), instruction)
            score, reply = await ask_until_valid(messages, send, read, context.reask, context.counts)
            fields = {self.output_field: score, **thinking.fields(reply)}
            if self.min_score is not None and score < self.min_score:
                raise RowRejected(f"{self.output_field} {score} is below {self.min_score:g}", **fields)
            return fields

        identity: dict[str, Any] = {
            "judge": prompt.text,
            "system": prompt.system_text,
            "output_field": self.output_field,
            **({"images": self.images} if self.images else {}),
        }
        settings = {"min_score": self.min_score, "scale": f"{low}-{high}", "params": self.params}
        identity |= settings | endpoint_identity(self.endpoint, self.params)
        writes = (self.output_field, *thinking.writes)
        return CompiledStep(function, writes, prompt.required_fields, identity, self.endpoint)


class Keep(Step):
    """Reject the rows for which a condition is false. No call is made.

    Attributes:
        keep: a Jinja expression over the fields ("score > 3 and text | length > 200"), or a function of the fields.
        reason: the reason that is recorded for rejected rows. Default: the condition.
    """

    keep: Any
    reason: str = ""

    def compile(self, context: StepContext) -> CompiledStep:
        template = None if callable(self.keep) else _condition(self.keep)
        condition = getattr(self.keep, "__name__", "a function") if template is None else str(self.keep)

        def is_kept(fields: dict[str, Any]) -> bool:
            return bool(self.keep(fields) if template is None else _text(template, fields))

        async def function(row: Row, llm: LLM) -> dict[str, Any]:
            if not is_kept({**row.fields, "id": row.id}):
                raise RowRejected(self.reason or f"condition is false: {condition}")
            return {}

        return CompiledStep(
            function, (), set() if template is None else template.required_fields - {"id"}, {"keep": condition}
        )


def _condition(expression: Any) -> PromptTemplate:
    try:
        return PromptTemplate(f"{{% if {expression} %}}yes{{% endif %}}")
    except UsageError as error:
        reason = str(error).removeprefix("The prompt, ")
        raise UsageError(f"keep = {str(expression)!r:.200} is not a Jinja expression ({reason}).") from None


class Assign(Step):
    """Compute fields from other fields. No call is made.

    Attributes:
        assign: field → template ("{{ a if score_a > score_b else b }}"). The value of a single expression
            keeps its type: "{{ score_a - score_b }}" is a number.
    """

    assign: dict[str, str]

    def compile(self, context: StepContext) -> CompiledStep:
        templates = {name: PromptTemplate(text) for name, text in self.assign.items()}

        async def function(row: Row, llm: LLM) -> dict[str, Any]:
            return {name: template.evaluate(row) for name, template in templates.items()}

        needs = set().union(*(template.required_fields for template in templates.values()))
        return CompiledStep(
            function, tuple(templates), needs, {"assign": {name: each.text for name, each in templates.items()}}
        )


STEP_TYPES: dict[str, type[Step]] = {
    "generate": Generate,
    "messages": Generate,
    "evolve": Evolve,
    "judge": Judge,
    "keep": Keep,
    "assign": Assign,
}


def parse_step(step: "Step | Mapping[str, Any]", number: int) -> Step:
    """Return a step from a table of a file or from Python.

    Raises:
        UsageError: the type of the step is missing or ambiguous, or a setting is not valid.
    """
    if isinstance(step, Step):
        check_types(msgspec.structs.asdict(step), f"Step {number}: {{}}".format)
        return step
    named = [kind for kind in STEP_TYPES if kind in step] if isinstance(step, Mapping) else []
    if len(named) == 2 and named[1] == "keep":  # parts of a reply to keep; alone, it is a filter
        del named[1]
    if len(named) != 1:
        raise UsageError(f"Step {number}: expected exactly one of {', '.join(STEP_TYPES)}.")
    try:
        return msgspec.convert(dict(step), STEP_TYPES[named[0]], strict=False)
    except msgspec.ValidationError as error:
        raise UsageError(f"Step {number} ({named[0]}): {error}") from None


def _text(template: PromptTemplate, fields: dict[str, Any]) -> str:
    text: str = template.messages(Row("", fields))[-1]["content"]
    return text
