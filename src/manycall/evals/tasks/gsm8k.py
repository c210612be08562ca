"""GSM8K: 1,319 grade-school word problems (Cobbe et al., 2021, arXiv:2110.14168), MIT.

    {"question": "A robe takes 2 bolts of blue fiber and half that much white fiber. How many bolts in total ...",
     "answer": "It takes 2/2=<<2/2=1>>1 bolt of white fiber\nSo the total ... is 2+1=<<2+1=3>>3 bolts\n#### 3"}

The tasks reproduce the tasks of the same names in lm-evaluation-harness 0.4.13, in chat form (multi-turn, as its
`--apply_chat_template` sends them): prompts, few-shot examples, stop strings (an API receives the first four), filters
and `max_tokens` 256. The limit truncates long answers: the result reports how many, and `--max-tokens` raises it.
GSM8K-Platinum is the test set with its errors corrected (Vendrow et al., 2025, arXiv:2502.03461).
"""

import random
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from manycall.data.row_files import read_rows
from manycall.errors import UsageError
from manycall.evals.scoring.answers import exact_match, extract_regex
from manycall.evals.tasks.download import checksum, download_file, load_from_hub
from manycall.evals.tasks.task import Task
from manycall.option_flags import option
from manycall.records import Messages

_COMMIT = "3101c7d5072418e28b9008a6636bde82a006892c"
_URL = f"https://raw.githubusercontent.com/openai/grade-school-math/{_COMMIT}/grade_school_math/data"
_SHA256 = {
    "test": "3730d312f6e3440559ace48831e51066acaca737f6eabec99bccb9e4b3c39d14",
    "train": "17f347dc51477c50d4efb83959dbb7c56297aba886e5544ee2aaed3024813465",
}
FEWSHOT_SEED = 1234

FLEXIBLE = partial(extract_regex, pattern=r"(-?[$0-9.,]{2,})|(-?[0-9]+)", index=-1)
"""The last match of something that looks like a number."""
STRICT = partial(extract_regex, pattern=r"#### (\-?[0-9\.\,]+)")
STRICT_COT = partial(extract_regex, pattern=r"The answer is (\-?[0-9\.\,]+).")
"""The last dot of this pattern is a wildcard: "The answer is 18" at the very end of a text gives "1"."""
STRICT_LLAMA = partial(extract_regex, pattern=r"The final answer is ((-?[$0-9.,]{2,})|(-?[0-9]+))", index=-1)
CONSISTENT = partial(extract_regex, pattern=r"The answer is (\-?[0-9\.\,]*[0-9]+)")

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
"""(question, reasoning, answer) of the eight chain-of-thought examples of Wei et al. (2022, arXiv:2201.11903)."""


def exemplar_messages(turn: str, ending: str) -> Messages:
    """Return the exemplars as messages. `turn` is the template of the question, `ending` that of the answer."""
    return [
        message
        for question, reasoning, answer in EXEMPLARS
        for message in (
            {"role": "user", "content": turn.replace("{{ question }}", question)},
            {"role": "assistant", "content": f"{reasoning} {ending.format(answer)}"},
        )
    ]


def load(
    task: Task,
    data: str | Path | None = None,
    fewshot_data: str | Path | None = None,
    *,
    num_fewshot: int = 0,
    platinum: bool = False,
) -> Task:
    """Return the task with its rows and with `num_fewshot` sampled examples for each row.

    The examples come from the training set. GSM8K-Platinum has no training set, so they come from its test set.
    """
    if fewshot_data is not None and (platinum or not num_fewshot):
        raise UsageError(f"{task.name} does not support {option('fewshot_data')}.")
    rows = _rows(data, "test", platinum)
    task = replace(
        task, rows=rows, identity={"data": checksum(rows)}, answer_key=str(rows) if isinstance(rows, Path) else ""
    )
    if not num_fewshot:
        return task
    pool = rows if platinum else _rows(fewshot_data, "train", platinum)
    solutions = [fields for _, fields in problems(pool)]
    sampler = FewshotSampler(solutions, num_fewshot, exclude_self=platinum)

    def examples(index: int) -> Messages:
        return [
            message
            for shot in sampler[index]
            for message in (
                {"role": "user", "content": ANSWER.replace("{{ question }}", shot["question"])},
                {"role": "assistant", "content": shot["answer"]},
            )
        ]

    return replace(task, fewshot=examples, identity={**task.identity, "fewshot": checksum(pool)})


