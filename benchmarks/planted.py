"""Plant duplicates and benchmark text among random texts, and measure recall and precision of `check_data`.

python benchmarks/planted.py [rows] [english|chinese]

Recall is the share of planted rows that are found. Precision is the share of found rows that were planted. Near misses
are planted as well: texts that share half of their words with another, and benchmark text that is one word, or one
Chinese character, too short.
"""

import json
import random
import sys
import tempfile
from collections.abc import Callable, Iterator
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

from manycall import check_data
from manycall.dataset.contamination import CHARACTERS, DEFAULT_NGRAM_SIZE

SYLLABLES = [f"{a}{b}{c}" for a in "bdfklmnprst" for b in "aeiou" for c in ("", "n", "s")]
LENGTH = 200
EDITED = 4
"""Number of words, out of 200, that are changed in a near duplicate. In English, the Jaccard similarity of the word
5-grams is then 0.81."""
NEAR = 0.7
BOUNDARY = "龥"
"""A word of no text, so that the words next to a piece that is too short do not make it long enough by chance."""


def chinese_words(count: int) -> list[str]:
    """Return words of 1 to 3 characters, 1.65 on average as in the corpora that docs/check-data.md names."""
    rng = random.Random(7)
    characters = [chr(code) for code in range(0x4E00, 0x4E00 + 3000)]
    lengths = rng.choices((1, 2, 3), weights=(45, 45, 10), k=count)
    return ["".join(rng.choices(characters, k=length)) for length in lengths]


class Language(NamedTuple):
    """How random texts of a language are made.

    Attributes:
        words: The vocabulary.
        weights: Cumulative weights of the words; None if all are equally frequent.
        cases: How a word may be written without becoming another one.
        separators: Possible separators of two words in a disguised text.
        plain: The separator of two words in an undisguised text.
    """

    words: list[str]
    weights: list[float] | None
    cases: list[Callable[[str], str]]
    separators: list[str]
    plain: str

    def text(self, rng: random.Random, length: int = LENGTH) -> list[str]:
        return rng.choices(self.words, cum_weights=self.weights, k=length)

    def disguised(self, rng: random.Random, words: list[str]) -> str:
        """Return the same words with other case, punctuation and spacing."""
        return "".join(rng.choice(self.cases)(word) + rng.choice(self.separators) for word in words)


LANGUAGES = {
    "english": Language(
        [first + last for first in SYLLABLES for last in SYLLABLES], None, [str.lower, str.upper, str.title],
        [" ", "  ", ", ", ". ", "\n"], " ",
    ),
    "chinese": Language(
        chinese_words(20_000), list(accumulate(1 / rank for rank in range(1, 20_001))), [str],
        ["", "", "", "，", "。", "、", " ", "\u3000", "\n", "……"], "",
    ),
}  # fmt: skip
"""In Chinese, the frequency of a word is inversely proportional to its rank, so that some phrases are in many texts."""


def edited(language: Language, rng: random.Random, words: list[str], count: int) -> list[str]:
    places = set(rng.sample(range(LENGTH), count))
    return [rng.choice(language.words) if at in places else word for at, word in enumerate(words)]


def benchmark_piece(language: Language, rng: random.Random, item: list[str], *, is_too_short: bool) -> list[str]:
    """Return 13 consecutive words or 30 consecutive characters of an item, or one less between other words."""
    parts = item if language.plain else [*"".join(item)]
    length = (DEFAULT_NGRAM_SIZE if language.plain else CHARACTERS) - is_too_short
    start = rng.randrange(len(parts) - length)
    piece = parts[start : start + length]
    return [BOUNDARY, *piece, BOUNDARY] if is_too_short else piece


def planted(
    language: Language, rng: random.Random, rows: int, items: list[list[str]], edits: int
) -> Iterator[tuple[str, str]]:
    """Yield (kind, text). One row in fifty is of each planted kind, the others are random."""
    past: list[list[str]] = []
    for number in range(rows):
        words, kind = language.text(rng), number % 50 if number >= 50 else 49
        item, at = rng.choice(items), rng.randrange(LENGTH)
        if kind == 0:
            yield "duplicate", language.disguised(rng, rng.choice(past))
        elif kind == 1:
            yield "near", language.disguised(rng, edited(language, rng, rng.choice(past), edits))
        elif kind == 2:
            piece = benchmark_piece(language, rng, item, is_too_short=False)
            yield "contaminated", language.disguised(rng, words[:at] + piece + words[at:])
        elif kind == 3:
            yield "half of another", language.plain.join(rng.choice(past)[: LENGTH // 2] + words[LENGTH // 2 :])
        elif kind == 4:
            piece = benchmark_piece(language, rng, item, is_too_short=True)
            yield "too short a piece", language.plain.join(words[:at] + piece + words[at:])
        else:
            past.append(words)
            yield "plain", language.plain.join(words)


def found(
    folder: Path, rows: int, edits: int = EDITED, language_name: str = "english"
) -> dict[str, tuple[float, float, int]]:
    """Return for each kind (recall, precision, number of planted rows)."""
    rng, language = random.Random(0), LANGUAGES[language_name]
    items = [language.text(rng, 40) for _ in range(1000)]
    write(folder / "bench.jsonl", [{"question": language.disguised(rng, item)} for item in items])
    kinds = list(planted(language, rng, rows, items, edits))
    write(folder / "rows.jsonl", [{"id": n, "text": each} for n, (_, each) in enumerate(kinds)])
    flagged = folder / "flagged.jsonl"
    check_data(folder / "rows.jsonl", near_duplicates=NEAR, benchmarks=[folder / "bench.jsonl"], flagged=flagged)
    found_ids: dict[str, set[int]] = {}
    for line in flagged.read_text().splitlines():
        row = json.loads(line)
        for reason in row["reason"].split("; "):
            found_ids.setdefault(reason.partition(":")[0], set()).add(row["id"])
    results = {}
    for kind, name in {"duplicate": "duplicate", "near": "near duplicate", "contaminated": "contaminated"}.items():
        truth = {n for n, (each, _) in enumerate(kinds) if each == kind}
        hits = found_ids.get(name, set())
        results[name] = (len(hits & truth) / len(truth), len(hits & truth) / max(1, len(hits)), len(truth))
    return results


def write(path: Path, rows: list[dict[str, object]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    chosen = sys.argv[2] if len(sys.argv) > 2 else "english"
    print(f"| planted, {chosen} | rows | recall | precision |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for edits in (EDITED, 2, 6, 8, 10, 14):
            for name, (recall, precision, many) in found(Path(folder), count, edits, chosen).items():
                if name.startswith("near"):
                    name += f", {edits} of {LENGTH} words changed"
                elif edits != EDITED:
                    continue
                print(f"| {name} | {many} | {recall:.3f} | {precision:.3f} |")
