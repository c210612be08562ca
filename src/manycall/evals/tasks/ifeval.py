"""IFEval: 541 prompts with 834 instructions that a program can verify (Zhou et al., 2023, arXiv:2311.07911).

    {"key": 1000, "prompt": "Write a summary of ... Do not use any commas and highlight at least 3 sections ...",
     "instruction_id_list": ["punctuation:no_comma", "detectable_format:number_highlighted_sections"],
     "kwargs": [{}, {"num_highlights": 3}]}

License of the data: Apache-2.0. The task reproduces `ifeval` (version 4.0) in lm-evaluation-harness 0.4.13. Its
scores are the share of prompts all of whose instructions are followed, and the share of instructions that are followed;
strict, and loose, which also accepts a response without its first line, its last line or its asterisks. As in lm-eval,
thinking text in a response is checked too. Deliberate differences:

- langdetect has a fixed seed. lm-eval's has none, so its verdict on the language of a text can change.
- Keys 1122 and 1129 count the characters # and !, for which lm-eval draws a random letter each time.
"""

from collections.abc import Callable, Mapping
from typing import Any

from manycall.evals.ifeval.instruction_checks import followed_instructions
from manycall.evals.tasks.benchmark import LM_EVAL, Benchmark
from manycall.evals.tasks.hub_files import HubFile
from manycall.evals.tasks.published_data import PublishedData
from manycall.evals.tasks.task import Filter, Task
from manycall.records import Fields

FILE = HubFile(
    "google/IFEval",
    "966cd89545d6b6acfd7638bc708b98261ca58e84",
    "ifeval_input_data.jsonl",
    sha256="6a85310ca8ce15eff755aa08a3a4ff931c7e273e7515ebb3c492ea85fd8288f2",
)


def convert(fields: Fields, file: str) -> Fields:
    """Return the row of a published prompt, after checking that its instructions and their arguments are known."""
    names, arguments = list(fields["instruction_id_list"]), list(fields["kwargs"])
    given = [{key: value for key, value in each.items() if value} for each in arguments]
    row = {"question": str(fields["prompt"]), "instruction_id_list": names, "kwargs": given}
    followed_instructions(row, "A response.")
    return {"id": str(fields["key"]), **row}


def _prompt_score(*, loose: bool) -> Filter:
    def grade(response: str, fields: Mapping[str, Any]) -> tuple[list[bool], float]:
        followed = followed_instructions(fields, response, loose=loose)
        return followed, float(all(followed))

    return Filter(grade)


def _instruction_score(*, loose: bool) -> Filter:
    def grade(response: str, fields: Mapping[str, Any]) -> tuple[list[bool], float]:
        followed = followed_instructions(fields, response, loose=loose)
        return followed, sum(followed) / len(followed)

    return Filter(grade, weight=lambda fields: len(fields["instruction_id_list"]))


PLANTED: Mapping[str, Callable[..., str]] = {
    "detectable_format:title": lambda: "<<A short answer>>",
    "keywords:existence": lambda keywords: f"Here are {' and '.join(keywords)}.",
    "detectable_format:number_bullet_lists": lambda num_bullets: "\n".join(["* One more point."] * num_bullets),
    "detectable_content:number_placeholders": lambda num_placeholders: " ".join(["[name]"] * num_placeholders),
    "detectable_content:postscript": lambda postscript_marker: f"{postscript_marker} That is all.",
    "startend:end_checker": lambda end_phrase: end_phrase,
    "punctuation:no_comma": lambda: "This sentence has none.",
}
"""What follows the instructions of the made-up rows, by the id of the instruction."""


def planted(fields: Fields) -> tuple[str, str]:
    """Return a response that follows all instructions of a made-up row, and one that follows none."""
    parts = zip(fields["instruction_id_list"], fields["kwargs"], strict=True)
    return "\n".join(PLANTED[name](**arguments) for name, arguments in parts), "Well, no."


TASK = Task(
    rows=(),
    prompt="{{ question }}",
    extract={
        "prompt_level_strict_acc": _prompt_score(loose=False),
        "inst_level_strict_acc": _instruction_score(loose=False),
        "prompt_level_loose_acc": _prompt_score(loose=True),
        "inst_level_loose_acc": _instruction_score(loose=True),
    },
    scorer=lambda answer, target: 0.0,  # every filter has its own
    target="instruction_id_list",
    name="ifeval",
    params={"max_tokens": 1280, "temperature": 0.0, "stop": [], "seed": 1234},
    body_format="lm-eval",
    planted=planted,
    loader=PublishedData((FILE,), convert, "ifeval.jsonl", extra="ifeval"),
)
BENCHMARKS = (Benchmark(TASK, 541, LM_EVAL, FILE.repo, "ifeval", metric="", version=4.0),)
