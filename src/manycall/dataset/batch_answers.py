"""Read the prompt and the answer of a line in a batch output."""

from functools import cached_property
from pathlib import Path

import msgspec

from manycall.errors import UsageError
from manycall.option_flags import option
from manycall.records import Fields, Messages
from manycall.store.jsonl import decode_lines
from manycall.store.offset_index import OffsetIndex
from manycall.store.output_reader import OutputReader


class _RequestId(msgspec.Struct):
    custom_id: str


class BatchAnswerReader:
    """Reader for batch outputs: the answer from the output line, the prompt from the file of requests.

    The index of the requests takes 14 bytes per request.
    """

    name = "the reply"

    def __init__(self, output: OutputReader) -> None:
        self._output = output
        self._requests = Path(output.require_manifest().source["input"])

    def __repr__(self) -> str:
        return f"<BatchAnswerReader {self._output.path.name}>"

    def answer(self, row: Fields) -> str:
        """Return the text of the answer.

        Raises:
            UsageError: The row has no answer text.
        """
        match row:
            case {"error": None, "response": {"body": {"choices": [{"message": {"content": str(text)}}, *_]}}}:
                return text
            case {"error": None, "response": {"body": {"choices": [{"text": str(text)}, *_]}}}:
                return text
        failed = self._output.folder / "failures.jsonl"
        raise UsageError(
            f"Row {row['id']!r} has no answer text. To exclude failed rows: {option('exclude', str(failed))}."
        )

    def must_be_text(self, row: Fields) -> None:
        """Check that the answer is a single text.

        Raises:
            UsageError: The answer has several choices or tool calls.
        """
        match row:
            case {"response": {"body": {"choices": [_, _, *_]}}}:
                raise UsageError(f"Row {row['id']!r} has several answers (n > 1). Use {option('format', 'rows')}.")
            case {"response": {"body": {"choices": [{"message": {"tool_calls": [_, *_]}}]}}}:
                raise UsageError(f"Row {row['id']!r} has tool calls. Use {option('format', 'rows')}.")

    def prompt_messages(self, row: Fields) -> Messages:
        """Return the messages of the row's request.

        Raises:
            UsageError: The request is no longer in the file, or is not a chat request.
        """
        offset = self._request_offsets.get(self._output.split_sample_id(str(row["id"]))[0])
        if offset is None:
            raise UsageError(f"Row {row['id']!r} has no request in {self._requests}, so its prompt is not known.")
        with self._requests.open("rb") as file:
            file.seek(offset)
            messages = msgspec.json.decode(file.readline())["body"].get("messages")
        if not isinstance(messages, list):
            raise UsageError(f"Row {row['id']!r} is not an answer to a chat request.")
        return messages

    @cached_property
    def _request_offsets(self) -> OffsetIndex:
        if not self._requests.is_file():
            raise UsageError(f"{self._requests}, the file of requests that holds the prompts, no longer exists.")
        offsets = OffsetIndex()
        for offset, _, request in decode_lines(self._requests, msgspec.json.Decoder(_RequestId).decode):
            offsets.add(request.custom_id, offset)
        return offsets
