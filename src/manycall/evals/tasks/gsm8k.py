"""GSM8K: 1,319 grade-school word problems (Cobbe et al., 2021, arXiv:2110.14168), MIT.

    {"question": "A robe takes 2 bolts of blue fiber and half that much white fiber. How many bolts in total ...",
     "answer": "It takes 2/2=<<2/2=1>>1 bolt of white fiber\nSo the total ... is 2+1=<<2+1=3>>3 bolts\n#### 3"}

The protocols are those of lm-evaluation-harness 0.4.13, tasks `gsm8k` and `gsm8k_cot_zeroshot` (version 3.0), in
chat form (multi-turn, as its `--apply_chat_template` sends them): prompts, shots, stop strings, both filters.
So is `max_tokens` 256, which cuts long-winded models short: the report says how often; `--max-tokens` raises it.
"""

import random
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from manycall.data.files import read
from manycall.errors import UsageError
from manycall.evals.download import fetch
from manycall.evals.scorers import exact_match, extract
from manycall.evals.tasks.task import Scoring, Task
from manycall.records import Messages, Row

_COMMIT = "3101c7d5072418e28b9008a6636bde82a006892c"
_URL = f"https://raw.githubusercontent.com/openai/grade-school-math/{_COMMIT}/grade_school_math/data"
_SHA256 = {
    "test": "3730d312f6e3440559ace48831e51066acaca737f6eabec99bccb9e4b3c39d14",
    "train": "17f347dc51477c50d4efb83959dbb7c56297aba886e5544ee2aaed3024813465",
}

FLEXIBLE = partial(extract, pattern=r"(-?[$0-9.,]{2,})|(-?[0-9]+)", which=-1)
"""The last thing that looks like a number."""
STRICT = partial(extract, pattern=r"#### (\-?[0-9\.\,]+)")
STRICT_COT = partial(extract, pattern=r"The answer is (\-?[0-9\.\,]+).")
"""The last dot of this pattern is a wildcard: "The answer is 18" at the very end of a text gives "1"."""
FIVE_SHOT = Scoring({"strict-match": STRICT, "flexible-extract": FLEXIBLE}, exact_match)
ZERO_SHOT = Scoring({"strict-match": STRICT_COT, "flexible-extract": FLEXIBLE}, exact_match)

PARAMS: dict[str, Any] = {"max_tokens": 256, "temperature": 0.0, "seed": 1234}
FEWSHOT_SEED = 1234


def five_shot(data: str | Path | None = None, shots: str | Path | None = None) -> Task:
    """`gsm8k`: five solved problems from the training set, drawn anew for every question, then the question."""
    path = _rows("test", data)
    train_path = _rows("train", shots)
    train = [_problem(train_path, where, fields) for where, fields in read(train_path)]
    draws = Draws(len(train), 5, FEWSHOT_SEED)

    def prompt(row: Row) -> Messages:
        messages = []
        for shot in draws[row.index]:
            messages.append({"role": "user", "content": f"Question: {train[shot]['question']}\nAnswer:"})
            messages.append({"role": "assistant", "content": train[shot]["answer"]})
        return [*messages, {"role": "user", "content": f"Question: {row.fields['question']}\nAnswer:"}]

    return Task(
        name="gsm8k",
        rows=path,
        prompt=prompt,
        scoring=FIVE_SHOT,
        params={**PARAMS, "stop": ["Question:", "</s>", "<|im_end|>"]},
        identity={"data": _hash(path), "shots": _hash(train_path)},
        key=str(path),
    )


def zero_shot(data: str | Path | None = None, shots: str | Path | None = None) -> Task:
    """`gsm8k_cot_zeroshot`: the question, and "Let's think step by step."."""
    if shots is not None:
        raise UsageError("gsm8k_cot_zeroshot takes no --shots")

    path = _rows("test", data)

    def prompt(row: Row) -> Messages:
        return [{"role": "user", "content": f"Q: {row.fields['question']}\nA: Let's think step by step."}]

    return Task(
        name="gsm8k_cot_zeroshot",
        rows=path,
        prompt=prompt,
        scoring=ZERO_SHOT,
        params={**PARAMS, "stop": ["Q:", "</s>", "<|im_end|>"]},
        identity={"data": _hash(path)},
        key=str(path),
    )


class Draws:
    """Which shots each question gets: `random.Random(seed).sample`, question after question, in file order.

    One generator serves the whole file, so the draws of question 7 depend on those before it; `--limit` changes
    nothing, and a resumed run draws the same.
    """

    def __init__(self, population: int, count: int, seed: int) -> None:
        if population < count:
            raise UsageError(f"--shots holds {population} problems; {count} are needed")
        self._population, self._count = range(population), count
        self._rng = random.Random(seed)
        self._drawn: list[list[int]] = []

    def __getitem__(self, index: int) -> list[int]:
        while len(self._drawn) <= index:
            self._drawn.append(self._rng.sample(self._population, self._count))
        return self._drawn[index]


def _rows(split: str, given: str | Path | None) -> Path:
    """The user's own file, every row of it checked; or ours, downloaded once."""
    if given is None:
        return fetch(f"{_URL}/{split}.jsonl", _SHA256[split], f"gsm8k-{split}.jsonl")
    path = Path(given)
    for where, fields in read(path):
        _problem(path, where, fields)
    return path


def _hash(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()


def _problem(path: Path, where: str, fields: dict[str, Any]) -> dict[str, str]:
    for name in ("question", "answer"):
        if not isinstance(fields.get(name), str):
            raise UsageError(f"{path}, {where}: a GSM8K row needs the text fields question and answer")
    return fields
