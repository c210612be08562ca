"""What real servers, and manycall itself, write: to be mutated."""

import base64
import json
from typing import Any

from test_hints import REPLIES as REPLIES_WITH_LIMITS


def lines(*values: Any, ascii_only: bool = False) -> bytes:
    """JSON lines, as they are written."""
    return b"".join(
        json.dumps(value, ensure_ascii=ascii_only, separators=(",", ":")).encode() + b"\n" for value in values
    )


CHAT = lines(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1767225600,
        "model": "gpt-5-mini-2025-08-07",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "四十二 is 42.", "refusal": None, "annotations": []},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": 19,
            "completion_tokens": 10,
            "total_tokens": 29,
            "prompt_tokens_details": {"cached_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0},
        },
        "system_fingerprint": None,
    }
)
VLLM_CHAT = lines(
    {
        "id": "chatcmpl-2",
        "object": "chat.completion",
        "model": "Qwen/Qwen3-8B",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "reasoning_content": "Hm.", "content": "Fine\n", "tool_calls": []},
                "logprobs": None,
                "finish_reason": "length",
                "stop_reason": None,
            }
        ],
        "usage": {"prompt_tokens": 3, "total_tokens": 5, "completion_tokens": 2, "prompt_tokens_details": None},
        "prompt_logprobs": None,
        "kv_transfer_params": None,
    }
)
TOOL_CALL = lines(
    {
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [
                        {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}}
                    ],
                },
                "finish_reason": "tool_calls",
            }
        ],
        "usage": {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12},
    }
)
PARTS = lines(
    {
        "choices": [
            {
                "message": {
                    "content": [
                        {"type": "thinking", "thinking": [{"type": "text", "text": "…"}]},
                        {"type": "text", "text": "in parts"},
                    ]
                },
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 12.0, "completion_tokens": None},
    }
)
COMPLETION = lines(
    {
        "id": "cmpl-1",
        "object": "text_completion",
        "choices": [{"text": " and then", "index": 0, "logprobs": None, "finish_reason": "length"}],
        "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7},
    }
)
EMBEDDINGS = lines(
    {
        "object": "list",
        "data": [
            {"object": "embedding", "index": 1, "embedding": [0.25, -1e-9, 3]},
            {"object": "embedding", "index": 0, "embedding": [0.5, 0.0, -1.5]},
        ],
        "model": "text-embedding-3-small",
        "usage": {"prompt_tokens": 8, "total_tokens": 8},
    }
)
EMPTY = lines({"choices": [{"message": {"content": ""}, "finish_reason": "content_filter"}], "usage": None})
ERRORS = [
    lines(value)
    for value in (
        {
            "error": {
                "message": "Incorrect API key provided: sk-proj-0123456789abcdef. You can find your API key at …",
                "type": "invalid_request_error",
                "param": None,
                "code": "invalid_api_key",
            }
        },
        {"error": {"message": "Rate limit reached\nfor gpt-5", "type": "tokens", "code": "rate_limit_exceeded"}},
        {"object": "error", "message": "no such model", "type": "NotFoundError", "param": None, "code": 404},
        {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}},
        {"detail": [{"type": "missing", "loc": ["body", "messages"], "msg": "Field required", "input": {"a": [1]}}]},
        {"error": "model 'x' not found", "header": "Authorization: Bearer hf_0123456789abcdef"},
        {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}, "request_id": "req_1"},
        [{"error": {"code": 400, "message": "bad", "status": "INVALID_ARGUMENT"}}],
        "upstream connect error",
    )
] + [b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n</html>\r\n", b"", b"null", b"error code: 524\x1b[31m"]
REPLIES = [CHAT, VLLM_CHAT, TOOL_CALL, PARTS, COMPLETION, EMBEDDINGS, EMPTY]

KEY = "0123456789abcdef0123456789abcdef"


def call(row: str, nth: int, body: bytes) -> dict[str, Any]:
    """A line of calls.jsonl."""
    head = {"id": row, "key": KEY, "nth": nth, "at": 1767225600.25, "seconds": 0.5}
    try:
        return head | {"body": body.decode()}
    except UnicodeDecodeError:
        return head | {"body64": base64.b64encode(body).decode()}


JOURNALS = [
    lines(call("a", 1, CHAT), call("a", 2, b"{}\n"), call("b#0", 1, "文\0".encode()), call("c", 1, b"\xff\0\xfe")),
    lines(call("7", 1, ERRORS[0]), call("7", 1, CHAT)),
    lines(call("x" * 5000, 1, b"y" * 70_000), call("z", 1, b"")),
    lines(call("line\n\u2028", 1, VLLM_CHAT), ascii_only=True),
    b"",
]
OUTPUTS = [
    lines(
        {"id": "a", "q": "問", "text": "答"},
        {"id": 7, "n": 10**30, "text": "\u2028"},
        {"id": "b#0", "original_id": "b"},
    ),
    lines({"id": "a", "nested": {"id": "c", "deep": [[[1.5]]]}}, ascii_only=True),
    b"",
]
FAILURES = [
    lines(
        {"id": "c", "kind": "call_error", "error": "503", "attempts": 4, "last_text": None, "row": {"id": "c"}},
        {"id": "d", "kind": "prompt_error", "error": "'x' is undefined", "attempts": 0, "last_text": "文", "row": {}},
        {"id": "c", "kind": "function_error", "error": "again", "attempts": 1, "last_text": "", "row": {"id": "c"}},
    ),
    b"",
]
MANIFEST: dict[str, Any] = {
    "manycall_version": "0",
    "settings": {"job": "generate", "model": "m", "prompt": "Tell\na story.", "params": {"temperature": 0.5}},
    "source": {"input": "rows.jsonl", "count": 3, "fingerprint": "ab"},
    "sessions": [{"started_at": 1.6e9, "outcome": "finished", "ended_at": 1.7e9, "done": 2, "prompt_tokens": 3}],
    "format": 1,
}
MANIFESTS = [json.dumps(MANIFEST, indent=2).encode() + b"\n"]

ROWS = [{"id": "a", "topic": "老虎"}, {"id": 2, "n": 3.5, "ok": True}, {"custom_id": "c", "list": [1, {"x": None}]}]
NAMELESS = [{"q": "1+1?"}, {"q": "1+1?"}, {"q": "2+2?", "n": -0.0}, {"n": 10**30}, {"s": "😀"}]
JSON_LINES = [lines(*ROWS), lines(*NAMELESS), lines(*NAMELESS, ascii_only=True), b'{"a":1}\r\n\r\n{"a":2}']
JSON_ARRAYS = [
    json.dumps(ROWS).encode(),
    json.dumps(NAMELESS, indent=1).encode(),
    "\ufeff \n".encode() + json.dumps(ROWS, ensure_ascii=False, indent=4).encode() + b"\n\n",
    b"[]",
    b'[{"id":"a","n":"\\ud83d\\ude00"},{"id":"b","n":123456789012345678901234567890}]',
]
TABLES = [
    '\ufeffid,topic\na,"x, ""y""\nz"\nb,\n'.encode(),
    b"id\ttopic\r\na\tx,y\r\n\r\nb\t\r\n",
    b'q,a\r\n"1,1","2"\r\n3,4',
    b"a\n" + b"v" * 100_000 + b'\n"' + b'""' * 1000 + b'"\n',
]


def _parquet() -> bytes:
    import pyarrow
    from pyarrow import parquet

    sink = pyarrow.BufferOutputStream()
    parquet.write_table(pyarrow.table({"id": ["a", "b"], "n": [1, 2], "x": [[0.5], None]}), sink)
    return bytes(sink.getvalue())


PARQUETS = [_parquet()]
TEMPLATES = [
    "Tell a story about {{ topic }}.",
    "{% for each in list %}{{ loop.index }}. {{ each.name | upper }}\n{% endfor %}",
    "{% if q is defined and q %}{{ q | tojson }}{% else %}{{ items }}{% endif %}{# a remark #}",
    "{{ self }}{{ text[:20] | trim }}{{ id + 1 }}{{ '%s' | format(n) }}",
    "{% set n = namespace(x=1) %}{{ n.x }} {{ (1, 2) | join(', ') }} {{ range(3) | list }}",
]
METRICS = [
    """# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="Qwen/Qwen3-8B"} 17.0
vllm:num_requests_running{engine="1",model_name="Qwen/Qwen3-8B"} 15.0
vllm:num_requests_waiting{engine="0",model_name="Qwen/Qwen3-8B"} 4.0
vllm:kv_cache_usage_perc{engine="0",model_name="Qwen/Qwen3-8B"} 0.8125
vllm:num_preemptions_total{engine="0",model_name="Qwen/Qwen3-8B"} 2.0
""",
    'sglang:token_usage{model_name="m"} 0.28\nsglang:num_running_reqs{tp="0"} 162.0\nsglang:num_queue_reqs 28.0\n',
    "llamacpp:kv_cache_usage_ratio 0.125\nllamacpp:requests_processing 4\nllamacpp:requests_deferred 9\n",
    "tgi_queue_size 5\n\ntgi_batch_current_size 32 1767225600000\n",
]
URLS = [
    *("http://localhost:8000", "https://api.openai.com/v1", "http://[::1]:80/v1/chat/completions", "sim", "h:8000/v1"),
    *(
        "https://user:sk-secret@h/v1",
        "https://h/v1?api-key=sk-secret",
        "HTTP://Host:0443/openai/v2//",
        "http://文.cn/v1",
    ),
    *("https://mine.openai.azure.com/openai/v1/embeddings/", "http://h/v1/completions#x", "http://h:99999", "//h/v1"),
]
HOSTS = """api.openai.com mine.openai.azure.com api.anthropic.com api.groq.com api.fireworks.ai api.together.xyz
openrouter.ai api.mistral.ai api.cerebras.ai gateway.internal""".split()
HEADERS: list[dict[str, str]] = [headers for _, headers, _ in REPLIES_WITH_LIMITS.values()] + [
    {"retry-after": "20"},
    {"retry-after-ms": "1500", "retry-after": "2"},
    {"retry-after": "Thu, 01 Jan 2026 00:00:30 GMT"},
    {"x-ms-retry-after-ms": "100", "location": "https://elsewhere/v1"},
    {},
]
HEADER_NAMES = sorted({name for headers in HEADERS for name in headers} | {"llm_provider-retry-after", "location"})
HEADER_VALUES = [
    *sorted({value for headers in HEADERS for value in headers.values()}),
    *("-1", "0", "1", "1e308", "nan", "inf", "1h2m3.5s", "1767225690500", "2026-01-01T00:01:30.25+00:00", "9" * 99),
    *("1_000", "٣", " 5 ", "0x10", "1;w=60", "Thu, 01 Jan 2026 00:01:30 -0000", "31 Feb 99999 25:61:61 +9999"),
]
