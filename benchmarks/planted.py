"""Plant duplicates and benchmark text among random texts, and measure recall and precision of `check_data`.

python benchmarks/planted.py [rows]

Recall is the share of planted rows that are found. Precision is the share of found rows that were planted. Near misses
are planted as well: texts that share half of their words with another, and benchmark text that is one word too short.
"""

import json
import random
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from manycall import check_data
from manycall.dataset.contamination import DEFAULT_NGRAM_SIZE

SYLLABLES = [f"{a}{b}{c}" for a in "bdfklmnprst" for b in "aeiou" for c in ("", "n", "s")]
VOCABULARY = [first + last for first in SYLLABLES for last in SYLLABLES]
LENGTH = 200
EDITED = 4
"""Number of words, out of 200, that are changed in a near duplicate. The Jaccard similarity of the word 5-grams is then
0.81."""
NEAR = 0.7


def text(rng: random.Random, length: int = LENGTH) -> list[str]:
    return rng.choices(VOCABULARY, k=length)


def disguised(rng: random.Random, words: list[str]) -> str:
    """Return the same words with other case, punctuation and spacing."""
    cases: list[Callable[[str], str]] = [str.lower, str.upper, str.title]
    return "".join(rng.choice(cases)(word) + rng.choice([" ", "  ", ", ", ". ", "\n"]) for word in words)


def edited(rng: random.Random, words: list[str], count: int) -> list[str]:
    places = set(rng.sample(range(LENGTH), count))
    return [rng.choice(VOCABULARY) if at in places else word for at, word in enumerate(words)]


def planted(rng: random.Random, rows: int, items: list[list[str]], edits: int) -> Iterator[tuple[str, str]]:
    """Yield (kind, text). One row in fifty is of each planted kind, the others are random."""
    past: list[list[str]] = []
    for number in range(rows):
        words, kind = text(rng), number % 50 if number >= 50 else 49
        item, at = rng.choice(items), rng.randrange(LENGTH)
        start = rng.randrange(len(item) - DEFAULT_NGRAM_SIZE)
        if kind == 0:
            yield "duplicate", disguised(rng, rng.choice(past))
        elif kind == 1:
            yield "near", disguised(rng, edited(rng, rng.choice(past), edits))
        elif kind == 2:
            piece = item[start : start + DEFAULT_NGRAM_SIZE]
            yield "contaminated", disguised(rng, words[:at] + piece + words[at:])
        elif kind == 3:
            yield "half of another", " ".join(rng.choice(past)[: LENGTH // 2] + words[LENGTH // 2 :])
        elif kind == 4:
            yield "too short a piece", " ".join(words[:at] + item[start : start + DEFAULT_NGRAM_SIZE - 1] + words[at:])
        else:
            past.append(words)
            yield "plain", " ".join(words)


def found(folder: Path, rows: int, edits: int = EDITED) -> dict[str, tuple[float, float, int]]:
    """Return for each kind (recall, precision, number of planted rows)."""
    rng = random.Random(0)
    items = [text(rng, 40) for _ in range(1000)]
    write(folder / "bench.jsonl", [{"question": disguised(rng, item)} for item in items])
    kinds = list(planted(rng, rows, items, edits))
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
    print("| planted | rows | recall | precision |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for edits in (EDITED, 2, 6, 8, 10):
            for name, (recall, precision, many) in found(Path(folder), count, edits).items():
                if name.startswith("near"):
                    name += f", {edits} of {LENGTH} words changed"
                elif edits != EDITED:
                    continue
                print(f"| {name} | {many} | {recall:.3f} | {precision:.3f} |")
