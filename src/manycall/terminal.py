"""Remove control characters and escape sequences from text of models, servers and files before it is displayed.

An escape sequence can change the window title, write to the clipboard (OSC 52), make the terminal send input (DECRQSS)
or overwrite the lines above. A bidi override displays text in another order. Only displayed text is sanitized; text
written to files is data and stays unchanged.
"""

import re
import unicodedata

# As in ECMA-48: strings (DCS, SOS, OSC, PM, APC) up to their terminator or the end of the line, control sequences,
# two-character escapes. C1 controls are the same in one character.
_SEQUENCE = re.compile(
    r"(?:\x1b[PX\]^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c)?"
    r"|(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"
    r"|\x1b[ -/]*[0-~]?"
)
# C0 except tab and newline, DEL, C1; invisible characters, and those that change the text direction. The joiners U+200C
# and U+200D stay, because emoji and Persian words need them.
_CONTROL = r"\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
_INVISIBLE = re.compile(f"[{_CONTROL}]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_IN_JSON = re.compile(f"[{_CONTROL}\\ud800-\\udfff]")


def sanitize(text: str) -> str:
    """Return the text without control characters, escape sequences and bidi overrides. Tabs and newlines stay."""
    return _SURROGATE.sub("\ufffd", _INVISIBLE.sub("", _SEQUENCE.sub("", text)))


def sanitize_line(text: str) -> str:
    """Return the sanitized text in one line, with each run of whitespace replaced by a space."""
    return " ".join(sanitize(text).split())


def escape_json_controls(text: str) -> str:
    """Return the same JSON with control and invisible characters escaped."""
    return _IN_JSON.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def display_width(text: str) -> int:
    """Return the number of terminal columns of a sanitized line. Chinese characters and most emoji take two."""
    if text.isascii():
        return len(text)
    return sum(_columns(character) for character in text)


def pad_to_width(text: str, width: int) -> str:
    """Return the line, filled with spaces to `width` terminal columns."""
    return text + " " * (width - display_width(text))


def cut_to_width(text: str, width: int) -> str:
    """Return the line, cut at the end to at most `width` terminal columns, with "…" in place of what is missing."""
    if display_width(text) <= width:
        return text
    end, columns = 0, 1  # of the ellipsis
    while (columns := columns + _columns(text[end])) <= width:
        end += 1
    return text[:end] + "…" if width > 0 else ""


def _columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
