"""`manycall run` with a function of one call, through its Python function."""

from typing import Any

import manycall
from contract import Job, drive


async def ask(row: dict[str, Any], llm: manycall.LLM) -> dict[str, Any]:
    """Make one call: the shortest function that a user could write."""
    return {"text": (await llm.chat(row["prompt"])).text}


def run(job: Job) -> int:
    """Run a complete job: rows, journal, output, summary."""
    report = manycall.map(
        ask, job.rows, model="mock", base_url=job.url, out=job.out, concurrency=job.in_flight, limit=job.count,
        progress=False,
    )  # fmt: skip
    return report.done


if __name__ == "__main__":
    drive(run)
