"""An OpenAI Batch file and its replies, as questions and answers."""

from functools import cached_property
from pathlib import Path

import msgspec

from manycall.errors import UsageError
from manycall.records import Fields, Messages
from manycall.store.output import Output
from manycall.store.reading import parsed
from manycall.synth.order import Places


class _Name(msgspec.Struct):
    custom_id: str


class Batched:
    """Reads both: the reply from the output's line, the question from the file of requests, 14 bytes a request."""

    name = "the reply"

    def __init__(self, output: Output) -> None:
        self._output = output
        self._requests = Path(output.made_by().source["rows"])

    def __repr__(self) -> str:
        return f"<Batched {self._output.path.name}>"

    def of(self, row: Fields) -> str:
        """The text that was answered.

        Raises:
            UsageError: there is none.
        """
        match row:
            case {"error": None, "response": {"body": {"choices": [{"message": {"content": str(text)}}, *_]}}}:
                return text
            case {"error": None, "response": {"body": {"choices": [{"text": str(text)}, *_]}}}:
                return text
        failed = self._output.folder / "failures.jsonl"
        raise UsageError(
            f"row {row['id']!r} has no text for an answer; --without {failed} leaves out those that failed"
        )

    def must_be_text(self, row: Fields) -> None:
        """Check that the text is the whole answer.

        Raises:
            UsageError: there are several choices, or tool calls.
        """
        match row:
            case {"response": {"body": {"choices": [_, _, *_]}}}:
                raise UsageError(f"row {row['id']!r} has several answers (n > 1), which only --as rows can hold")
            case {"response": {"body": {"choices": [{"message": {"tool_calls": [_, *_]}}]}}}:
                raise UsageError(f"row {row['id']!r} answers with tool calls, which only --as rows can hold")

    def asked(self, row: Fields) -> Messages:
        """The messages of its request.

        Raises:
            UsageError: it is in the file no more, or was no chat.
        """
        at = self._places.look(self._output.split(str(row["id"]))[0])
        if at is None:
            raise UsageError(f"row {row['id']!r} is not in {self._requests}, which should say what was asked")
        with self._requests.open("rb") as file:
            file.seek(at)
            messages = msgspec.json.decode(file.readline())["body"].get("messages")
        if not isinstance(messages, list):
            raise UsageError(f"row {row['id']!r} was asked without a chat")
        return messages

    @cached_property
    def _places(self) -> Places:
        if not self._requests.is_file():
            raise UsageError(f"{self._requests}, which says what was asked, is not there any more")
        places = Places()
        for at, _, request in parsed(self._requests, msgspec.json.Decoder(_Name).decode):
            places.put(request.custom_id, at)
        return places
