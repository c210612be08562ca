"""The script on the SDK's other transport, with as many connections as calls in flight.

A number, because `max_connections=None` leaves aiohttp's own limit of 100 in force.
"""

import httpx2
import uvloop
from openai import DefaultAioHttpClient

from contract import Job, drive
from script import script


async def on_aiohttp(job: Job) -> int:
    """The same script, another transport."""
    return await script(job, DefaultAioHttpClient(limits=httpx2.Limits(max_connections=20_000)))


if __name__ == "__main__":
    drive(lambda job: uvloop.run(on_aiohttp(job)))
