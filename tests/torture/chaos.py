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
LONG, SHORT = 20_000, 1000
CHAOS = {"drop": 0.05, "malformed": 0.05, "disconnect": 0.05, "ratelimit": 0.1}
"""Which faults, and the share of calls for each."""


def trial(plan: Plan) -> Result:
    """Every row done, by the first command, in spite of one failure in four calls."""
    program = os.environ.get(LLMOCK, "")
    if not Path(program).is_file():
        return Result(skipped=f"{LLMOCK} does not say where aimock's llmock is (npm install @copilotkit/aimock)")
    result, port = Result(), free_port()
    answers = plan.folder / "answers.json"
    answers.write_text(json.dumps({"fixtures": [{"match": {}, "response": {"content": "hi"}}]}))
    command = [program, "--port", str(port), "--fixtures", str(answers), "--log-level", "silent"]
    command += [word for fault, share in CHAOS.items() for word in (f"--chaos-{fault}", str(share))]
    rows, out = LONG if plan.long else SHORT, Output(plan.folder / "out.jsonl")
    work = Work("generate", ("generate", "-p", "x", "-n", str(rows)), rows)
    with serving(command, f"http://127.0.0.1:{port}/v1") as model, result.case("aimock") as case:
        began = time.monotonic()
        ended = finish(work.begin(f"http://127.0.0.1:{port}/v1", out, "-m", model), 1800)
        result.figures["rows"] = rows
        result.figures["seconds"] = round(time.monotonic() - began)
        result.figures["retries"] = case.faults = out.session["retries"]
        case.violations += [f"it ended with {ended.code}: {ended.out}{ended.err}"] * bool(ended.code)
        case.violations += out.audit(map(str, range(rows)), calls=rows, finished=0, most=0)
    return result