class FewshotSampler:
    """Samples the few-shot examples of each question with `random.Random(1234).sample`, in file order, as lm-eval does.

    One generator is used for the whole file, so the examples of question 7 depend on the questions before it. `--limit`
    does not change them, and a resumed run samples the same examples.

    Args:
        pool: the rows to sample from.
        count: number of examples per question.
        exclude_self: the pool is the test set. One more example is sampled, and the question itself is left out.
    """

    def __init__(self, pool: list[dict[str, str]], count: int, *, exclude_self: bool = False) -> None:
        if len(pool) < count + exclude_self:
            raise UsageError(
                f"The few-shot examples need {count + exclude_self} problems, but the data has {len(pool)}. "
                f"Pass a larger file with {option('data' if exclude_self else 'fewshot_data')}."
            )
        self._pool, self._count, self._exclude_self = pool, count, exclude_self
        self._rng = random.Random(FEWSHOT_SEED)
        self._samples: list[list[int]] = []

    def __getitem__(self, index: int) -> list[dict[str, str]]:
        while len(self._samples) <= index:
            self._samples.append(self._sample(len(self._samples)))
        return [self._pool[position] for position in self._samples[index]]

    def _sample(self, index: int) -> list[int]:
        positions = range(len(self._pool))
        if not self._exclude_self:
            return self._rng.sample(positions, self._count)
        question = self._pool[index]
        sample = [n for n in self._rng.sample(positions, self._count + 1) if self._pool[n] != question][: self._count]
        if len(sample) < self._count:  # the pool contains the question twice
            sample = self._rng.sample([n for n in positions if self._pool[n] != question], self._count)
        return sample


def _rows(user_file: str | Path | None, split: str, platinum: bool) -> Path | list[dict[str, Any]]:
    """Return the user's file, after checking every row, or the downloaded data."""
    if user_file is not None:
        path = Path(user_file)
        for _ in problems(path):
            pass
        return path
    if platinum:
        return load_from_hub("madrylab/gsm8k-platinum", "main", split)
    return download(split)


def download(split: str) -> Path:
    """Return the pinned file of a split ("test" or "train") in the cache, downloaded if needed.

    Raises:
        UsageError: the file cannot be downloaded, or its checksum differs.
    """
    return download_file(f"{_URL}/{split}.jsonl", _SHA256[split], f"gsm8k-{split}.jsonl")


def problems(rows: Path | list[dict[str, Any]]) -> Any:
    """Yield (location, row) of each problem.

    Raises:
        UsageError: a row has no question or no answer.
    """
    for where, fields in (
        read_rows(rows) if isinstance(rows, Path) else ((f"row {n}", row) for n, row in enumerate(rows, 1))
    ):
        for name in ("question", "answer"):
            if not isinstance(fields.get(name), str):
                raise UsageError(f"{rows}, {where}: a GSM8K row needs the text fields question and answer.")
        yield where, fields


def _task(name: str, prompt: str, strict: Any, stop: list[str], temperature: float = 0, **more: Any) -> Task:
    extracts: Mapping[str, Any] = {"strict-match": strict, "flexible-extract": FLEXIBLE}
    params = {"max_tokens": 256, "temperature": temperature, "stop": stop, "seed": 1234}
    return Task(
        (), prompt, extracts, exact_match, name=name, params=params, body_format="lm-eval", is_fast=True, **more
    )


_STOP_COT = ["Q:", "</s>", "<|im_end|>"]
_STOP_LLAMA = ["<|eot_id|>", "<|start_header_id|>user<|end_header_id|>", "Q:", "</s>"]

FIVE_SHOT = _task(
    "gsm8k", ANSWER, STRICT, ["Question:", "</s>", "<|im_end|>"], 0.0, loader=partial(load, num_fewshot=5)
)
"""Its temperature is 0.0. The other tasks, where lm-eval's files set none, have 0. Servers treat both alike."""
EIGHT_SHOT = _task(
    "gsm8k_cot", COT, STRICT_COT, _STOP_COT, fewshot=exemplar_messages(COT, "The answer is {}."), loader=load
)
ZERO_SHOT = _task("gsm8k_cot_zeroshot", STEP_BY_STEP, STRICT_COT, _STOP_COT, loader=load)
EIGHT_SHOT_LLAMA = _task(
    "gsm8k_cot_llama",
    LLAMA,
    STRICT_LLAMA,
    _STOP_LLAMA,
    fewshot=exemplar_messages(LLAMA, "The final answer is {}"),
    loader=load,
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
        loader=partial(load, num_fewshot=5 * (task is FIVE_SHOT), platinum=True),
    )
    for task in _PLAIN
)
ALL = {task.name: task for task in (*_PLAIN, *_PLATINUM)}
