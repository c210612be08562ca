"""Read the prompt and the answer of a line in a batch output."""

from functools import cached_property
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import msgspec

from manycall.data.row_files import read_rows
from manycall.errors import UsageError
from manycall.option_flags import option
from manycall.records import Fields, Messages
from manycall.store.offset_index import OffsetIndex
from manycall.store.output_reader import OutputReader


class _RequestMessages:
    """The messages of the requests in a file, as lines of a temporary file, with an index of their offsets.

    The file of requests may have any format that can be run.
    """

    def __init__(self, requests: Path) -> None:
        self._file, self._offsets, end = TemporaryFile(), OffsetIndex(), 0  # noqa: SIM115 (closed below)
        for _, request in read_rows(requests):
            self._offsets.add(str(request.get("custom_id")), end)
            body = request.get("body")
            end += self._file.write(
                msgspec.json.encode(body.get("messages") if isinstance(body, dict) else None) + b"\n"
            )

    def __del__(self) -> None:
        self._file.close()

    def get(self, name: str) -> Any:
        """Return the messages of a request.

        Raises:
            KeyError: There is no request with this id.
        """
        offset = self._offsets.get(name)
        if offset is None:
            raise KeyError(name)
        self._file.seek(offset)
        return msgspec.json.decode(self._file.readline())


class BatchAnswerReader:
    """Reader for batch outputs: the answer from the output line, the prompt from the file of requests.

    The index of the requests takes 14 bytes per request. Their messages are copied to a temporary file.
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
        try:
            messages = self._messages.get(self._output.split_sample_id(str(row["id"]))[0])
        except KeyError:
            problem = f"Row {row['id']!r} has no request in {self._requests}, so its prompt is not known."
            raise UsageError(problem) from None
        if not isinstance(messages, list):
            raise UsageError(f"Row {row['id']!r} is not an answer to a chat request.")
        return messages

    @cached_property
    def _messages(self) -> _RequestMessages:
        if not self._requests.is_file():
            raise UsageError(f"{self._requests}, the file of requests that holds the prompts, no longer exists.")
        return _RequestMessages(self._requests)
