import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manycall.limits import ServerLoad
from manycall.providers import server_metrics

VLLM = """\
# HELP python_info Python platform information
# TYPE python_info gauge
python_info{implementation="CPython",major="3",minor="12"} 1.0
# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="Qwen/Qwen3-8B"} 17.0
vllm:num_requests_running{engine="1",model_name="Qwen/Qwen3-8B"} 15.0
# HELP vllm:num_requests_waiting Number of requests waiting to be processed.
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{engine="0",model_name="Qwen/Qwen3-8B"} 4.0
vllm:num_requests_waiting{engine="1",model_name="Qwen/Qwen3-8B"} 0.0
# TYPE vllm:num_requests_waiting_by_reason gauge
vllm:num_requests_waiting_by_reason{engine="0",model_name="Qwen/Qwen3-8B",reason="capacity"} 3.0
vllm:num_requests_waiting_by_reason{engine="0",model_name="Qwen/Qwen3-8B",reason="deferred"} 1.0
# TYPE vllm:kv_cache_usage_perc gauge
vllm:kv_cache_usage_perc{engine="0",model_name="Qwen/Qwen3-8B"} 0.8125
vllm:kv_cache_usage_perc{engine="1",model_name="Qwen/Qwen3-8B"} 0.25
# TYPE vllm:num_preemptions_total counter
vllm:num_preemptions_total{engine="0",model_name="Qwen/Qwen3-8B"} 2.0
vllm:num_preemptions_total{engine="1",model_name="Qwen/Qwen3-8B"} 1.0
# TYPE vllm:num_preemptions_created gauge
vllm:num_preemptions_created{engine="0",model_name="Qwen/Qwen3-8B"} 1.7672256e+09
vllm:time_to_first_token_seconds_bucket{engine="0",le="0.001",model_name="Qwen/Qwen3-8B"} 0.0
vllm:time_to_first_token_seconds_bucket{engine="0",le="+Inf",model_name="Qwen/Qwen3-8B"} 120.0
"""
OLD_VLLM = """\
vllm:num_requests_running{model_name="m"} 3.0
vllm:num_requests_swapped{model_name="m"} 0.0
vllm:num_requests_waiting{model_name="m"} 0.0
vllm:gpu_cache_usage_perc{model_name="m"} 0.5
vllm:cpu_cache_usage_perc{model_name="m"} 0.9
"""
SGLANG = """\
# HELP sglang:token_usage The token usage
# TYPE sglang:token_usage gauge
sglang:token_usage{model_name="meta-llama/Llama-3.1-8B-Instruct"} 0.28
sglang:cache_hit_rate{model_name="meta-llama/Llama-3.1-8B-Instruct"} 0.007507552643049313
sglang:time_to_first_token_seconds_bucket{le="0.06",model_name="meta-llama/Llama-3.1-8B-Instruct"} 3.0
sglang:num_running_reqs{engine_type="unified",model_name="meta-llama/Llama-3.1-8B-Instruct",tp_rank="0"} 162.0
sglang:num_queue_reqs{engine_type="unified",model_name="meta-llama/Llama-3.1-8B-Instruct",tp_rank="0"} 2826.0
"""
LLAMA_CPP = """\
# HELP llamacpp:prompt_tokens_total Number of prompt tokens processed.
# TYPE llamacpp:prompt_tokens_total counter
llamacpp:prompt_tokens_total 1024
# TYPE llamacpp:kv_cache_usage_ratio gauge
llamacpp:kv_cache_usage_ratio 0.125
# TYPE llamacpp:requests_processing gauge
llamacpp:requests_processing 4
# TYPE llamacpp:requests_deferred gauge
llamacpp:requests_deferred 9
"""
TGI = (
    "# TYPE tgi_queue_size gauge\ntgi_queue_size 5\n\n# TYPE tgi_batch_current_size gauge\ntgi_batch_current_size 32\n"
)
LMDEPLOY = """\
lmdeploy:num_requests_running{engine="0",model_name="internlm"} 8.0
lmdeploy:num_requests_waiting{engine="0",model_name="internlm"} 1.0
lmdeploy:gpu_cache_usage_perc{engine="0",model_name="internlm"} 0.75
lmdeploy:num_api_requests_waiting{model_name="internlm"} 70.0
"""


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (VLLM, ServerLoad(32, 4)),
        (OLD_VLLM, ServerLoad(3, 0)),
        (SGLANG, ServerLoad(162, 2826)),
        (LLAMA_CPP, ServerLoad(4, 9)),
        (TGI, ServerLoad(32, 5)),
        (LMDEPLOY, ServerLoad(8, 1)),
        (VLLM.replace("\n", "\r\n"), ServerLoad(32, 4)),
        ("python_info 1.0\nprocess_open_fds 9\n", None),
        ("# vllm:num_requests_running 1\n", None),
        ("<html>vllm:num_requests_running 1</html>", None),
        ("", None),
    ],
    ids="vllm old-vllm sglang llama.cpp tgi lmdeploy crlf others comment html empty".split(),
)
def test_each_server_is_read(text: str, told: ServerLoad | None) -> None:
    assert server_metrics.parse_metrics(text) == told


