"""An independent server, aimock, that drops, garbles, cuts and refuses at random."""

import json
import os
import time
from pathlib import Path

from shell import finish
from torture.restart import free_port, serving
from torture.trial import Plan, Result
from torture.work import Output, Work

LLMOCK = "AIMOCK"
"""Environment variable: the path of its program, node_modules/.bin/llmock (npm install @copilotkit/aimock)."""
CASES = {
    "faults": (20_000, 1000, {"drop": 0.05, "malformed": 0.05, "disconnect": 0.05}),
    "faults and 429": (20_000, 0, {"drop": 0.05, "malformed": 0.05, "disconnect": 0.05, "ratelimit": 0.1}),
}
"""How many calls in the long form and in the short one, and which share of them comes to what. With its 429s aimock
says that it takes 60 calls a minute, which it does not mean."""


def trial(plan: Plan) -> Result:
    """Every row done, by the first command, in spite of all."""
    program = os.environ.get(LLMOCK, "")
    if not Path(program).is_file():
        return Result(skipped=f"{LLMOCK} does not say where aimock's llmock is (npm install @copilotkit/aimock)")
    result = Result()
    answers = plan.folder / "answers.json"
    answers.write_text(json.dumps({"fixtures": [{"match": {}, "response": {"content": "hi"}}]}))
    for name, (long, short, chaos) in CASES.items():
        if rows := long if plan.long else short:
            port, out = free_port(), Output(plan.folder / name / "out.jsonl")
            command = [program, "--port", str(port), "--fixtures", str(answers), "--log-level", "silent"]
            command += [word for fault, share in chaos.items() for word in (f"--chaos-{fault}", str(share))]
            work, url = Work("generate", ("generate", "-p", "x", "-n", str(rows)), rows), f"http://127.0.0.1:{port}/v1"
            with serving(command, url) as model, result.case(name) as case:
                began = time.monotonic()
                ended = finish(work.begin(url, out, "-m", model), 1800)
                result.figures[f"seconds for {rows:,} calls with {name}"] = round(time.monotonic() - began)
                case.faults += out.session["retries"]
                case.violations += [f"it ended with {ended.code}: {ended.out}{ended.err}"] * bool(ended.code)
                case.violations += out.audit(map(str, range(rows)), calls=rows, finished=0, most=0)
    return result
