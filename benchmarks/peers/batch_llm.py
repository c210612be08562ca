"""async-batch-llm with its own JSONL store."""

import uvloop
from async_batch_llm import JsonlArtifactStore, llm, process_stream

from contract import Job, drive


async def stream(job: Job) -> int:
    """Consume its stream of results. The store writes each result before the stream yields it."""
    strategy = llm("openai-compatible:mock", base_url=job.url, api_key=job.key)
    prompts = [(row["id"], row["prompt"]) for row in job.read()]
    done = 0
    async for result in process_stream(
        strategy, prompts, concurrency=job.in_flight, artifact_store=JsonlArtifactStore(job.out)
    ):
        done += result.success
    return done


if __name__ == "__main__":
    drive(lambda job: uvloop.run(stream(job)))
