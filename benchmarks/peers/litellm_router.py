"""litellm's Router with N workers (its own batch methods gather all calls at once)."""

import asyncio
import json
import os

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # otherwise it downloads a price list
# The default is 1,000 connections, 500 per host. With 0, aiohttp's own limit of 100 would apply.
os.environ["AIOHTTP_CONNECTOR_LIMIT"] = os.environ["AIOHTTP_CONNECTOR_LIMIT_PER_HOST"] = "20000"

import uvloop
from litellm import Router

from contract import Job, drive


async def loop(job: Job) -> int:
    """Make a call for every row and write the answers as they arrive."""
    deployment = {"model": "openai/mock", "api_base": job.url, "api_key": job.key}
    router = Router(model_list=[{"model_name": "mock", "litellm_params": deployment}], num_retries=3)
    lines, done = job.lines(), 0
    with job.out.open("w", encoding="utf-8") as out:

        async def worker() -> None:
            nonlocal done
            for line in lines:
                row = json.loads(line)
                reply = await router.acompletion("mock", [{"role": "user", "content": row["prompt"]}])
                row["text"] = reply.choices[0].message.content
                out.write(json.dumps(row, ensure_ascii=False) + "\n")
                done += bool(row["text"])

        await asyncio.gather(*(worker() for _ in range(job.in_flight)))
    return done


if __name__ == "__main__":
    drive(lambda job: uvloop.run(loop(job)))
