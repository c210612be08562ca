"""The script with as many connections as calls in flight (the SDK's default is 1,000, of which 100 are kept open)."""

import httpx2
import uvloop
from openai import DefaultAsyncHttpxClient

from contract import Job, drive
from script import script


async def unlimited(job: Job) -> int:
    """Run the same script with another connection pool."""
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=None)
    return await script(job, DefaultAsyncHttpxClient(limits=limits))


if __name__ == "__main__":
    drive(lambda job: uvloop.run(unlimited(job)))
