"""The script with the SDK's aiohttp transport and as many connections as calls in flight.

The number is explicit, because with `max_connections=None` aiohttp's own limit of 100 applies.
"""

import httpx2
import uvloop
from openai import DefaultAioHttpClient

from contract import Job, drive
from script import script


async def on_aiohttp(job: Job) -> int:
    """Run the same script with another transport."""
    return await script(job, DefaultAioHttpClient(limits=httpx2.Limits(max_connections=20_000)))


if __name__ == "__main__":
    drive(lambda job: uvloop.run(on_aiohttp(job)))
