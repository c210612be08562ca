"""Text for a screen: what models, servers and files say must not give orders to the terminal that shows it.

An escape sequence can retitle the window, write to the clipboard (OSC 52), make the terminal type (DECRQSS) or
overwrite the lines above; a bidi override lets a sentence read otherwise than it stands. Only what is shown goes
through here. What is written to files is data, and stays as it came.
"""

import re

# As ECMA-48 has them: strings (DCS, SOS, OSC, PM, APC) to their end or to that of the line, control sequences,
# two-character escapes. C1 controls are the same in one character.
_SEQUENCE = re.compile(
    r"(?:\x1b[PX\]^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c)?"
    r"|(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"
    r"|\x1b[ -/]*[0-~]?"
)
# C0 but tab and newline, DEL, C1; what shows nothing, or turns the direction around. The joiners U+200C and U+200D
# stay, of which emoji and Persian words are made.
_CONTROL = r"\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
_UNSEEN = re.compile(f"[{_CONTROL}]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_IN_JSON = re.compile(f"[{_CONTROL}\\ud800-\\udfff]")


def plain(text: str) -> str:
    """The text without control characters, escape sequences and bidi overrides; tabs and newlines stay."""
    return _SURROGATE.sub("\ufffd", _UNSEEN.sub("", _SEQUENCE.sub("", text)))


def plain_line(text: str) -> str:
    """The same in one line."""
    return " ".join(plain(text).split())


def plain_json(text: str) -> str:
    """JSON that says the same, with these characters escaped."""
    return _IN_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
