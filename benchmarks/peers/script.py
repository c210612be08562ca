"""A typical script: AsyncOpenAI, a semaphore, as_completed over all tasks, a buffer of 100 lines."""

import asyncio
import json
from typing import Any

import uvloop
from openai import AsyncOpenAI, DefaultAsyncHttpxClient

from contract import Job, drive

FLUSH_EVERY = 100


async def script(job: Job, http_client: Any = None) -> int:
    """Make a call for every row and write the answers as they arrive."""
    client = AsyncOpenAI(base_url=job.url, api_key=job.key, http_client=http_client or DefaultAsyncHttpxClient())
    slots = asyncio.Semaphore(job.in_flight)
    done = 0

    async def ask(row: dict[str, str]) -> dict[str, str | None]:
        async with slots:
            reply = await client.chat.completions.create(
                model="mock", messages=[{"role": "user", "content": row["prompt"]}]
            )
        return {**row, "text": reply.choices[0].message.content}

    with job.out.open("w", encoding="utf-8") as out:
        buffer = []
        for next_one in asyncio.as_completed([asyncio.create_task(ask(row)) for row in job.read()]):
            answer = await next_one
            done += bool(answer["text"])
            buffer.append(json.dumps(answer, ensure_ascii=False) + "\n")
            if len(buffer) >= FLUSH_EVERY:
                out.writelines(buffer)
                out.flush()
                buffer.clear()
        out.writelines(buffer)
    await client.close()
    return done


if __name__ == "__main__":
    drive(lambda job: uvloop.run(script(job)))
