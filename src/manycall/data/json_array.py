"""Read a long JSON array one item at a time."""

import json
import re
from typing import Any, TextIO

import msgspec

CHUNK_CHARACTERS = 1 << 20
"""How much text is read at a time."""
_NOT_SPACE = re.compile(r"\S")


class JsonArrayReader:
    """Reads the JSON values of a file one at a time, in chunks of text."""

    def __init__(self, file: TextIO) -> None:
        self._file, self._text, self._at = file, "", 0
        self._end = json.JSONDecoder(parse_float=str, parse_int=str).raw_decode
        self.line_number = 1

    def _more(self) -> bool:
        rest = self._text[self._at :]
        chunk = self._file.read(max(CHUNK_CHARACTERS, len(rest)))  # doubling keeps the cost of a long value linear
        self._text, self._at = rest + chunk, 0
        return bool(chunk)

    def _go_to(self, at: int) -> None:
        self.line_number += self._text.count("\n", self._at, at)
        self._at = at

    def peek(self) -> str:
        """Return the next character that is not white space, without consuming it; "" at the end."""
        while True:
            if found := _NOT_SPACE.search(self._text, self._at):
                self._go_to(found.start())
                return found.group()
            self._go_to(len(self._text))
            if not self._more():
                return ""

    def next_char(self) -> str:
        """Consume and return the next character that is not white space; "" at the end."""
        mark = self.peek()
        self._go_to(self._at + len(mark))
        return mark

    def value(self) -> tuple[Any, str]:
        """Consume and return the next JSON value and its text.

        Python's json module finds the end of the value; msgspec decodes it, as it decodes JSON lines.
        """
        self.peek()
        while True:
            try:
                _, end = self._end(self._text, self._at)
            except json.JSONDecodeError as error:
                if not self._is_cut_off(error) or not self._more():
                    raise
                continue
            if end == len(self._text) and self._more():
                continue  # a number may continue in the next chunk
            text = self._text[self._at : end]
            value = msgspec.json.decode(text)
            self._go_to(end)
            return value, text

    def _is_cut_off(self, error: json.JSONDecodeError) -> bool:
        """Return whether more text may fix the error: it is near the end of the text (an escape has fewer than 16
        characters), or in an unterminated string."""
        return len(self._text) - error.pos < 16 or error.msg.startswith("Unterminated")
