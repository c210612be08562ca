"""The least code with aiohttp: N workers, one iterator of rows, one file; uvloop and msgspec.

The session keeps no cookies, the number of connections has no limit, and no call looks for a proxy in the environment
(`trust_env=False` is aiohttp's default).
"""

import asyncio

import aiohttp
import msgspec
import uvloop

from contract import Job, drive


async def loop(job: Job) -> int:
    """Ask for every row, write the answers as they come."""
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
