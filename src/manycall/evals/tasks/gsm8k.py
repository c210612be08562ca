"""GSM8K: 1,319 grade-school word problems (Cobbe et al., 2021, arXiv:2110.14168), MIT.

    {"question": "A robe takes 2 bolts of blue fiber and half that much white fiber. How many bolts in total ...",
     "answer": "It takes 2/2=<<2/2=1>>1 bolt of white fiber\nSo the total ... is 2+1=<<2+1=3>>3 bolts\n#### 3"}

The protocols are those of lm-evaluation-harness 0.4.13, of the same names, in chat form (multi-turn, as its
`--apply_chat_template` sends them): prompts, shots, stop strings (an API gets the first four), filters. So is
`max_tokens` 256, which cuts long-winded models short: the report says how often; `--max-tokens` raises it.
GSM8K-Platinum is the test set cleaned of its errors (Vendrow et al., 2025, arXiv:2502.03461).
"""

import random
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from manycall.data.files import read
from manycall.errors import UsageError
from manycall.evals.download import checksum, fetch, from_hub
from manycall.evals.scorers import exact_match, extract
from manycall.evals.tasks.task import Task
from manycall.records import Messages

_COMMIT = "3101c7d5072418e28b9008a6636bde82a006892c"
_URL = f"https://raw.githubusercontent.com/openai/grade-school-math/{_COMMIT}/grade_school_math/data"
_SHA256 = {
    "test": "3730d312f6e3440559ace48831e51066acaca737f6eabec99bccb9e4b3c39d14",
    "train": "17f347dc51477c50d4efb83959dbb7c56297aba886e5544ee2aaed3024813465",
}
FEWSHOT_SEED = 1234

FLEXIBLE = partial(extract, pattern=r"(-?[$0-9.,]{2,})|(-?[0-9]+)", which=-1)
"""The last thing that looks like a number."""
STRICT = partial(extract, pattern=r"#### (\-?[0-9\.\,]+)")
STRICT_COT = partial(extract, pattern=r"The answer is (\-?[0-9\.\,]+).")
"""The last dot of this pattern is a wildcard: "The answer is 18" at the very end of a text gives "1"."""
STRICT_LLAMA = partial(extract, pattern=r"The final answer is ((-?[$0-9.,]{2,})|(-?[0-9]+))", which=-1)
CONSISTENT = partial(extract, pattern=r"The answer is (\-?[0-9\.\,]*[0-9]+)")

ANSWER = "Question: {{ question }}\nAnswer:"
COT = "Q: {{ question }}\nA:"
STEP_BY_STEP = "Q: {{ question }}\nA: Let's think step by step."
LLAMA = (
    "Given the following problem, reason and give a final answer to the problem.\nProblem: {{ question }}\n"
    'Your response should end with "The final answer is [answer]" where [answer] is the response to the problem.\n'
)

