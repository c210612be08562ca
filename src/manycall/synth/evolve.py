"""Evol-Instruct: an instruction is made harder, or another one is made of it, as WizardLM's authors do (Xu et al. 2023,
arXiv 2304.12244, which has four ways in depth and one in breadth). The words are our own.
"""

from collections.abc import Mapping

from manycall.data.variables import chance, place

_HARDER = "Rewrite this instruction so that it becomes a little harder: {}. Add 10 to 20 words at most."
_OTHER = "Write a wholly new instruction: {}. Make it as long and as hard as this one."
_FRAME = (
    "{} It must stay one that a person understands and can answer. Keep its language. Write the new instruction alone, "
    "without a heading or a remark.\n\nThe instruction:\n{{{{ instruction }}}}"
)
_ASKED = {
    "constrain": _HARDER.format("it has one more requirement or constraint"),
    "deepen": _HARDER.format("it asks more deeply, or more widely, about the same"),
    "concretise": _HARDER.format("what is general in it gives way to something more particular"),
    "reason": _HARDER.format("where it could be answered without much thought, it now needs several steps"),
    "broaden": _OTHER.format("of the same field, about something rarer"),
}
WAYS = {name: _FRAME.format(asked) for name, asked in _ASKED.items()}
"""What each way asks; templates over `instruction`."""


def drawn(ways: Mapping[str, str], seed: int, row_id: str, turn: int) -> str:
    """The way of this row's turn: always the same, each as likely."""
    names = list(ways)
    return names[int(chance(place(seed, row_id, "evolve", str(turn))) * len(names))]
