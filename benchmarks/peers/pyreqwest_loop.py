"""Lower bound with output: minimal client with pyreqwest: N workers, one iterator of rows, one file.

It uses uvloop and msgspec. Only the needed fields are decoded, by decoders with a type (typed_rows.py).
"""

import asyncio

import uvloop
from pyreqwest.client import ClientBuilder

from contract import Job, drive
from typed_rows import call, line, read_row, read_text


async def loop(job: Job) -> int:
    """Make a call for every row and write the answers as they arrive."""
    lines, done = job.lines(), 0
    url = job.url + "/chat/completions"
    with job.out.open("wb", buffering=2**20) as out:
        async with ClientBuilder().error_for_status(True).default_headers(job.headers).build() as client:

            async def worker() -> None:
                nonlocal done
                for each in lines:
                    row = read_row(each)
                    reply = await client.post(url).body_bytes(call(row)).build().send()
                    out.write(line(row, read_text(await reply.bytes())))
                    done += 1

            await asyncio.gather(*(worker() for _ in range(job.in_flight)))
    return done


if __name__ == "__main__":
    drive(lambda job: uvloop.run(loop(job)))