EXEMPLARS = (
    (
        "There are 15 trees in the grove. Grove workers will plant trees in the grove today. After they are done, "
        "there will be 21 trees. How many trees did the grove workers plant today?",
        "There are 15 trees originally. Then there were 21 trees after some more were planted. So there must have "
        "been 21 - 15 = 6.",
        6,
    ),
    (
        "If there are 3 cars in the parking lot and 2 more cars arrive, how many cars are in the parking lot?",
        "There are originally 3 cars. 2 more cars arrive. 3 + 2 = 5.",
        5,
    ),
    (
        "Leah had 32 chocolates and her sister had 42. If they ate 35, how many pieces do they have left in total?",
        "Originally, Leah had 32 chocolates. Her sister had 42. So in total they had 32 + 42 = 74. After eating 35, "
        "they had 74 - 35 = 39.",
        39,
    ),
    (
        "Jason had 20 lollipops. He gave Denny some lollipops. Now Jason has 12 lollipops. How many lollipops did "
        "Jason give to Denny?",
        "Jason started with 20 lollipops. Then he had 12 after giving some to Denny. So he gave Denny 20 - 12 = 8.",
        8,
    ),
    (
        "Shawn has five toys. For Christmas, he got two toys each from his mom and dad. How many toys does he have "
        "now?",
        "Shawn started with 5 toys. If he got 2 toys each from his mom and dad, then that is 4 more toys. 5 + 4 = 9.",
        9,
    ),
    (
        "There were nine computers in the server room. Five more computers were installed each day, from monday to "
        "thursday. How many computers are now in the server room?",
        "There were originally 9 computers. For each of 4 days, 5 more computers were added. So 5 * 4 = 20 computers "
        "were added. 9 + 20 is 29.",
        29,
    ),
    (
        "Michael had 58 golf balls. On tuesday, he lost 23 golf balls. On wednesday, he lost 2 more. How many golf "
        "balls did he have at the end of wednesday?",
        "Michael started with 58 golf balls. After losing 23 on tuesday, he had 58 - 23 = 35. After losing 2 more, "
        "he had 35 - 2 = 33 golf balls.",
        33,
    ),
    (
        "Olivia has $23. She bought five bagels for $3 each. How much money does she have left?",
        "Olivia had 23 dollars. 5 bagels for 3 dollars each will be 5 x 3 = 15 dollars. So she has 23 - 15 dollars "
        "left. 23 - 15 is 8.",
        8,
    ),
)
"""(question, reasoning, answer): the eight of chain-of-thought prompting (Wei et al., 2022, arXiv:2201.11903)."""


def solved(turn: str, ending: str) -> Messages:
    """The exemplars as turns: the question put into `turn`, the answer into `ending`."""
    return [
        message
        for question, reasoning, answer in EXEMPLARS
        for message in (
            {"role": "user", "content": turn.replace("{{ question }}", question)},
            {"role": "assistant", "content": f"{reasoning} {ending.format(answer)}"},
        )
    ]


def find(
    task: Task,
    data: str | Path | None = None,
    shots: str | Path | None = None,
    *,
    draw: int = 0,
    platinum: bool = False,
) -> Task:
    """The task with its rows, and with `draw` shots for each: from the training set, or of the test set itself
    (platinum has no other)."""
    if shots is not None and (platinum or not draw):
        raise UsageError(f"{task.name} takes no --shots")
    rows = _rows(data, "test", platinum)
    task = replace(task, rows=rows, identity={"data": checksum(rows)}, key=str(rows) if isinstance(rows, Path) else "")
    if not draw:
        return task
    pool = rows if platinum else _rows(shots, "train", platinum)
    solutions = [fields for _, fields in problems(pool)]
    draws = Draws(solutions, draw, without_itself=platinum)

    def turns(index: int) -> Messages:
        return [
            message
            for shot in draws[index]
            for message in (
                {"role": "user", "content": ANSWER.replace("{{ question }}", shot["question"])},
                {"role": "assistant", "content": shot["answer"]},
            )
        ]

    return replace(task, shots=turns, identity={**task.identity, "shots": checksum(pool)})


class Draws:
    """Which shots each question gets: `random.Random(1234).sample`, question after question, in file order.

    One generator serves the whole file, so the draws of question 7 depend on those before it; `--limit` changes
    nothing, and a resumed run draws the same.

    Args:
        without_itself: the pool is the test set: one more is drawn, and the question itself left out.
    """

    def __init__(self, pool: list[dict[str, str]], count: int, *, without_itself: bool = False) -> None:
        if len(pool) < count + without_itself:
            raise UsageError(f"--shots holds {len(pool)} problems; {count + without_itself} are needed")
        self._pool, self._count, self._without_itself = pool, count, without_itself
        self._rng = random.Random(FEWSHOT_SEED)
        self._drawn: list[list[int]] = []

    def __getitem__(self, index: int) -> list[dict[str, str]]:
        while len(self._drawn) <= index:
            self._drawn.append(self._draw(len(self._drawn)))
        return [self._pool[shot] for shot in self._drawn[index]]

    def _draw(self, index: int) -> list[int]:
        places = range(len(self._pool))
        if not self._without_itself:
            return self._rng.sample(places, self._count)
        asked = self._pool[index]
        drawn = [n for n in self._rng.sample(places, self._count + 1) if self._pool[n] != asked][: self._count]
        if len(drawn) < self._count:  # the question stands there twice
            drawn = self._rng.sample([n for n in places if self._pool[n] != asked], self._count)
        return drawn


