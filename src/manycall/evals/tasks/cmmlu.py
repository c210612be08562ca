"""CMMLU: 11,582 Chinese questions in 67 subjects, four choices each (Li et al., 2023, arXiv:2306.09212).

    ,Question,A,B,C,D,Answer

The license (CC BY-NC-SA 4.0) does not allow this package to contain the files or to download them unasked:
`test/agronomy.csv` and so on.

- `cmmlu_opencompass` reproduces OpenCompass's `cmmlu_0shot_cot_gen_305931`: the model reasons and ends with
  `答案: X`. Only an ASCII colon is read, and a lower-case letter is wrong. Groups are means of the scores of subjects.
- `cmmlu` is manycall's own: evalscope's prompt, and the scorer `choice`, which reads `答案：B` and `**B**` too.
"""

from functools import partial

from msgspec.structs import replace

from manycall.evals.scoring.choice_answers import equal_letter, final_letter
from manycall.evals.scoring.text_answers import extract_regex
from manycall.evals.tasks.benchmark import Benchmark
from manycall.evals.tasks.ceval import chinese_row, equal, groups_of, step_by_step_prompt
from manycall.evals.tasks.chinese_subjects import CMMLU_CHINA, CMMLU_SUBJECTS
from manycall.evals.tasks.choice_prompts import lettered, planted_letter
from manycall.evals.tasks.subject_shots import SubjectData
from manycall.evals.tasks.task import SubtaskGroup, Task
from manycall.records import Fields

NAMES = {subject: name for subjects in CMMLU_SUBJECTS.values() for subject, name in subjects.items()}
ANSWER = r"(?i)答案\s*:\W*([A-D])"
"""OpenCompass's `答案\\s*:\\s*[\\W]*([A-D])[\\W]*` without the parts that only cost time."""


def convert(fields: Fields, subject: str) -> Fields:
    """Return the row of a question in the file SUBJECT.csv."""
    return chinese_row(fields, subject, NAMES, "Question", "Answer")


def last_line_prompt(fields: Fields) -> str:
    """Return the user message of OpenCompass."""
    return (
        f"请回答以下关于{fields['name']}的单项选择题, 你回答的最后一行**必须**是以下格式 '答案: $选项' (不带引号), "
        "其中选项是ABCD之一. 请在回答之前一步步思考.\n\n"
        f"{fields['question']}\n\n{lettered(fields['choices'], '{}) {}')}"
    )


OPENCOMPASS = Task(
    rows=(),
    prompt=last_line_prompt,
    extract={"first-answer": partial(extract_regex, pattern=ANSWER)},
    scorer=equal,
    name="cmmlu_opencompass",
    subtask="subject",
    groups=groups_of("cmmlu", CMMLU_SUBJECTS, **{"china-specific": CMMLU_CHINA}),
    is_fast=True,
    planted=planted_letter("答案: {}"),
    loader=SubjectData(
        files=(), convert=convert, sample="cmmlu",
        source="cmmlu_v1_0_1.zip of the dataset haonan-li/cmmlu (license CC BY-NC-SA 4.0)",
        questions_folder="test",
    ),
)  # fmt: skip
OURS = replace(
    OPENCOMPASS, prompt=step_by_step_prompt, extract={"choice": final_letter}, scorer=equal_letter, name="cmmlu",
    groups=(SubtaskGroup("cmmlu"),), planted=planted_letter("答案：{}"),
)  # fmt: skip
BENCHMARKS = (
    Benchmark(OURS, 11_582, "manycall", "your copy"),
    Benchmark(OPENCOMPASS, 11_582, "OpenCompass 0.5.4, cmmlu_0shot_cot_gen_305931", "your copy"),
)
