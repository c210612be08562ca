r"""MGSM: 250 problems of GSM8K in eleven languages (Shi et al., 2022, arXiv:2210.03057), CC BY 4.0.

    mgsm_de.tsv, a line without a header: Ein Kleid erfordert 2 Knäuel blaue Wolle und halb so viel ...<TAB>3

`mgsm_direct_XX` (version 4.0), `mgsm_native_cot_XX` (4.0) and `mgsm_en_cot_XX` (3.0) reproduce the tasks of these names
in lm-evaluation-harness 0.4.13 for a language XX, without examples. 256 tokens truncate long answers. lm-eval computes
no mean of the languages; `mgsm_simple_evals` (mgsm_simple_evals.py) does.
"""

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from string import punctuation
from typing import NamedTuple

from manycall.data.row_files import LocatedRow, read_rows
from manycall.evals.scoring.text_answers import exact_match, extract_regex
from manycall.evals.tasks.benchmark import LM_EVAL, Benchmark
from manycall.evals.tasks.gsm8k import FLEXIBLE
from manycall.evals.tasks.hub_files import GitHubFile
from manycall.evals.tasks.published_data import PublishedData
from manycall.evals.tasks.task import Task
from manycall.records import Fields

COMMIT = "452a21ad3dae5668c06ceeac21ff073e1e40f9be"
SHA256 = {
    "bn": "6b00bc7cc635547e866989284afa924d789b5affa2eb8de623c385dd943ad977",
    "de": "4dfea30fede44b813e2e496f5f0534049e83c7cc8aed6e00600b30ec62053626",
    "en": "50021d0f28cc957edcb44e7806425b1c7fbd648ddcb9e0a8ec689d10e57d40fa",
    "es": "5bd27ebdf00140cec845c5298dc17715f5cd57d8edda6df1976db40bf3f0750a",
    "fr": "36207c1c03fd7cd3ea491441eb755408199f94e4a647851df531bbaedc99d606",
    "ja": "59a2b50debe77981fd784cb3b2bef1505e3abf2a37116dc9d7a366ab029b4637",
    "ru": "6bd30fd2e80c5bac23f566fb4ae0e6a55a19578401fbf9a01fb21beb3645fef8",
    "sw": "2bac828d77229e65d7c7197b1ad4a2cb5b1fe99b163f2cbdd66501de6a2115c4",
    "te": "dd6b1452c244bb2e4ba254c01ea84137f80c1cefc57d69c23b0ed88b9c0f36b7",
    "th": "f3932dc5ad8e9d0ea82b017adc1e1461dd647af861e7166d6741986602a0cfd6",
    "zh": "b2fa63151022370a0de1f4211c8c284eae74b0f5a3b003b1d5982c0d4a73f661",
}
FILES = {
    language: GitHubFile("google-research/url-nlp", COMMIT, f"mgsm/mgsm_{language}.tsv", sha256)
    for language, sha256 in SHA256.items()
}
NUMBER = r"(\-?[0-9\.\,]+)"


class Language(NamedTuple):
    """Words of lm-eval's prompts and the pattern of a strict answer in its native_cot tasks."""

    question: str
    step_by_step: str
    direct: str
    strict: str


LANGUAGES = {
    "bn": Language("প্রশ্ন:", "ধাপে ধাপে উত্তর:", "Answer:", f"The answer is {NUMBER}"),
    "de": Language("Frage:", "Schritt-für-Schritt-Antwort:", "Antwort:", f"Die Antwort lautet {NUMBER}"),
    "en": Language("Question:", "Step-by-Step Answer:", "Answer:", f"The answer is {NUMBER}"),
    "es": Language("Pregunta:", "Respuesta paso a paso:", "Respuesta:", f"La respuesta es {NUMBER}"),
    "fr": Language("Question :", "Réponse étape par étape :", "Réponse :", f"La réponse est {NUMBER}"),
    "ja": Language("問題：", "ステップごとの答え:", "Answer:", f"答えは{NUMBER}です。"),
    "ru": Language("Задача:", "Пошаговоерешение:", "Answer:", f"Ответ — {NUMBER}"),
    "sw": Language("Swali:", "Jibu la Hatua kwa Hatua:", "Answer:", f"Jibu ni {NUMBER}"),
    "te": Language("ప్రశ్న:", "దశలవారీగా సమాధానం:", "Answer:", f"సమాధానం {NUMBER}"),
    "th": Language("โจทย์:", "คำตอบทีละขั้นตอน:", "Answer:", f"คำตอบคือ {NUMBER}"),
    "zh": Language("问题：", "逐步解答:", "Answer:", f"答案是 {NUMBER}。"),
}
ENGLISH = LANGUAGES["en"]


def read_tsv(path: Path) -> Iterator[LocatedRow]:
    """Yield the rows of a file without a header, or of a file in another format with the names of the hub."""
    if path.suffix != ".tsv":
        yield from read_rows(path)
        return
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        question, _, answer = line.rpartition("\t")
        yield f"line {number}", {"question": question, "answer_number": answer}


def convert(fields: Fields, file: str) -> Fields:
    """Return the row of a problem. The name of its file ends with the language, or the row names it."""
    language = fields.get("language") or re.split(r"[_-]", file)[-1]
    answer = str(fields["answer_number"]).replace(",", "")
    if language not in LANGUAGES or not fields["question"] or not re.fullmatch(r"-?\d+(\.0)?", answer):
        raise ValueError(f"{language!r} is not a language of MGSM, or the answer {answer!r} is not an integer")
    return {"language": language, "question": fields["question"], "answer": str(int(float(answer)))}


def only(language: str, fields: Fields, file: str) -> Fields | None:
    """Return the row of a problem in one language; None for another language."""
    row = convert(fields, file)
    return row if row["language"] == language else None


def planted_for(strict: str, fields: Fields) -> tuple[str, str]:
    """Return a right and a wrong response, in the words of a strict pattern."""
    text = strict.replace(NUMBER, "{}")
    return text.format(fields["answer"]), text.format(int(fields["answer"]) + 1)


def _lm_eval(kind: str, language: str, prompt: str, strict: str) -> Task:
    question = LANGUAGES[language].question
    first = {"strict-match": partial(extract_regex, pattern=strict)} if strict else {"remove_whitespace": str.strip}
    return Task(
        rows=(),
        prompt=f"{question} {{{{ question }}}}\n{prompt}",
        extract={**first, "flexible-extract": FLEXIBLE},
        scorer=partial(exact_match, ignore=(), drop=punctuation),
        name=f"mgsm_{kind}_{language}",
        params={"max_tokens": 256, "temperature": 0, "stop": [question, "</s>", "<|im_end|>"], "seed": 1234},
        body_format="lm-eval",
        is_fast=True,
        planted=partial(planted_for, strict or NUMBER),
        loader=PublishedData((FILES[language],), partial(only, language), "mgsm.jsonl", read_tsv),
    )


BENCHMARKS = tuple(
    Benchmark(task, 250, LM_EVAL, "google-research/url-nlp", version=version)
    for language, words in LANGUAGES.items()
    for task, version in (
        (_lm_eval("direct", language, words.direct, ""), 4.0),
        (_lm_eval("native_cot", language, words.step_by_step, words.strict), 4.0),
        (_lm_eval("en_cot", language, ENGLISH.step_by_step, ENGLISH.strict), 3.0),
    )
)
