"""Lower bound with output: minimal client with pyreqwest: N workers, one iterator of rows, one file."""

import asyncio

import msgspec
import uvloop
from pyreqwest.client import ClientBuilder

from contract import Job, drive


async def loop(job: Job) -> int:
    """Make a call for every row and write the answers as they arrive."""
    lines, done = job.lines(), 0
    url = job.url + "/chat/completions"
    headers = {"content-type": "application/json"}
    with job.out.open("wb", buffering=2**20) as out:
        async with ClientBuilder().error_for_status(True).default_headers(headers).build() as client:

            async def worker() -> None:
                nonlocal done
                for line in lines:
                    row = msgspec.json.decode(line)
                    body = {"model": "mock", "messages": [{"role": "user", "content": row["prompt"]}]}
                    reply = await client.post(url).body_bytes(msgspec.json.encode(body)).build().send()
                    answer = msgspec.json.decode(await reply.bytes())
                    row["text"] = answer["choices"][0]["message"]["content"]
                    out.write(msgspec.json.encode(row) + b"\n")
                    done += 1

            await asyncio.gather(*(worker() for _ in range(job.in_flight)))
    return done


if __name__ == "__main__":
    drive(lambda job: uvloop.run(loop(job)))
