"""Two calls per row: a draft and a grade for it. python examples/judge.py [URL]"""

import sys
from typing import Any

import manycall


async def grade(row: dict[str, Any], llm: manycall.LLM) -> dict[str, Any]:
    draft = await llm.chat(row["question"])
    verdict = await llm.chat(f"Is this a good answer? Say why in a word.\n\n{draft.text}")
    return {"draft": draft.text, "verdict": verdict.text}


questions = [{"question": f"What is {n} times {n}?"} for n in range(40)]
url = sys.argv[1] if len(sys.argv) > 1 else "sim"
print(manycall.map(grade, questions, model="any", base_url=url, out="graded.jsonl"))