def _rows(given: str | Path | None, split: str, platinum: bool) -> Path | list[dict[str, Any]]:
    """The user's own file, every row of it checked; or ours, downloaded once."""
    if given is not None:
        path = Path(given)
        for _ in problems(path):
            pass
        return path
    if platinum:
        return from_hub("madrylab/gsm8k-platinum", "main", split)
    return download(split)


def download(split: str) -> Path:
    """Return the pinned file of a split ("test" or "train") in the cache, downloaded once and checked.

    Raises:
        UsageError: it cannot be downloaded, or its checksum differs.
    """
    return fetch(f"{_URL}/{split}.jsonl", _SHA256[split], f"gsm8k-{split}.jsonl")


def problems(rows: Path | list[dict[str, Any]]) -> Any:
    """(where, row) of each problem.

    Raises:
        UsageError: one that has no question or no answer.
    """
    for where, fields in read(rows) if isinstance(rows, Path) else ((f"row {n}", row) for n, row in enumerate(rows, 1)):
        for name in ("question", "answer"):
            if not isinstance(fields.get(name), str):
                raise UsageError(f"{rows}, {where}: a GSM8K row needs the text fields question and answer")
        yield where, fields


def _task(name: str, prompt: str, strict: Any, stop: list[str], temperature: float = 0, **more: Any) -> Task:
    extracts: Mapping[str, Any] = {"strict-match": strict, "flexible-extract": FLEXIBLE}
    params = {"max_tokens": 256, "temperature": temperature, "stop": stop, "seed": 1234}
    return Task((), prompt, extracts, exact_match, name=name, params=params, spelling="lm-eval", quick=True, **more)


_STOP_COT = ["Q:", "</s>", "<|im_end|>"]
_STOP_LLAMA = ["<|eot_id|>", "<|start_header_id|>user<|end_header_id|>", "Q:", "</s>"]

FIVE_SHOT = _task("gsm8k", ANSWER, STRICT, ["Question:", "</s>", "<|im_end|>"], 0.0, load=partial(find, draw=5))
"""Its temperature is 0.0; that of the others, where lm-eval's files say nothing, 0. Servers make no difference."""
EIGHT_SHOT = _task("gsm8k_cot", COT, STRICT_COT, _STOP_COT, shots=solved(COT, "The answer is {}."), load=find)
ZERO_SHOT = _task("gsm8k_cot_zeroshot", STEP_BY_STEP, STRICT_COT, _STOP_COT, load=find)
EIGHT_SHOT_LLAMA = _task(
    "gsm8k_cot_llama", LLAMA, STRICT_LLAMA, _STOP_LLAMA, shots=solved(LLAMA, "The final answer is {}"), load=find
)
SELF_CONSISTENCY = replace(
    EIGHT_SHOT,
    name="gsm8k_cot_self_consistency",
    extract={"score-first": CONSISTENT},
    votes={"maj@64": 64, "maj@8": 8},
    samples=64,
    params={"max_tokens": 256, "temperature": 0.2, "stop": ["Q:", "\n\n"], "seed": 1234},
)

_PLAIN = (FIVE_SHOT, EIGHT_SHOT, ZERO_SHOT, EIGHT_SHOT_LLAMA, SELF_CONSISTENCY)
_PLATINUM = (
    replace(
        task,
        name=task.name.replace("gsm8k", "gsm8k_platinum"),
        load=partial(find, draw=5 * (task is FIVE_SHOT), platinum=True),
    )
    for task in _PLAIN
)
ALL = {task.name: task for task in (*_PLAIN, *_PLATINUM)}
