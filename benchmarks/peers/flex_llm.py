"""flexllm with its own JSONL output."""

import uvloop
from flexllm import LLMClient

from contract import Job, drive


async def batch(job: Job) -> int:
    """Run its batch function on all messages."""
    messages = [[{"role": "user", "content": row["prompt"]}] for row in job.read()]
    async with LLMClient(model="mock", base_url=job.url, api_key=job.key, concurrency_limit=job.in_flight) as client:
        result = await client.chat_batch(messages, output_jsonl=str(job.out), show_progress=False)
    return sum(one.ok for one in result)


if __name__ == "__main__":
    drive(lambda job: uvloop.run(batch(job)))
