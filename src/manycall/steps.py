"""The step types of `manycall.run_steps`."""

from manycall.synth.evolve import Evolve
from manycall.synth.step_types import Assign, Generate, Judge, Keep

__all__ = ["Assign", "Evolve", "Generate", "Judge", "Keep"]
