"""Evol-Instruct: make an instruction harder or derive another one from it (WizardLM, Xu et al. 2023, arXiv 2304.12244).

The paper has four operations in depth and one in breadth. The wording of the prompts here is not taken from the paper.
"""

from collections.abc import Mapping

from manycall.data.variables import hash_seed, hash_uniform

_HARDER = "Rewrite this instruction so that it becomes a little harder: {}. Add 10 to 20 words at most."
_OTHER = "Write a wholly new instruction: {}. Make it as long and as hard as this one."
_FRAME = (
    "{} It must stay one that a person understands and can answer. Keep its language. Write the new instruction alone, "
    "without a heading or a remark.\n\nThe instruction:\n{{{{ instruction }}}}"
)
_INSTRUCTIONS = {
    "constrain": _HARDER.format("it has one more requirement or constraint"),
    "deepen": _HARDER.format("it asks more deeply, or more widely, about the same"),
    "concretise": _HARDER.format("what is general in it gives way to something more particular"),
    "reason": _HARDER.format("where it could be answered without much thought, it now needs several steps"),
    "broaden": _OTHER.format("of the same field, about something rarer"),
}
OPERATIONS = {name: _FRAME.format(instruction) for name, instruction in _INSTRUCTIONS.items()}
"""Name of the operation → its prompt, a template with the field `instruction`."""


def pick_operation(operations: Mapping[str, str], seed: int, row_id: str, turn: int) -> str:
    """Return the operation for a round of a row. All are equally likely, and equal arguments give the same one."""
    names = list(operations)
    return names[int(hash_uniform(hash_seed(seed, row_id, "evolve", str(turn))) * len(names))]
