"""Plants duplicates and pieces of a benchmark among random texts, and says how many of them `quality` finds.

python benchmarks/planted.py [rows]

Recall: the share of what was planted that is found; precision: the share of what is found that was planted. Near misses
are planted too: texts half of which are another's, and pieces of a benchmark that are one word too short.
"""

import json
import random
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from manycall import quality
from manycall.synth.contamination import WORDS

SYLLABLES = [f"{a}{b}{c}" for a in "bdfklmnprst" for b in "aeiou" for c in ("", "n", "s")]
VOCABULARY = [first + last for first in SYLLABLES for last in SYLLABLES]
LENGTH = 200
EDITED = 4
"""Words of a near duplicate that are other ones, of 200; so of the five-word pieces of both, 0.81 are in both."""
NEAR = 0.7


def text(rng: random.Random, length: int = LENGTH) -> list[str]:
    return rng.choices(VOCABULARY, k=length)


def disguised(rng: random.Random, words: list[str]) -> str:
    """The same words in another case, with other signs and spaces between them."""
    cases: list[Callable[[str], str]] = [str.lower, str.upper, str.title]
    return "".join(rng.choice(cases)(word) + rng.choice([" ", "  ", ", ", ". ", "\n"]) for word in words)


def edited(rng: random.Random, words: list[str], count: int) -> list[str]:
    places = set(rng.sample(range(LENGTH), count))
    return [rng.choice(VOCABULARY) if at in places else word for at, word in enumerate(words)]


def planted(rng: random.Random, rows: int, items: list[list[str]], edits: int) -> Iterator[tuple[str, str]]:
    """(kind, text): of each kind one row in fifty; the others are random."""
    past: list[list[str]] = []
    for number in range(rows):
        words, kind = text(rng), number % 50 if number >= 50 else 49
        item, at = rng.choice(items), rng.randrange(LENGTH)
        start = rng.randrange(len(item) - WORDS)
        if kind == 0:
            yield "duplicate", disguised(rng, rng.choice(past))
        elif kind == 1:
            yield "near", disguised(rng, edited(rng, rng.choice(past), edits))
        elif kind == 2:
            piece = item[start : start + WORDS]
            yield "contaminated", disguised(rng, words[:at] + piece + words[at:])
        elif kind == 3:
            yield "half of another", " ".join(rng.choice(past)[: LENGTH // 2] + words[LENGTH // 2 :])
        elif kind == 4:
            yield "too short a piece", " ".join(words[:at] + item[start : start + WORDS - 1] + words[at:])
        else:
            past.append(words)
            yield "plain", " ".join(words)


def found(folder: Path, rows: int, edits: int = EDITED) -> dict[str, tuple[float, float, int]]:
    """What `quality` finds of each kind: (recall, precision, how many were planted)."""
    rng = random.Random(0)
    items = [text(rng, 40) for _ in range(1000)]
    write(folder / "bench.jsonl", [{"question": disguised(rng, item)} for item in items])
    kinds = list(planted(rng, rows, items, edits))
    write(folder / "rows.jsonl", [{"id": n, "text": each} for n, (_, each) in enumerate(kinds)])
    rejects = folder / "rejects.jsonl"
    quality(folder / "rows.jsonl", near=NEAR, against=[folder / "bench.jsonl"], rejects=rejects)
    told: dict[str, set[int]] = {}
    for line in rejects.read_text().splitlines():
        row = json.loads(line)
        for reason in row["reason"].split("; "):
            told.setdefault(reason.partition(":")[0], set()).add(row["id"])
    results = {}
    for kind, name in {"duplicate": "duplicate", "near": "near duplicate", "contaminated": "contaminated"}.items():
        truth = {n for n, (each, _) in enumerate(kinds) if each == kind}
        hits = told.get(name, set())
        results[name] = (len(hits & truth) / len(truth), len(hits & truth) / max(1, len(hits)), len(truth))
    return results


def write(path: Path, rows: list[dict[str, object]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    print("| planted | how many | recall | precision |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for edits in (EDITED, 2, 6, 8, 10):
            for name, (recall, precision, many) in found(Path(folder), count, edits).items():
                if name.startswith("near"):
                    name += f", {edits} of {LENGTH} words changed"
                elif edits != EDITED:
                    continue
                print(f"| {name} | {many} | {recall:.3f} | {precision:.3f} |")
