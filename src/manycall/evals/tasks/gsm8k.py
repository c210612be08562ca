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
from manycall.evals.scoring.text_answers import exact_match, extract_regex
from manycall.evals.tasks.benchmark import LM_EVAL, Benchmark
from manycall.evals.tasks.download import checksum, download_file, load_from_hub
from manycall.evals.tasks.fewshot import record_num_fewshot, with_num_fewshot
from manycall.evals.tasks.gsm8k_exemplars import exemplar_messages
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


def load(
    task: Task,
    data: str | Path | None = None,
    fewshot_data: str | Path | None = None,
    num_fewshot: int | None = None,
    *,
    platinum: bool = False,
) -> Task:
    """Return the task with its rows and with `num_fewshot` examples for each row. Default: those of the protocol.

    `gsm8k` samples its examples from the training set. GSM8K-Platinum has no training set, so they are sampled from its
    test set. The examples of the other tasks are fixed, and a smaller number takes the first ones, as lm-eval does.
    """
    is_sampled = task.num_fewshot is not None
    count = num_fewshot if num_fewshot is not None else task.num_fewshot or 0
    if fewshot_data is not None and (platinum or not is_sampled):
        raise UsageError(f"{task.name} does not support {option('fewshot_data')}.")
    if fewshot_data is not None and not count:
        raise UsageError(f"{option('fewshot_data')} and {option('num_fewshot', 0)} cannot be combined.")
    rows = _rows(data, "test", platinum)
    task = replace(
        task, rows=rows, identity={"data": checksum(rows)}, answer_key=str(rows) if isinstance(rows, Path) else ""
    )
    if not is_sampled:
        return with_num_fewshot(task, num_fewshot)
    task = record_num_fewshot(task, count, task.num_fewshot)
    if not count:
        return task
    pool = rows if platinum else _rows(fewshot_data, "train", platinum)
    solutions = [fields for _, fields in problems(pool)]
    sampler = FewshotSampler(solutions, count, exclude_self=platinum)

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

FIVE_SHOT = _task("gsm8k", ANSWER, STRICT, ["Question:", "</s>", "<|im_end|>"], 0.0, num_fewshot=5, loader=load)
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
        loader=partial(load, platinum=True),
    )
    for task in _PLAIN
)
_VERSIONS = {"gsm8k_cot_llama": 4.0, "gsm8k_cot_self_consistency": 2.0, "gsm8k_platinum_cot_self_consistency": 2.0}
BENCHMARKS = tuple(
    Benchmark(task, questions, LM_EVAL, source, extra, version=_VERSIONS.get(task.name, 3.0))
    for tasks, questions, source, extra in (
        (_PLAIN, 1319, "openai/grade-school-math", ""),
        (_PLATINUM, 1209, "madrylab/gsm8k-platinum", "datasets"),
    )
    for task in tasks
)
