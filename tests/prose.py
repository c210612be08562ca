"""Check the wording of docs, docstrings, comments, messages and names: `python tests/prose.py [FILE ...]`.

Reports file, line, the words found and what to write instead, and fails above a limit per 1,000 words. The list is
tests/prose_words.toml. A pattern cannot judge a sentence: a line with `prose: ok` in a comment is not checked, and
the phrases in `allow` never count.
"""

import io
import re
import sys
import tokenize
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
ALLOWED_LINE = "prose: ok"
MIN_SPACES_OF_A_SENTENCE = 3
"""Spaces in a string, other than a docstring, that is read as prose. Shorter strings are names, keys and patterns."""
DEFINITION = re.compile(r"\s*(?:async )?(?:def|class) (\w+)")
NOT_PROSE = re.compile(r"`[^`]*`|\]\([^)]*\)|<[^>]*>|\w+://\S+|\b\w+\.(?:py|md|toml|jsonl?)\b")
"""Parts of a line that are not prose: code, targets of links, tags, URLs, names of files."""


class Rule(NamedTuple):
    """Words to avoid, and what to write instead."""

    pattern: re.Pattern[str]
    use: str


class WordList(NamedTuple):
    """The content of prose_words.toml."""

    rules: list[Rule]
    allowed_phrases: re.Pattern[str]
    limit: float
    folders: list[str]
    names_only: tuple[str, ...]
    skipped: tuple[str, ...]


class Finding(NamedTuple):
    """Words to avoid, in one line of one file."""

    line: int
    words: str
    use: str


def load(path: Path) -> WordList:
    """Read the word list."""
    content = tomllib.loads(path.read_text(encoding="utf-8"))
    rules = [Rule(re.compile(rf"\b(?:{each['pattern']})\b", re.I), each["use"]) for each in content["word"]]
    phrases = "|".join(map(re.escape, content["allow"]))
    allowed = re.compile(rf"\b(?:{phrases})\b", re.I)
    names_only, skipped = tuple(content["names_only"]), tuple(content["skip"])
    return WordList(rules, allowed, content["limit"], content["folders"], names_only, skipped)


def names(text: str) -> Iterator[tuple[int, str]]:
    """Yield the names of functions and classes, as words."""
    for number, line in enumerate(text.splitlines(), 1):
        if match := DEFINITION.match(line):
            yield number, match[1].replace("_", " ")


def python_prose(text: str) -> Iterator[tuple[int, str]]:
    """Yield the names of functions and classes, the comments, and the strings that contain sentences."""
    yield from names(text)
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string.lstrip("# ")
        elif token.type in {tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}:
            spaces = 0 if '"""' in token.string else MIN_SPACES_OF_A_SENTENCE
            for number, line in enumerate(token.string.splitlines(), token.start[0]):
                if line.strip().count(" ") >= spaces:
                    yield number, re.sub(r"^[rfb]*[\"']+", "", line.strip())


def markdown_prose(text: str) -> Iterator[tuple[int, str]]:
    """Yield the lines outside of code blocks, and the comments within them."""
    is_code = False
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("```"):
            is_code = not is_code
        elif not is_code:
            yield number, line
        elif match := re.search(r"(?:^|\s)# (.*)", line):
            yield number, match[1]


def comments(text: str) -> Iterator[tuple[int, str]]:
    """Yield the comments of a file in which # starts a comment."""
    for number, line in enumerate(text.splitlines(), 1):
        if match := re.search(r"(?:^|\s)# (.*)", line):
            yield number, match[1]


READERS = {
    ".py": python_prose,
    ".md": markdown_prose,
    ".j2": markdown_prose,
    ".toml": comments,
    ".yml": comments,
    ".yaml": comments,
    "": comments,  # Makefile
}


def findings(path: Path, words: WordList) -> tuple[list[Finding], int]:
    """Return what was found in a file, and how many words of prose it has."""
    text = path.read_text(encoding="utf-8")
    allowed_lines = {number for number, line in enumerate(text.splitlines(), 1) if ALLOWED_LINE in line}
    found, count = [], 0
    is_names_only = path.relative_to(ROOT).as_posix().startswith(words.names_only)
    for number, line in (names if is_names_only else READERS[path.suffix])(text):
        if number in allowed_lines:
            continue
        prose = words.allowed_phrases.sub("…", NOT_PROSE.sub("…", line))
        count += len(prose.split())
        found += [Finding(number, match[0], rule.use) for rule in words.rules for match in rule.pattern.finditer(prose)]
    return found, count


def project_files(words: WordList) -> list[Path]:
    """Return the files of the project that contain prose in English."""
    folders = [path for folder in words.folders for path in (ROOT / folder).rglob("*") if path.suffix in READERS]
    files = [*ROOT.glob("*.md"), *ROOT.glob("*.py"), *ROOT.glob("*.toml"), *ROOT.glob("*.yml"), ROOT / "Makefile"]
    return [
        path
        for path in sorted([*files, *folders])
        if path.is_file()
        and not path.name.endswith(".zh-CN.md")
        and not path.relative_to(ROOT).as_posix().startswith(words.skipped)
    ]


def main(names: list[str]) -> int:
    """Print the findings, and return 1 if there are more than the limit allows."""
    words = load(Path(__file__).with_name("prose_words.toml"))
    total = count = 0
    for path in [Path(name).resolve() for name in names] or project_files(words):
        found, length = findings(path, words)
        for each in sorted(found):
            print(f"{path.relative_to(ROOT)}:{each.line}: {each.words!r}: write {each.use}")
        total, count = total + len(found), count + length
    rate = 1000 * total / max(count, 1)
    print(f"{total} findings in {count:,} words: {rate:.2f} per 1,000 words; the limit is {words.limit:g}")
    return int(rate > words.limit)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
