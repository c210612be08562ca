"""`manycall run` with a function of one call, through its Python function."""

from typing import Any

import manycall
from contract import Job, drive


async def ask(row: dict[str, Any], llm: manycall.Calls) -> dict[str, Any]:
    """The shortest function that a user could write."""
    return {"text": (await llm.chat(row["prompt"])).text}


def run(job: Job) -> int:
    """A whole run: rows, journal, output, report."""
    report = manycall.map(
        ask, job.rows, model="mock", url=job.url, out=job.out, concurrency=job.in_flight, limit=job.count,
        progress=False,
    )  # fmt: skip
    return report.done


if __name__ == "__main__":
    drive(run)
