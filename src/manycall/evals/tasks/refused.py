"""Benchmarks that are left out, with the reason."""

_RUNS_CODE = (
    "scoring it executes code that a model wrote, and manycall has no sandbox. Generate the answers with "
    "`manycall generate` and score them with evalplus or in a container."
)
_PREFILL = "it begins the answer of the assistant itself, and servers disagree about what follows such a beginning."
_BASE_MODELS = (
    "its stop strings were made for base models, so a chat model scores about 0. Use your own file with --scorer exact "
    "and lists of answers."
)
_NO_BOX = (
    "it reads the text between the first and the last dollar sign and never a box, so a chat model scores about 0. Use "
    "math500 or minerva_math500."
)
_LOGLIKELIHOOD = "it needs log-likelihoods of given answers, which chat APIs do not return."
_OTHER_PROGRAM = "it needs {}, for which other programs are made."
REFUSED: dict[str, str] = {
    "humaneval": _RUNS_CODE,
    "mbpp": _RUNS_CODE,
    "livecodebench": _RUNS_CODE,
    "ruler": "its questions are generated to fill a length in tokens, which needs the tokenizer of the model.",
    "niah": "its questions are generated to fill a length in tokens, which needs the tokenizer of the model.",
    "longbench": "its questions are truncated by the tokenizer of the model.",
    "hendrycks_math": _NO_BOX,
    "hendrycks_math500": _NO_BOX,
    "drop": (
        "lm-eval's task ends an answer at the first period, so that 4.5 becomes 4, and manycall has it in the form of "
        "OpenAI's simple-evals. Use drop_simple_evals."
    ),
    "triviaqa": _BASE_MODELS,
    "nq_open": _BASE_MODELS,
    "arc_challenge_chat": _PREFILL,
    "truthfulqa": "it compares texts with a list by BLEU, and the judge models that it was made for are gone.",
    "jsonschema_bench": (
        "its prompt contains a literal backslash and n, and 256 tokens truncate its answers. `manycall generate "
        "--schema` validates answers."
    ),
    "hle": _OTHER_PROGRAM.format("images and a judge for each row"),
    "tau_bench": _OTHER_PROGRAM.format("an agent with tools"),
    "tau2_bench": _OTHER_PROGRAM.format("an agent with tools"),
    "swe_bench": _OTHER_PROGRAM.format("an agent with tools"),
    "bfcl": _OTHER_PROGRAM.format("calls of tools"),
    "arc_challenge": _LOGLIKELIHOOD,
    "arc_easy": _LOGLIKELIHOOD,
    "hellaswag": _LOGLIKELIHOOD,
    "winogrande": _LOGLIKELIHOOD,
    "piqa": _LOGLIKELIHOOD,
}
"""Why a benchmark is left out, by its name. The reason also holds for names that begin with `NAME_`."""


def refusal_reason(name: str) -> str | None:
    """Return why the benchmark `name` is left out; None if no reason is known."""
    plain = name.lower().replace("-", "_")
    known = [each for each in REFUSED if plain == each or plain.startswith(f"{each}_")]
    return REFUSED[max(known, key=len)] if known else None
