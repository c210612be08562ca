"""1,000 stories, 20 calls in flight. python examples/stories.py [URL]"""

import sys

import manycall

url = sys.argv[1] if len(sys.argv) > 1 else "sim"
result = manycall.generate(
    "讲一个吸引人的、简短的故事。", samples=1000, concurrency=20, model="any", base_url=url, out="stories.jsonl"
)
print(result)
print("first story:", next(result.rows())["text"])
