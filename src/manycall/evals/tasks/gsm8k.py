"""GSM8K: 1,319 grade-school word problems (Cobbe et al., 2021, arXiv:2110.14168), MIT.

    {"question": "A robe takes 2 bolts of blue fiber and half that much white fiber. How many bolts in total ...",
     "answer": "It takes 2/2=<<2/2=1>>1 bolt of white fiber\nSo the total ... is 2+1=<<2+1=3>>3 bolts\n#### 3"}

The tasks reproduce the tasks of the same names in lm-evaluation-harness 0.4.13, in chat form (multi-turn, as its
`--apply_chat_template` sends them): prompts, few-shot examples, stop strings (an API receives the first four), filters
and `max_tokens` 256. The limit truncates long answers: the result reports how many, and `--max-tokens` raises it.
GSM8K-Platinum is the test set with its errors corrected (Vendrow et al., 2025, arXiv:2502.03461).
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from msgspec.structs import replace

from manycall.evals.scoring.text_answers import exact_match, extract_regex
from manycall.evals.tasks.benchmark import LM_EVAL, Benchmark
from manycall.evals.tasks.gsm8k_data import FILES, REPOSITORY, GsmData, HubRows, convert
from manycall.evals.tasks.gsm8k_exemplars import exemplar_messages
from manycall.evals.tasks.task import Task
from manycall.records import Fields

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


def planted_wording(wording: str) -> Callable[[Fields], tuple[str, str]]:
    """Return the function `Task.planted` of a task: (right response, wrong response).

    Args:
        wording: the words before the answer.
    """

    def responses(fields: Fields) -> tuple[str, str]:
        right = fields["answer"].rpartition("#### ")[2].strip()
        wrong = str(int(right.replace(",", "")) + 1) if right.replace(",", "").isdecimal() else "0"
        text = "Let us take it step by step. That leaves {0}.\n{1} {0}.\n#### {0}"
        return text.format(right, wording), text.format(wrong, wording)

    return responses


def _task(name: str, prompt: str, strict: Any, stop: list[str], temperature: float = 0, **more: Any) -> Task:
    extracts: Mapping[str, Any] = {"strict-match": strict, "flexible-extract": FLEXIBLE}
    params = {"max_tokens": 256, "temperature": temperature, "stop": stop, "seed": 1234}
    return Task(
        (), prompt, extracts, exact_match, name=name, params=params, body_format="lm-eval", is_fast=True,
        planted=planted_wording("The final answer is" if prompt == LLAMA else "The answer is"), loader=DATA, **more,
    )  # fmt: skip


DATA = GsmData(
    (FILES["test"],), convert, "gsm8k.jsonl", fewshot_files=(FILES["train"],), fewshot_sample="gsm8k_train.jsonl"
)
PLATINUM_DATA = replace(DATA, files=(HubRows("madrylab/gsm8k-platinum", "main", "test"),), fewshot_files=())
_STOP_COT = ["Q:", "</s>", "<|im_end|>"]
_STOP_LLAMA = ["<|eot_id|>", "<|start_header_id|>user<|end_header_id|>", "Q:", "</s>"]

FIVE_SHOT = _task("gsm8k", ANSWER, STRICT, ["Question:", "</s>", "<|im_end|>"], 0.0, num_fewshot=5)
"""Its temperature is 0.0. The other tasks, where lm-eval's files set none, have 0. Servers treat both alike."""
EIGHT_SHOT = _task("gsm8k_cot", COT, STRICT_COT, _STOP_COT, fewshot=exemplar_messages(COT, "The answer is {}."))
ZERO_SHOT = _task("gsm8k_cot_zeroshot", STEP_BY_STEP, STRICT_COT, _STOP_COT)
EIGHT_SHOT_LLAMA = _task(
    "gsm8k_cot_llama",
    LLAMA,
    STRICT_LLAMA,
    _STOP_LLAMA,
    fewshot=exemplar_messages(LLAMA, "The final answer is {}"),
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
_PLATINUM = (replace(task, name=task.name.replace("gsm8k", "gsm8k_platinum"), loader=PLATINUM_DATA) for task in _PLAIN)
_VERSIONS = {"gsm8k_cot_llama": 4.0, "gsm8k_cot_self_consistency": 2.0, "gsm8k_platinum_cot_self_consistency": 2.0}
BENCHMARKS = tuple(
    Benchmark(task, questions, LM_EVAL, source, extra, version=_VERSIONS.get(task.name, 3.0))
    for tasks, questions, source, extra in (
        (_PLAIN, 1319, REPOSITORY, ""),
        (_PLATINUM, 1209, "madrylab/gsm8k-platinum", "datasets"),
    )
    for task in tasks
)
