"""Single calls with the client in an async program. python examples/client.py [URL]"""

import asyncio
import sys

import manycall


async def main(url: str) -> None:
    async with manycall.Client(model="any", base_url=url, params={"temperature": 0.7}) as llm:
        reply = await llm.chat("Name a colour.", max_tokens=16)
        print(reply.text, reply.finish_reason, reply.usage)
        replies = await asyncio.gather(*(llm.chat(f"Name an animal with {n} legs.") for n in range(8)))
        print(len({reply.text for reply in replies}), "different answers")


asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "sim"))
