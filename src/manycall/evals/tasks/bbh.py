"""BIG-Bench Hard: 27 subtasks with 6,511 questions (Suzgun et al., 2022, arXiv:2210.09261), MIT.

    {"input": "not ( True ) and ( True ) is", "target": "False"}

`bbh_cot_zeroshot` (version 3.0) and `bbh_cot_fewshot` (4.0, in lm-eval also called `bbh`) reproduce the groups of
lm-evaluation-harness 0.4.13. Chat models score low in both: 256 tokens are few, and the stop strings "Q" and "\\n\\n"
of the few-shot task end an answer after its first paragraph. `bbh_chat` is our own variant: it asks for a last line
with the answer, and reads the answer from there.

The files contain a string by which they can be found in training data, so they are downloaded, not included.
"""

from functools import partial

from msgspec.structs import replace

from manycall.evals.scoring.bbh_answers import IGNORED, few_shot_answer, flexible_answer, strict_answer
from manycall.evals.scoring.text_answers import after_thinking, exact_match
from manycall.evals.tasks.bbh_data import BBH_DATA
from manycall.evals.tasks.bbh_files import REPOSITORY
from manycall.evals.tasks.benchmark import LM_EVAL, Benchmark
from manycall.evals.tasks.task import SubtaskGroup, Task, row_filter
from manycall.records import Fields

STEP_BY_STEP = "Q: {{ question }}\nA: Let's think step by step."
CHAT = "{{ question }}\n\nReason step by step. End with one line of this form: So the answer is ANSWER."


def chat_answer(response: str, fields: Fields) -> str:
    """Return the answer after the last "answer is"; without these words, the one in the whole text."""
    text = after_thinking(response)
    return flexible_answer(text.rpartition("answer is")[2], fields)


def planted(fields: Fields) -> tuple[str, str]:
    """Return a right and a wrong response."""
    return f"We check each step. So the answer is {fields['answer']}.", "We check each step. So the answer is unclear."


_exact = partial(exact_match, ignore=IGNORED)
_BASE = Task(
    rows=(),
    prompt=STEP_BY_STEP,
    extract={"flexible-extract": row_filter(flexible_answer, _exact), "strict-match": strict_answer},
    scorer=_exact,
    name="bbh_cot_zeroshot",
    system="{{ description }}\n\n",
    params={"max_tokens": 256, "temperature": 0.0, "stop": ["</s>", "Q:", "<|im_end|>"], "seed": 1234},
    body_format="lm-eval",
    subtask="subtask",
    groups=(SubtaskGroup("bbh_cot_zeroshot"),),
    is_fast=True,
    planted=planted,
    loader=BBH_DATA,
)
_FEWSHOT = replace(
    _BASE,
    prompt=f"{STEP_BY_STEP}\n",
    extract={"get-answer": few_shot_answer},
    scorer=lambda answer, target: answer.rstrip("\0") == target,
    name="bbh_cot_fewshot",
    num_fewshot=3,
    params={"max_tokens": 1024, "temperature": 0.0, "stop": ["</s>", "Q", "\n\n"], "seed": 1234},
    groups=(SubtaskGroup("bbh_cot_fewshot"),),
)
_CHAT = replace(
    _BASE,
    prompt=CHAT,
    extract={"answer": row_filter(chat_answer, _exact)},
    name="bbh_chat",
    params={"max_tokens": 8192, "temperature": 0.0},
    body_format="compact",
    groups=(SubtaskGroup("bbh_chat"),),
)
BENCHMARKS = (
    Benchmark(_BASE, 6511, LM_EVAL, REPOSITORY, version=3.0),
    Benchmark(_FEWSHOT, 6511, LM_EVAL, REPOSITORY, version=4.0),
    Benchmark(_CHAT, 6511, "manycall", REPOSITORY),
)
