"""Minimal client with aiohttp: N workers, one iterator of rows, one file; uvloop and msgspec.

The session stores no cookies, the number of connections is not limited, and proxies in the environment are ignored
(`trust_env=False` is aiohttp's default).
"""

import asyncio

import aiohttp
import msgspec
import uvloop

from contract import Job, drive


async def loop(job: Job) -> int:
    """Make a call for every row and write the answers as they arrive."""
    lines, done = job.lines(), 0
    url = job.url + "/chat/completions"
    headers = {"content-type": "application/json"}
    with job.out.open("wb", buffering=2**20) as out:
        connector, cookies = aiohttp.TCPConnector(limit=0), aiohttp.DummyCookieJar()
        async with aiohttp.ClientSession(connector=connector, headers=headers, cookie_jar=cookies) as session:

            async def worker() -> None:
                nonlocal done
                for line in lines:
                    row = msgspec.json.decode(line)
                    body = {"model": "mock", "messages": [{"role": "user", "content": row["prompt"]}]}
                    async with session.post(url, data=msgspec.json.encode(body)) as reply:
                        reply.raise_for_status()
                        answer = msgspec.json.decode(await reply.read())
                    row["text"] = answer["choices"][0]["message"]["content"]
                    out.write(msgspec.json.encode(row) + b"\n")
                    done += 1

            await asyncio.gather(*(worker() for _ in range(job.in_flight)))
    return done


if __name__ == "__main__":
    drive(lambda job: uvloop.run(loop(job)))