@pytest.mark.parametrize(
    ("line", "waiting"),
    [
        ("vllm:num_requests_waiting 3", 3),
        ("vllm:num_requests_waiting\t3", 3),
        ("vllm:num_requests_waiting{} 3", 3),
        ("vllm:num_requests_waiting{}3", 3),
        ('vllm:num_requests_waiting { a = "}" , b="\\"{" , } 3e0 1767225600000', 3),
        ('vllm:num_requests_waiting{a="b"} 3 # {trace="x"} 1', 3),
        ("vllm:num_requests_waiting NaN", 0),
        ("vllm:num_requests_waiting +Inf", 0),
        ("vllm:num_requests_waiting -3", 0),
        ("vllm:num_requests_waiting 1e300", 0),
        ("vllm:num_requests_waiting three", 0),
        ("vllm:num_requests_waiting 3 apples", 0),
        ("vllm:num_requests_waiting", 0),
        ('vllm:num_requests_waiting{a="b 3', 0),
        ('vllm:num_requests_waiting{a="b" 3', 0),
        ("vllm:num_requests_waiting_sum 3", 0),
        ("xvllm:num_requests_waiting 3", 0),
        (" vllm:num_requests_waiting_3", 0),
    ],
)
def test_a_line_that_makes_no_sense_is_passed_over(line: str, waiting: float) -> None:
    assert server_metrics.parse_metrics(f"vllm:num_requests_running 1\n{line}") == ServerLoad(1, waiting)


def test_of_several_models_only_ours_counts_if_it_is_named() -> None:
    text = "".join(
        f'vllm:num_requests_running{{pool="model_name=",model_name="{name}"}} {n}\n'
        f'vllm:num_requests_waiting{{model_name="{name}",engine="0"}} {10 * n}\n'
        f'vllm:kv_cache_usage_perc{{model_name="{name}"}} 0.{n}\n'
        for n, name in enumerate([r"C:\\a\"b", "c", "cc"], 1)
    )
    assert server_metrics.parse_metrics(text, "c") == ServerLoad(2, 20)
    assert server_metrics.parse_metrics(text, 'C:\\a"b') == ServerLoad(1, 10)
    assert server_metrics.parse_metrics(text, "an alias") == server_metrics.parse_metrics(text) == ServerLoad(6, 60)
    assert server_metrics.parse_metrics(LLAMA_CPP, "c") == server_metrics.parse_metrics(LLAMA_CPP)


WORDS = st.sampled_from(
    [
        *"vllm:num_requests_running sglang:num_queue_reqs tgi_queue_size llamacpp:requests_processing".split(),
        *"vllm:kv_cache_usage_perc vllm:num_preemptions_total model_name _by_reason 1 0.5 -1 NaN 1e308 1e11 #".split(),
        *'{ } = , " \\ \\" \\n a="b" model_name="m" {model_name="m"}'.split(),
        " ",
        "\t",
        "\n",
        "\r",
        "\0",
    ]
)


@given(st.one_of(st.text(), st.lists(st.one_of(WORDS, st.text(max_size=3)), max_size=60).map("".join)))
def test_no_text_does_harm_and_every_number_is_finite(text: str) -> None:
    for model in (None, "m"):
        told = server_metrics.parse_metrics(text, model)
        if told is not None:
            assert all(math.isfinite(number) and number >= 0 for number in told)


@pytest.mark.parametrize(
    ("start", "again", "end"),
    [
        ("tgi_queue_size", " ", "x y z"),
        ("tgi_queue_size 1", " ", "x"),
        ("tgi_queue_size{", 'a="b",', ""),
        ("tgi_queue_size{", 'a="b",', "} 1 2 3"),
        ("tgi_queue_size{", "a", ""),
        ('tgi_queue_size{a="', '\\"', ""),
        ("", "tgi_queue_size", ""),
        ("", "tgi_queue_size{\n", ""),
        ("", 'tgi_queue_size{model_name="', ""),
        ("", "\n", ""),
    ],
)
def test_a_mebibyte_of_malice_takes_no_more_time_than_its_length(start: str, again: str, end: str) -> None:
    """Were it quadratic, one of these would take hours."""
    text = start + again * (2**20 // len(again)) + end
    assert server_metrics.parse_metrics(text, "m") is None
