"""DROP: 9,535 questions about passages that need counting, sums or several places (Dua et al., 2019, arXiv:1903.00161).

    {"context": "Passage: ...\\nQuestion: ...\\nAnswer:", "completion": " ...", "ref_text": "...|..."}

License: CC BY-SA 4.0. The task follows OpenAI's simple-evals: three examples from the training set, drawn with
`random.Random(42)`, and a last line "Answer: ...". simple-evals draws the examples in the order in which its threads
start; here they are drawn in the order of the file. The benchmark's number is `f1`.
"""

from collections.abc import Sequence

from manycall.evals.scoring.drop_answers import best_exact_match, best_word_f1, stated_answer
from manycall.evals.tasks.benchmark import Benchmark
from manycall.evals.tasks.drop_data import DropData, read_gzip
from manycall.evals.tasks.task import Task, row_filter
from manycall.evals.tasks.url_files import UrlFile
from manycall.records import Fields

URL = "https://openaipublic.blob.core.windows.net/simple-evals/drop_v0_{}.jsonl.gz"
OPENING = (
    "You will be asked to read a passage and answer a question. Some examples of passages and Q&A are provided below."
    "\n\n# Examples"
)
CLOSING = (
    '\n\nThink step by step, then write a line of the form "Answer: $ANSWER" at the end of your response.\n' + " " * 20
)


def convert(fields: Fields, _: str) -> Fields:
    """Return the row of a published question."""
    return {
        "question": str(fields["context"]),
        "answer": str(fields["ref_text"]),
        "completion": str(fields["completion"]),
    }


def passage_prompt(fields: Fields, shots: Sequence[Fields] = ()) -> str:
    """Return the user message, with these examples."""
    examples = "".join(f"\n---\n{shot['question']} {shot['completion']}\n" for shot in shots)
    return f"{OPENING}{examples}\n# Your Task\n\n---\n{fields['question']} {CLOSING}"


def planted(fields: Fields) -> tuple[str, str]:
    """Return a right and a wrong response."""
    return f"We look it up.\nAnswer: {fields['answer'].split('|')[0]}", "We look it up.\nAnswer: unknown"


TASK = Task(
    rows=(),
    prompt=passage_prompt,
    extract={
        "em": row_filter(lambda response, _: stated_answer(response), best_exact_match),
        "f1": row_filter(lambda response, _: stated_answer(response), best_word_f1),
    },
    scorer=best_word_f1,
    name="drop_simple_evals",
    num_fewshot=3,
    is_fast=True,
    planted=planted,
    loader=DropData(
        files=(UrlFile(URL.format("dev")),), convert=convert, sample="drop.jsonl", read=read_gzip,
        suffixes=(".jsonl", ".gz"), fewshot_files=(UrlFile(URL.format("train")),), fewshot_sample="drop_train.jsonl",
        make_prompt=passage_prompt,
    ),
)  # fmt: skip
BENCHMARKS = (Benchmark(TASK, 9535, "OpenAI simple-evals", "openai/simple-evals", metric=""),)
