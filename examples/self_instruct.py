"""Self-Instruct (Wang et al. 2023): ten new instructions from six examples. python examples/self_instruct.py [URL]"""

import sys

import manycall

seeds = [f"{verb} {what}." for verb in ("Explain", "Summarise", "Translate", "Compare") for what in ("a poem", "a law")]
prompt = """Here are some tasks that one might give an assistant:
{% for task in tasks %}- {{ task }}
{% endfor %}Write ten new ones of other kinds, each of one or two sentences, all to be done in words alone."""
url = sys.argv[1] if len(sys.argv) > 1 else "sim"
result = manycall.generate(
    prompt, samples=20, model="any", base_url=url, out="instructions.jsonl", output_field="instruction",
    random_vars={"tasks": {"values": seeds, "count": 6}},  # six random examples for each call
    schema={"type": "array", "items": {"type": "string"}},  # each of the ten becomes a row
)  # fmt: skip
print(result)
