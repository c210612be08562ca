"""The messages of a row: a prompt, or the conversation in one of its fields; with the images in other fields."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from manycall.data.content_parts import image_part
from manycall.data.conversations import SYSTEM_ROLES, messages_to_answer
from manycall.data.images import images_in, load_images, put_images_first
from manycall.data.prompt_error import PromptError, field_of_row
from manycall.data.prompt_template import PromptLike, PromptTemplate
from manycall.errors import UsageError
from manycall.option_flags import option
from manycall.records import Fields, Messages, Row


class ConversationField:
    """The conversation in a field of each row: messages in OpenAI's form, or turns in ShareGPT's.

    Args:
        field: the field.
        system: a template for a system message in front of it. A conversation with its own system message is refused.
    """

    source = None
    is_constant = False

    def __init__(self, field: str, system: str | None = None) -> None:
        self.field = field
        self._system = None if system is None else PromptTemplate(system)

    def __repr__(self) -> str:
        return f"<ConversationField {self.field}>"

    @property
    def required_fields(self) -> set[str]:
        """Fields that every row must have."""
        return {self.field, *(set() if self._system is None else self._system.required_fields)}

    @property
    def system_text(self) -> str | None:
        """The template of the system message; None if there is none."""
        return None if self._system is None else self._system.text

    def messages(self, row: Row) -> Messages:
        """Return the messages for one row.

        Raises:
            PromptError: the row has no conversation that a model can answer.
        """
        try:
            messages = messages_to_answer(field_of_row(row, self.field))
        except ValueError as problem:
            raise PromptError(f"The field {self.field!r} {problem}") from None
        if self._system is None:
            return messages
        if any(message["role"] in SYSTEM_ROLES for message in messages):
            raise PromptError(f"The field {self.field!r} already has a system message. Omit {option('system')}.")
        return [{"role": "system", "content": self._system.messages(row)[0]["content"]}, *messages]


class RowPrompt:
    """The messages that are sent for a row.

    Args:
        prompt, system: see `PromptTemplate`.
        messages: the field with the conversation, instead of a prompt.
        images: fields with images, which are put before the text of the last user message.
        folder: paths of images that are not absolute begin here.

    Attributes:
        template: the prompt or the conversation.
        has_images: the messages may have images, which `load` loads.

    Raises:
        UsageError: neither a prompt nor a field with messages is given, or both are; or the prompt is not valid.
    """

    def __init__(
        self,
        prompt: PromptLike | None,
        *,
        messages: str | None = None,
        system: str | None = None,
        images: Sequence[str] = (),
        folder: Path | None = None,
    ) -> None:
        if isinstance(images, str):
            images = [images]
        self.template: PromptTemplate | ConversationField
        if messages is not None:
            if prompt is not None:
                raise UsageError(f"{option('prompt')} and {option('messages')} cannot be combined: choose one of them.")
            self.template = ConversationField(messages, system)
        elif prompt is not None:
            self.template = PromptTemplate(prompt, system)
        else:
            raise UsageError(f"Nothing to send. Pass {option('prompt')}, or {option('messages')} for conversations.")
        self._images, self._folder = tuple(images), Path() if folder is None else folder
        self.has_images = bool(images) or (isinstance(self.template, PromptTemplate) and self.template.may_have_images)

    def __repr__(self) -> str:
        return f"<RowPrompt {self.template!r}>"

    @property
    def source_identity(self) -> Fields:
        """The settings that identify the prompt, without the system prompt."""
        if isinstance(self.template, ConversationField):
            return {"messages": self.template.field}
        return {"prompt": self.template.source}

    @property
    def identity(self) -> Fields:
        """The settings that must be the same in a resumed run."""
        images = {"images": list(self._images)} if self._images else {}
        return {**self.source_identity, "system": self.template.system_text, **images}

    @property
    def text(self) -> str:
        """The prompt as one text, for display."""
        template = self.template
        return template.text if isinstance(template, PromptTemplate) else f"the messages in {template.field}"

    @property
    def system_text(self) -> str | None:
        """The template of the system message; None if there is none."""
        return self.template.system_text

    @property
    def is_constant(self) -> bool:
        """Whether nothing of the row is sent."""
        return not self._images and isinstance(self.template, PromptTemplate) and self.template.is_constant

    @property
    def is_plain_text(self) -> bool:
        """Whether the prompt may be sent without a chat template: there is no system message and no image field."""
        template = self.template
        return isinstance(template, PromptTemplate) and template.system_text is None and not self._images

    @property
    def required_fields(self) -> set[str]:
        """Fields that every row must have."""
        return {*self.template.required_fields, *self._images}

    @property
    def referenced_fields(self) -> set[str]:
        """Fields that are sent, as far as they are known."""
        template = self.template
        return {
            *(template.required_fields if isinstance(template, ConversationField) else template.referenced_fields),
            *self._images,
        }

    def messages(self, row: Row) -> Messages:
        """Return the messages of a row. Images are not loaded yet.

        Raises:
            PromptError: the prompt does not fit the row.
        """
        messages = self.template.messages(row)
        if not self._images:
            return messages
        parts = [
            image_part(image)
            for name in self._images
            for image in images_in(field_of_row(row, name), f"The field {name!r}")
        ]
        return put_images_first(messages, parts)

    def load(self, row: Row) -> Messages:
        """Return the messages of a row with its images.

        Raises:
            PromptError: as `messages`; or an image cannot be loaded.
        """
        if not self.has_images:
            return self.template.messages(row)
        return load_images(self.messages(row), self._folder)

    def check_row(self, fields: Fields) -> Any:
        """Check the conversation of a row of the input, before any call.

        Raises:
            PromptError: it cannot be sent.
        """
        return self.messages(Row("", fields))
