"""Minimal client with aiohttp: N workers, one iterator of rows, one file; uvloop and msgspec.

It does without everything that costs time in each call and that a script can do without: no cookies, no limit on the
number of connections, no proxies from the environment (`trust_env=False` is aiohttp's default), no timeout, a URL that
is parsed once, no automatic headers, no decompression. Only the needed fields are decoded (typed_rows.py).
"""

import asyncio

import aiohttp
import uvloop
from yarl import URL

from contract import Job, drive
from typed_rows import call, line, read_row, read_text


async def loop(job: Job) -> int:
    """Make a call for every row and write the answers as they arrive."""
    lines, done = job.lines(), 0
    url = URL(job.url + "/chat/completions")
    with job.out.open("wb", buffering=2**20) as out:
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            headers=job.headers,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding"),
            auto_decompress=False,
            raise_for_status=True,
        ) as session:

            async def worker() -> None:
                nonlocal done
                for each in lines:
                    row = read_row(each)
                    async with session.post(url, data=call(row)) as reply:
                        text = read_text(await reply.read())
                    out.write(line(row, text))
                    done += 1

            await asyncio.gather(*(worker() for _ in range(job.in_flight)))
    return done


if __name__ == "__main__":
    drive(lambda job: uvloop.run(loop(job)))
