"""SimpleQA (4,326 short factual questions, arXiv:2411.04368, MIT) and Chinese SimpleQA (3,000, arXiv:2411.07140).

    metadata,problem,answer
    "{'topic': 'Art', 'answer_type': 'Person', ...}",Who painted ...?,...

A model grades the answers, in a second command with the prompt of the benchmark's authors:

    manycall eval simpleqa -m MODEL -o answers.jsonl
    manycall judge answers.jsonl --rubric simpleqa -m JUDGE -o graded.jsonl

The question alone is sent, as in OpenAI's simple-evals; for Chinese SimpleQA the prompt is evalscope's. The score
`answer-in-text` of the first command is not the benchmark's: it is the share of responses that contain the right answer
letter by letter. Scores of two judges are not comparable. OpenAI's judge is gpt-4.1-2025-04-14.
"""

from manycall.evals.scoring.text_answers import after_thinking
from manycall.evals.tasks.benchmark import Benchmark
from manycall.evals.tasks.hub_files import HubFile
from manycall.evals.tasks.published_data import PublishedData
from manycall.evals.tasks.task import Filter, Task
from manycall.evals.tasks.url_files import UrlFile
from manycall.records import Fields

ENGLISH = UrlFile(
    "https://openaipublic.blob.core.windows.net/simple-evals/simple_qa_test_set.csv",
    "feee3f7e7db3617e94e8fcf1977b756ec420ef8568f4e0fcbbe0e92e9d5fc032",
)
CHINESE = HubFile("OpenStellarTeam/Chinese-SimpleQA", "main", "chinese_simpleqa.jsonl")
"""Its checksum is that of the first download."""


def convert(fields: Fields, _: str) -> Fields:
    """Return the row of a published question."""
    row = {"question": str(fields["problem"]), "answer": str(fields["answer"])}
    return {"id": str(fields["id"]), **row} if "id" in fields else row


def convert_chinese(fields: Fields, _: str) -> Fields:
    """Return the row of a published Chinese question."""
    names = ("id", "question", "answer", "primary_category")
    return {name: str(fields[name]) for name in names if name in fields or name in ("question", "answer")}


def contains_answer(response: str, fields: Fields) -> tuple[bool, float]:
    """Return whether a response contains the right answer, without regard to case, as a truth value and as a score."""
    found = fields["answer"].casefold() in after_thinking(response).casefold()
    return found, float(found)


def planted(fields: Fields) -> tuple[str, str]:
    """Return a right and a wrong response."""
    return f"It is {fields['answer']}.", "It is something else."


def _task(name: str, prompt: str, loader: PublishedData) -> Task:
    return Task(
        rows=(),
        prompt=prompt,
        extract={"answer-in-text": Filter(contains_answer)},
        scorer=lambda answer, target: 0.0,  # the filter has its own
        name=name,
        is_fast=True,
        rubric=name,
        planted=planted,
        loader=loader,
    )


BENCHMARKS = (
    Benchmark(
        _task("simpleqa", "{{ question }}", PublishedData((ENGLISH,), convert, "simpleqa.csv")),
        4326,
        "OpenAI simple-evals, with a judge",
        "openai/simple-evals",
        metric="",
    ),
    Benchmark(
        _task(
            "chinese_simpleqa",
            "请回答问题：\n\n{{ question }}",
            PublishedData((CHINESE,), convert_chinese, "chinese_simpleqa.jsonl"),
        ),
        3000,
        "evalscope, with a judge",
        CHINESE.repo,
        metric="",
    ),
)
