"""GSM8K with 1 and with 8 calls in flight; by default 12 made-up questions. python examples/gsm8k.py [URL]"""

import sys

import manycall

url = sys.argv[1] if len(sys.argv) > 1 else "sim:latency=0.2,token_latency=0"
seconds = {}
for concurrency in (1, 8):
    result = manycall.evaluate(
        "gsm8k", model="any", base_url=url, out=f"gsm8k-{concurrency}.jsonl", concurrency=concurrency, limit=40
    )
    assert result.run is not None
    seconds[concurrency] = result.run.seconds
    print(result)
print(f"8 in flight: {seconds[1] / seconds[8]:.1f} times as fast")
