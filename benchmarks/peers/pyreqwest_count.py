"""Lower bound: pyreqwest sends the same request repeatedly and counts the answers; no rows, no JSON, no file."""

import asyncio

import msgspec
import uvloop
from pyreqwest.client import ClientBuilder

from contract import Job, drive


async def loop(job: Job) -> int:
    """Send the request of the first row once for each row."""
    done = 0
    url = job.url + "/chat/completions"
    prompt = msgspec.json.decode(next(job.lines()))["prompt"]
    body = msgspec.json.encode({"model": "mock", "messages": [{"role": "user", "content": prompt}]})
    turns = iter(range(job.count))
    async with ClientBuilder().error_for_status(True).default_headers(job.headers).build() as client:

        async def worker() -> None:
            nonlocal done
            for _ in turns:
                reply = await client.post(url).body_bytes(body).build().send()
                done += len(await reply.bytes()) > 0

        await asyncio.gather(*(worker() for _ in range(job.in_flight)))
    return done


if __name__ == "__main__":
    drive(lambda job: uvloop.run(loop(job)))
