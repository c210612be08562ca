"""Evol-Instruct: make an instruction harder or derive another one from it (WizardLM, Xu et al. 2023, arXiv 2304.12244).

The paper has four operations in depth and one in breadth. The wording of the prompts here is not taken from the paper.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from manycall.client.requests import LLM
from manycall.data.prompt_error import PromptError
from manycall.data.prompt_template import PromptTemplate
from manycall.data.variables import hash_seed, hash_uniform
from manycall.errors import RowRejected, UsageError
from manycall.records import Row
from manycall.run.job import refuse_choices
from manycall.synth.step_base import CompiledStep, Step, StepContext, endpoint_identity

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


class Evolve(Step):
    """Evolve an instruction in several rounds, each with an operation chosen at random.

    Attributes:
        evolve: the field with the instruction.
        output_field: the field for the result; the operations go to `<output_field>_operations`.
        rounds: number of rounds.
        operations: names from `OPERATIONS`, or name → template with the field `instruction`.
        params: request parameters in addition to those of the run.
        endpoint: name of the endpoint of the calls, in endpoints.toml. Default: the run's.
    """

    evolve: str
    output_field: str = "evolved"
    rounds: int = 1
    operations: list[str] | dict[str, str] = msgspec.field(default_factory=lambda: list(OPERATIONS))
    params: dict[str, Any] = msgspec.field(default_factory=dict)
    endpoint: str = ""

    def compile(self, context: StepContext) -> CompiledStep:
        refuse_choices(self.params)
        if isinstance(self.operations, list) and (
            unknown := [name for name in self.operations if name not in OPERATIONS]
        ):
            raise UsageError(f"Unknown evolve operation {unknown[0]!r}. Available operations: {', '.join(OPERATIONS)}.")
        operations = (
            self.operations
            if isinstance(self.operations, dict)
            else {name: OPERATIONS[name] for name in self.operations}
        )
        if not operations or self.rounds < 1:
            raise UsageError("evolve needs at least one operation and rounds ≥ 1.")
        templates = {name: PromptTemplate(prompt) for name, prompt in operations.items()}
        operations_field = f"{self.output_field}_operations"

        async def function(row: Row, llm: LLM) -> dict[str, Any]:
            if self.evolve not in row.fields:
                raise PromptError(f"The row does not have the field {self.evolve!r} that evolve uses.")
            text, applied = str(row.fields[self.evolve]), []
            for turn in range(self.rounds):
                name = pick_operation(operations, context.seed, row.id, turn)
                messages = templates[name].messages(Row(row.id, {"instruction": text}))
                reply = await llm.chat(messages, endpoint=self.endpoint, **self.params)
                if _normalize(reply.text) == _normalize(text):
                    raise RowRejected(f"unchanged by evolve ({name})", **{self.output_field: reply.text})
                text = reply.text.strip()
                applied.append(name)
            return {self.output_field: text, operations_field: applied}

        identity = {
            "evolve": self.evolve,
            "output_field": self.output_field,
            "rounds": self.rounds,
            "operations": operations,
            "params": self.params,
            **endpoint_identity(self.endpoint, self.params),
        }
        writes = (self.output_field, operations_field)
        return CompiledStep(function, writes, {self.evolve}, identity, self.endpoint)


def pick_operation(operations: Mapping[str, str], seed: int, row_id: str, turn: int) -> str:
    """Return the operation for a round of a row. All are equally likely, and equal arguments give the same one."""
    names = list(operations)
    return names[int(hash_uniform(hash_seed(seed, row_id, "evolve", str(turn))) * len(names))]


def _normalize(text: str) -> str:
    return " ".join(text.lower().split())
