"""Self-Instruct (Wang et al. 2023): new instructions from eight old ones, ten a call. python examples/self_instruct.py [URL]"""

import sys

import manycall

seeds = [f"{verb} {what}." for verb in ("Explain", "Summarise", "Translate", "Compare") for what in ("a poem", "a law")]
prompt = """Here are some tasks that one might give an assistant:
{% for task in tasks %}- {{ task }}
{% endfor %}Write ten new ones of other kinds, each of one or two sentences, none that only a person with hands could do."""
report = manycall.generate(
    prompt,
    samples=20,
    draw={"tasks": {"from": seeds, "take": 6}},  # six others for each call
    schema={"type": "array", "items": {"type": "string"}},  # each of the ten becomes a row
    field="instruction",
    model="any",
    url=sys.argv[1] if len(sys.argv) > 1 else "sim",
    out="instructions.jsonl",
)
print(report)
