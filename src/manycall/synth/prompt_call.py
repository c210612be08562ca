"""A call with one prompt; its answer becomes a text field, or the fields of a schema or a regular expression."""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, Literal

from manycall.client.requests import LLM
from manycall.data.answer_schema import SchemaLike
from manycall.data.prompt_template import PromptLike, PromptTemplate
from manycall.dataset.duplicates import Duplicates
from manycall.dataset.normalize import leaf_texts
from manycall.errors import UsageError
from manycall.option_flags import option
from manycall.records import Completion, Fields, Row, RowOutput
from manycall.run.options import Reasoning
from manycall.run.reask import ReaskCounts, ask_until_valid
from manycall.run.reasoning_field import ReasoningField, add_to_first, refuse_inline
from manycall.synth.answer_forms import AnswerForm, PatternForm, SchemaForm
from manycall.synth.step_base import endpoint_identity

DUPLICATE_REASON = "duplicates"
TextApi = Literal["chat", "completions"]
"""API of the call. With "completions" the prompt is sent as plain text, without a chat template."""
DEFAULT_REASK = 2
"""Default number of additional requests after an invalid answer."""


class PromptCall:
    """A prompt, the call that sends it, and the conversion of the answer to fields.

    Args:
        prompt, system: see `PromptTemplate`.
        output_field: the field for the text. The finish reason goes to `<output_field>_finish_reason`, and thinking
            text to `<output_field>_reasoning`; with a schema, `output_field` is its first property there.
        schema: JSON schema of the answer, whose properties become fields of the row.
        extract: regular expression; its first group becomes the text, or its named groups become fields.
        api: with "completions" the prompt is sent to /completions as plain text, without a chat template.
        params: request parameters in addition to those of the run.
        reask: number of additional requests after an invalid answer. A plain text is not asked for again.
        reasoning: where thinking text is written.
        counts: counts reasked answers, duplicate answers and calls without `response_format`.
        earlier_settings: returns the settings of earlier sessions, whose journaled answers may be read again.
        endpoint: name of the endpoint of the calls; "": the run's.

    Attributes:
        template: the prompt.
        form: the form of the answer; None if it is a text.
        may_split: a row may become several.
        thinking: the field for the thinking text.
        writes: fields that may be added to a row.
        finish_reason_field: the last field, which holds the finish reason; "" if it is not written.
        identity: settings that must be the same in a resumed run.
    """

    def __init__(
        self,
        prompt: PromptLike,
        *,
        system: str | None = None,
        output_field: str = "text",
        schema: SchemaLike | None = None,
        extract: str | None = None,
        api: TextApi = "chat",
        params: Mapping[str, Any] | None = None,
        reask: int = DEFAULT_REASK,
        reasoning: Reasoning = "separate",
        counts: ReaskCounts | None = None,
        earlier_settings: Callable[[], list[Fields]] = list,
        endpoint: str = "",
    ) -> None:
        _check(output_field, system, schema, extract, api)
        self.template = PromptTemplate(prompt, system)
        self._output_field, self._api, self._params = output_field, api, dict(params or {})
        self._endpoint = endpoint
        self._reask = check_reask(reask)
        if api == "completions":
            self._reask = 0  # a plain prompt cannot be continued with the reason
        self._counts = {} if counts is None else counts
        self._answers_seen = Duplicates()
        self.form: AnswerForm | None = None
        if schema is not None:
            source = self.template.source
            self.form = SchemaForm(
                schema, output_field, lambda: find_schemas(earlier_settings(), source), self._params, self._counts,
                endpoint=endpoint,
            )  # fmt: skip
        elif extract is not None:
            self.form = PatternForm(extract, output_field, self._params, is_chat=api == "chat", endpoint=endpoint)
        fields = (output_field,) if self.form is None else self.form.fields
        self.may_split = self.form is not None and self.form.may_split
        self.thinking = ReasoningField(fields[0], reasoning)
        if self.form is not None:
            refuse_inline(reasoning, "the answer is split into fields.")
        self.finish_reason_field = "" if schema is not None else f"{output_field}_finish_reason"
        self.writes = (*fields, *self.thinking.writes, *filter(None, [self.finish_reason_field]))
        self.identity = {
            "prompt": self.template.source,
            "system": self.template.system_text,
            "output_field": output_field,
            **({} if self.form is None else self.form.identity),
            **({"api": api} if api != "chat" else {}),
            **({"params": self._params} if self._params else {}),
            **endpoint_identity(endpoint, self._params),
        }

    def __repr__(self) -> str:
        return f"<PromptCall {self.template!r} for {', '.join(self.writes)}>"

    async def __call__(self, row: Row, llm: LLM) -> RowOutput:
        """Send the prompt for a row and return the fields of the output row, or those of each output row.

        Raises: see `answer`.
        """
        if self.form is not None:
            fields, reply = await self._ask(self.form, row, llm)
            result: RowOutput = add_to_first(fields, self.thinking.fields(reply))
            if self.finish_reason_field and isinstance(result, dict):
                result[self.finish_reason_field] = reply.finish_reason
            return result
        reply = await self._send(row, llm)
        if self._answers_seen.add(reply.text):
            self._count_duplicate()
        if not reply.reasoning:  # the usual case
            return {self._output_field: reply.text, self.finish_reason_field: reply.finish_reason}
        text, thought = self.thinking.text(reply), self.thinking.fields(reply)
        return {self._output_field: text, **thought, self.finish_reason_field: reply.finish_reason}

    async def answer(self, row: Row, llm: LLM) -> tuple[Any, Completion]:
        """Send the prompt for a row. Return the text, or the fields of an answer with a form, and the reply.

        Raises:
            PromptError: the template cannot be rendered for the row.
            AnswerInvalid: no answer had the form.
        """
        if isinstance(self.form, PatternForm) and self.form.is_text:
            fields, reply = await self._ask(self.form, row, llm)
            assert isinstance(fields, dict)
            return fields[self._output_field], reply
        if self.form is not None:
            return await self._ask(self.form, row, llm)
        reply = await self._send(row, llm)
        if self._answers_seen.add(reply.text):
            self._count_duplicate()
        return reply.text, reply

    def _send(self, row: Row, llm: LLM) -> Awaitable[Completion]:
        """Send the prompt without a form. Not a separate coroutine, because each costs about 1 µs per row."""
        messages = self.template.messages(row)
        if self._api == "completions":
            return llm.complete(messages[-1]["content"], endpoint=self._endpoint, **self._params)
        return llm.chat(messages, endpoint=self._endpoint, **self._params)

    async def _ask(self, form: AnswerForm, row: Row, llm: LLM) -> tuple[RowOutput, Completion]:
        """Send the prompt until an answer has the form. Return its fields, or those of each part; and the reply."""
        fields, reply = await ask_until_valid(
            self.template.messages(row), form.sender(llm), form.read, self._reask, self._counts
        )
        for each in fields if isinstance(fields, list) else [fields]:
            if self._answers_seen.add("\n".join(leaf_texts(each))):
                self._count_duplicate()
        return fields, reply

    def _count_duplicate(self) -> None:
        self._counts[DUPLICATE_REASON] = self._counts.get(DUPLICATE_REASON, 0) + 1


