"""C-Eval: Chinese questions in 52 subjects, four choices each (Huang et al., 2023, arXiv:2305.08322), CC BY-NC-SA 4.0.

    id,question,A,B,C,D,answer,explanation

Reports use the 1,346 questions of `val`. The license does not allow this package to contain the files or to download
them unasked: `val/logic_val.csv` and so on, `dev/logic_dev.csv` for the examples, from `ceval-exam.zip`.

- `ceval_opencompass` reproduces OpenCompass's `ceval_gen_5f30c7`: five examples; the answer is the first capital letter
  of the response, of any script, so "The answer is B" is wrong. The groups are means of the scores of subjects.
- `ceval` is manycall's own: evalscope's prompt for a single choice in Chinese, without examples, and the scorer
  `choice`.
"""

from msgspec.structs import replace

from manycall.evals.scoring.choice_answers import equal_letter, final_letter
from manycall.evals.scoring.text_answers import UNPARSED
from manycall.evals.tasks.benchmark import Benchmark
from manycall.evals.tasks.chinese_subjects import CEVAL_HARD, CEVAL_SUBJECTS
from manycall.evals.tasks.choice_prompts import lettered, planted_letter
from manycall.evals.tasks.subject_shots import SubjectData
from manycall.evals.tasks.task import SubtaskGroup, Task
from manycall.records import Fields

LETTERS = "ABCD"
NAMES = {subject: name for subjects in CEVAL_SUBJECTS.values() for subject, name in subjects.items()}


def convert(fields: Fields, name: str) -> Fields:
    """Return the row of a question or an example in the file SUBJECT_val.csv or SUBJECT_dev.csv."""
    subject = name.removesuffix("_val").removesuffix("_dev").removesuffix("_test")
    return chinese_row(fields, subject, NAMES, "question", "answer")


def chinese_row(fields: Fields, subject: str, names: dict[str, str], question: str, answer: str) -> Fields:
    """Return the row of a question with the columns A to D.

    Raises:
        ValueError: the subject is unknown, or the answer is not one of the four letters.
    """
    if subject not in names:
        raise ValueError(f"{subject!r:.50} is not a subject of this benchmark")
    if fields[answer] not in [*LETTERS]:
        raise ValueError(f"the answer {fields[answer]!r:.20} is not A, B, C or D")
    choices = [fields[letter] for letter in LETTERS]
    row = {"subject": subject, "name": names[subject], "question": fields[question], "choices": choices}
    return {**row, "answer": fields[answer]}


def groups_of(name: str, categories: dict[str, dict[str, str]], **more: frozenset[str]) -> tuple[SubtaskGroup, ...]:
    """Return the groups of a benchmark: its categories, more groups, all subjects. Each subject counts the same."""
    members = {category: frozenset(subjects) for category, subjects in categories.items()} | more
    groups = [SubtaskGroup(f"{name}-{group}", subjects, "subtasks") for group, subjects in members.items()]
    return (*groups, SubtaskGroup(name, None, "subtasks"))


def exam_prompt(fields: Fields) -> str:
    """Return the user message of OpenCompass. It ends with a space."""
    choices = lettered(fields["choices"])
    head = f"以下是中国关于{fields['name']}考试的单项选择题，请选出其中的正确答案。"
    return f"{head}\n{fields['question']}\n{choices}\n答案: "


def step_by_step_prompt(fields: Fields) -> str:
    """Return evalscope's user message for a single choice in Chinese. It ends with a newline."""
    return (
        "回答下面的单项选择题，请选出其中的正确答案。你的回答的最后一行应该是这样的格式："
        '"答案：[LETTER]"（不带引号），其中 [LETTER] 是 A,B,C,D 中的一个。请在回答前进行一步步思考。\n\n'
        f"问题：{fields['question']}\n选项：\n{lettered(fields['choices'], '{}) {}')}\n"
    )


def first_capital(response: str) -> str:
    """Return the first capital letter of a response, of any script; UNPARSED if there is none."""
    return next((character for character in response if character.isupper()), UNPARSED)


def equal(answer: str, target: str) -> float:
    """Return 1.0 if answer and target are the same text."""
    return float(answer == target)


DATA = SubjectData(
    files=(),
    convert=convert,
    sample="ceval_val",
    source="ceval-exam.zip of the dataset ceval/ceval-exam (license CC BY-NC-SA 4.0)",
    questions_folder="val",
)
WITH_SHOTS = replace(DATA, make_shot=lambda fields: (exam_prompt(fields), fields["answer"]), fewshot_sample="ceval_dev")
OPENCOMPASS = Task(
    rows=(),
    prompt=exam_prompt,
    extract={"first-capital": first_capital},
    scorer=equal,
    name="ceval_opencompass",
    num_fewshot=5,
    subtask="subject",
    groups=groups_of("ceval", CEVAL_SUBJECTS, hard=CEVAL_HARD),
    is_fast=True,
    planted=planted_letter("{}"),
    loader=WITH_SHOTS,
)
OURS = replace(
    OPENCOMPASS, prompt=step_by_step_prompt, extract={"choice": final_letter}, scorer=equal_letter, name="ceval",
    num_fewshot=None, groups=(SubtaskGroup("ceval"),), planted=planted_letter("答案：{}"), loader=DATA,
)  # fmt: skip
BENCHMARKS = (
    Benchmark(OURS, 1_346, "manycall", "your copy"),
    Benchmark(OPENCOMPASS, 1_346, "OpenCompass 0.5.4, ceval_gen_5f30c7", "your copy"),
)
