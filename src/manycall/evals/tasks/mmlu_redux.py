"""MMLU-Redux 2.0: 5,700 questions of MMLU, 100 of each subject, checked by hand (Gema et al., 2024).

    {"question": "...", "choices": ["...", "...", "...", ...], "answer": 2, "error_type": "ok", "correct_answer": null}

arXiv:2406.04127, CC BY 4.0. `error_type` says what is wrong with a question: 370 are not "ok".

- `mmlu_redux_generative` reproduces the group of this name (version 4.0) in lm-evaluation-harness 0.4.13: only
  questions that are "ok"; the answer is the first of the characters A, B, C, D, so "Answer: C" is read as A.
- `mmlu_redux` is manycall's own, with the questions and prompt of evalscope: it repairs the right answers as the
  annotators note them and keeps all questions; several answers can be right. The scorer is `choice`.
"""

import re
from collections.abc import Sequence
from functools import partial
from string import punctuation
from typing import Any

from msgspec.structs import replace

from manycall.evals.scoring.choice_answers import equal_letter, final_letter
from manycall.evals.scoring.text_answers import any_target, exact_match, extract_regex
from manycall.evals.tasks.benchmark import LM_EVAL, Benchmark
from manycall.evals.tasks.choice_prompts import lettered, planted_letter
from manycall.evals.tasks.hub_files import HubFile
from manycall.evals.tasks.mmlu_subjects import MMLU_SUBJECTS
from manycall.evals.tasks.subject_shots import SubjectData, read_with_folder
from manycall.evals.tasks.task import SubtaskGroup, Task
from manycall.records import Fields

LETTERS = "ABCD"
NAME, REVISION = "edinburgh-dawg/mmlu-redux-2.0", "ecde1359227ae7c3291f6ca3e16417b4ee8040d0"
FILES = tuple(
    HubFile(NAME, REVISION, f"{subject}/data-00000-of-00001.arrow", modelscope="AI-ModelScope/mmlu-redux-2.0")
    for subjects in MMLU_SUBJECTS.values()
    for subject in subjects
)
CATEGORIES = tuple(SubtaskGroup(name, frozenset(subjects)) for name, subjects in MMLU_SUBJECTS.items())
SEPARATORS = re.compile(r"[(),\s]+(?:(?:and|or)\s+)?")


def only_correct(fields: Fields, _: str) -> Fields | None:
    """Return the row of a question; None if the annotators found an error in it."""
    return None if fields.get("error_type", "ok") != "ok" else _row(fields, LETTERS[int(fields["answer"])])


def repaired(fields: Fields, _: str) -> Fields:
    """Return the row of a question with its right answer, or all right answers, as the annotators note them.

    If no choice is right, their text replaces the choice that was marked as right. If their note names no choice, all
    four are right.
    """
    answer, note = int(fields["answer"]), str(fields.get("correct_answer") or "").strip()
    match fields.get("error_type") if note else None:
        case "no_correct_answer":
            choices = [note if n == answer else choice for n, choice in enumerate(fields["choices"])]
            return _row({**fields, "choices": choices}, LETTERS[answer])
        case "wrong_groundtruth" | "multiple_correct_answers":
            return _row(fields, noted_letters(note, fields["choices"]))
    return _row(fields, LETTERS[answer])


def noted_letters(note: str, choices: Sequence[str]) -> list[str]:
    """Return the choices that a note names by number, letter or text: "1", "B", "(0, 2)", "A and C", "4 m, 5 m"."""
    words = [word for word in SEPARATORS.split(note) if word]
    names = dict(zip("0123", LETTERS, strict=True)) | {letter: letter for letter in LETTERS}
    if words and all(word in names for word in words):
        return [names[word] for word in words]
    texts = {part.strip() for part in note.split(",")}
    return [letter for letter, text in zip(LETTERS, choices, strict=True) if text.strip() in texts] or [*LETTERS]


def _row(fields: Fields, answer: Any) -> Fields:
    subject, choices = fields["subject"], fields["choices"]
    if not isinstance(choices, list) or len(choices) != len(LETTERS):
        raise ValueError("expected four choices")
    return {"subject": subject, "question": fields["question"], "choices": choices, "answer": answer}


def letter_only_prompt(fields: Fields) -> str:
    """Return the user message of lm-eval."""
    request = "Please respond with the correct letter (A, B, C or D) without any additional comments"
    return f"{fields['question'].strip()}\n{lettered(fields['choices'])}\n{request}, only the correct letter:"


def reasoned_prompt(fields: Fields) -> str:
    """Return evalscope's user message for a single choice."""
    return (
        "Answer the following multiple choice question. The last line of your response should be of the following "
        "format: 'ANSWER: [LETTER]' (without quotes) where [LETTER] is one of A,B,C,D. Think step by step before "
        f"answering.\n\n{fields['question']}\n\n{lettered(fields['choices'], '{}) {}')}"
    )


DATA = SubjectData(
    files=FILES, convert=only_correct, sample="mmlu_redux.jsonl", read=read_with_folder,
    suffixes=(".arrow", ".parquet", ".jsonl", ".csv"),
)  # fmt: skip
GENERATIVE = Task(
    rows=(),
    prompt=letter_only_prompt,
    extract={"default": partial(extract_regex, pattern=r"([ABCD])")},
    scorer=partial(exact_match, ignore=(), drop=punctuation),
    name="mmlu_redux_generative",
    system=("The following are multiple choice questions (with answers) about {{ subject | replace('_', ' ') }}.\n\n"),
    params={"max_tokens": 256, "temperature": 0, "stop": ["</s>"], "seed": 1234},
    body_format="lm-eval",
    subtask="subject",
    groups=(*CATEGORIES, SubtaskGroup("mmlu_redux_generative")),
    is_fast=True,
    planted=planted_letter("{}"),
    loader=DATA,
)
OURS = replace(
    GENERATIVE, prompt=reasoned_prompt, extract={"choice": final_letter}, scorer=any_target(equal_letter),
    name="mmlu_redux", system=None, params={}, body_format="compact",
    groups=(*CATEGORIES, SubtaskGroup("mmlu_redux")), planted=planted_letter("ANSWER: {}"),
    loader=replace(DATA, convert=repaired),
)  # fmt: skip
BENCHMARKS = (
    Benchmark(OURS, 5_700, "manycall", NAME, "parquet"),
    Benchmark(GENERATIVE, 5_330, LM_EVAL, NAME, "parquet", version=4.0, subtask_name="mmlu_redux_{}_generative"),
)