def _check(output_field: str, system: str | None, schema: SchemaLike | None, extract: str | None, api: TextApi) -> None:
    """Check that the arguments can be combined.

    Raises:
        UsageError: they cannot, or the name of the output field is reserved.
    """
    if output_field in ("", "id"):
        raise UsageError(f"The output field cannot be {output_field!r}. Choose another name.")
    if api == "completions" and (schema is not None or system is not None):
        raise UsageError(
            f"{option('api', 'completions')} sends plain text and cannot be combined with "
            f"{option('schema')} or {option('system')}."
        )
    if schema is not None and extract is not None:
        raise UsageError(f"{option('schema')} and {option('extract')} cannot be combined: choose one form of answer.")


def find_schemas(settings: Any, prompt: Any) -> Iterator[dict[str, Any]]:
    """Yield each schema that was sent with a prompt, according to the settings of a run: of the job or of a step."""
    if isinstance(settings, dict):
        if settings.get("prompt") == prompt and isinstance(settings.get("schema"), dict):
            yield settings["schema"]
        settings = list(settings.values())
    if isinstance(settings, list):
        for each in settings:
            yield from find_schemas(each, prompt)


def check_reask(reask: int) -> int:
    """Return the number of additional requests after an invalid answer.

    Raises:
        UsageError: it is negative.
    """
    if reask < 0:
        raise UsageError(f"{option('reask')} must be at least 0, not {reask}.")
    return reask
