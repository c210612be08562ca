"""Both against the same endpoint: the same request bodies, the same scores, the same samples.

python -m crosscheck.over_http --python LM_EVALS_PYTHON [--gsm8k FOLDER] [--limit 20]

First an endpoint that keeps what it is asked, all tasks, a few questions of each. Then `manycall sim`, gsm8k, every
question, and how long the two commands took.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import manycall
import shell
from crosscheck import __main__ as check
from crosscheck import ours, responses
from manycall.sim.generated_text import last_question

CALLS_AT_ONCE = 8
FEWSHOT_CASES = (
    (("gsm8k", "gsm8k_cot", "gsm8k_cot_llama", "gsm8k_platinum", "gsm8k_platinum_cot", "mmlu_generative"), 3),
    (("gsm8k", "gsm8k_cot", "gsm8k_platinum", "mmlu_generative"), 0),
)
"""Tasks that are also compared with another number of few-shot examples. lm-eval ignores `--num_fewshot` for a
zero-shot task."""


class Endpoint:
    """Answers by what is asked alone, and keeps what was asked.

    Args:
        broken: questions to which it says, with status 200, that it is out of memory.

    Attributes:
        bodies: every request body, byte for byte, and how often it came.
    """

    def __init__(self, key: dict[str, str], broken: Iterable[str] = ()) -> None:
        self.key, self._broken = key, frozenset(broken)
        self.bodies: Counter[bytes] = Counter()
        self._lock = threading.Lock()

    def reply(self, body: bytes) -> bytes:
        """The reply to one request."""
        request = json.loads(body)
        with self._lock:
            self.bodies[body] += 1
        question = last_question(request["messages"][-1]["content"])
        if question in self._broken:
            return b'{"error": {"message": "out of memory"}}'
        right = self.key.get(question, "B")
        text = responses.response(random.Random(body), right, "The answer is {n}. The final answer is {n}.\n#### {n}")
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return json.dumps({"choices": [choice], "usage": {"prompt_tokens": 1, "completion_tokens": 1}}).encode()

    def taken(self) -> Counter[bytes]:
        """The bodies, and forget them."""
        taken, self.bodies = self.bodies, Counter()
        return taken


@contextmanager
def serving(endpoint: Endpoint) -> Iterator[str]:
    """Its base URL."""

    class Connection(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            reply = endpoint.reply(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        def log_message(self, *said: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Connection)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()


def lm_eval(python: str, url: str, names: list[str], folder: Path, at_once: int, *words: str) -> Path:
    """`lm_eval run` on the local tasks; the folder in which its results and samples are."""
    out = folder / "lm-eval-says"
    model = f"model=any,base_url={url}/chat/completions,num_concurrent={at_once},max_retries=1"
    environment = {
        "PATH": os.environ["PATH"], "HOME": str(folder), "HF_HOME": str(folder / "hf"), "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1", "OPENAI_API_KEY": "none",
    }  # fmt: skip
    command = [
        python, "-m", "lm_eval", "run", "--model", "local-chat-completions", "--model_args", model,
        "--tasks", ",".join(f"{name}_local" for name in names), "--include_path", str(folder / "lm-eval" / "tasks"),
        "--apply_chat_template", "--output_path", str(out), "--log_samples", *words,
    ]  # fmt: skip
    done = subprocess.run(
        command, check=False, cwd=folder, env=environment, capture_output=True, text=True, timeout=check.SECONDS
    )
    if done.returncode:
        sys.exit(f"lm-eval failed:\n{done.stderr[-4000:]}")
    return next(out.iterdir())


def compare(
    python: str,
    names: list[str],
    files: check.Files,
    folder: Path,
    limit: int,
    *,
    broken: int | None = None,
    num_fewshot: int | None = None,
) -> list[str]:
    """Run both programs on the first `limit` questions of each task and return all differences.

    Args:
        broken: the endpoint fails for one question in `broken`; None: for none.
        num_fewshot: number of few-shot examples, passed to both programs; None: that of the task.
    """
    key = {row["question"].strip(): row["answer"].rpartition("#### ")[2] for row in _questions(names, files)}
    check.harness(python, {"do": "tasks", "tasks": dict.fromkeys(names, "")}, files, folder)
    endpoint, bad = Endpoint(key, list(key)[::broken] if broken else ()), list[str]()
    with serving(endpoint) as url:
        fewshot_words = () if num_fewshot is None else ("--num_fewshot", str(num_fewshot))
        said = lm_eval(python, url, names, folder, CALLS_AT_ONCE, "--limit", str(limit), *fewshot_words)
        theirs = endpoint.taken()
        results = json.loads(next(said.glob("results_*.json")).read_text())["results"]
        for name in names:
            test, train = files[check.family(name)]
            ran = manycall.evaluate(
                name, data=test, fewshot_data=ours.examples_of(name, train, num_fewshot), num_fewshot=num_fewshot,
                model="any", base_url=url, out=folder / f"{name}.jsonl", limit=limit, progress=False,
                concurrency=CALLS_AT_ONCE,
            )  # fmt: skip
            bad += _scores(name, ran, results[f"{name}_local"])
            again = manycall.score(next(said.glob(f"samples_{name}_local_*.jsonl")), scorer=name)
            bad += _scores(f"{name} from lm-eval's samples", again, results[f"{name}_local"])
            print(f"{name:36} " + ", ".join(f"{score.filter} {score.value:.4f}" for score in ran.scores))
    mine = endpoint.taken()
    print(f"{mine.total():,} request bodies of ours, {theirs.total():,} of lm-eval's, {len(theirs):,} different ones")
    if broken:  # what breaks we send again, lm-eval not
        mine, theirs = Counter(set(mine)), Counter(set(theirs))
    for body in [*(mine - theirs), *(theirs - mine)][:4]:
        bad.append(f"sent {mine[body]} times by us, {theirs[body]} times by lm-eval: {body[:2000]!r}")
    return bad


def simulated(python: str, files: check.Files, folder: Path, at_once: int = 64) -> list[str]:
    """gsm8k by both commands against the simulated endpoint; everything that differs."""
    test, train = files["gsm8k"]
    check.harness(python, {"do": "tasks", "tasks": {"gsm8k": ""}}, files, folder)
    with shell.sim(
        "--answer-key", str(test), "--latency", "0.5", "--token-latency", "0", seconds=check.SECONDS
    ) as endpoint:
        began = time.perf_counter()
        said = lm_eval(python, endpoint.url, ["gsm8k"], folder, at_once)
        between = time.perf_counter()
        words = ("--data", test, "--fewshot-data", train, "-m", "any", "-u", endpoint.url, "-o", folder / "sim.jsonl")
        done = shell.manycall("eval", "gsm8k", *words, "-j", str(at_once), "--no-progress", seconds=check.SECONDS)
        ended = time.perf_counter()
    theirs = json.loads(next(said.glob("results_*.json")).read_text())["results"]["gsm8k_local"]
    ran = manycall.score(folder / "sim.jsonl")
    print(f"{ran} \n{at_once} at once: lm-eval {between - began:.1f} s, manycall {ended - between:.1f} s, start to end")
    if done.code:
        return [done.err]
    written = shell.manycall(
        "export-lm-eval", folder / "sim.jsonl", folder / "as-lm-eval", "--data", test, "--fewshot-data", train
    )
    (results,) = (folder / "as-lm-eval").glob("*/results_*.json")
    mine = {key: value for key, value in json.loads(results.read_text())["results"]["gsm8k"].items() if "," in key}
    same = all(theirs[key] == value for key, value in mine.items()) and len(mine) == 4
    return [
        *_scores("gsm8k at the simulated endpoint", ran, theirs),
        *([] if same else [f"{written.err}results_*.json has {mine}, lm-eval's own {theirs}"]),
    ]


def _questions(names: list[str], files: check.Files) -> Iterator[dict[str, Any]]:
    for family in {check.family(name) for name in names} - {"mmlu"}:
        yield from ours.rows_of(family, files[family][0])


def _scores(name: str, ran: manycall.results.EvalResult, theirs: dict[str, Any]) -> list[str]:
    """The scores that differ; failed rows are counted as lm-eval counts them."""
    bad = []
    for score in ran.scores:
        counted = score.failed_as_wrong or score
        for what, own in (("exact_match", counted.value), ("exact_match_stderr", counted.stderr)):
            if own is None or abs(own - theirs[f"{what},{score.filter}"]) > 1e-12:
                bad.append(f"{name}/{score.filter}: {what} {own}, lm-eval {theirs[f'{what},{score.filter}']}")
    if len(ran.scores) * 2 != sum(key.startswith("exact_match") for key in theirs):
        bad.append(f"{name}: we have {[score.filter for score in ran.scores]}, lm-eval {sorted(theirs)}")
    return bad


def main() -> None:
    """Compare, and fail if anything differs."""
    parser = argparse.ArgumentParser(prog="crosscheck.over_http")
    parser.add_argument("--python", type=os.path.abspath, default=sys.executable, help="the Python that has lm_eval")
    parser.add_argument("--gsm8k", type=Path, help="a folder with the real test.jsonl and train.jsonl")
    parser.add_argument("--limit", type=int, default=20, help="questions of each task")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = check.made_up(folder)
        if options.gsm8k:
            files["gsm8k"] = (options.gsm8k / "test.jsonl", options.gsm8k / "train.jsonl")
        both, alone = folder / "recorded", folder / "simulated"
        both.mkdir()
        alone.mkdir()
        bad = compare(options.python, list(ours.NAMES), files, both, options.limit)
        for names, count in FEWSHOT_CASES:
            with_count = folder / f"fewshot-{count}"
            with_count.mkdir()
            bad += compare(options.python, list(names), files, with_count, options.limit, num_fewshot=count)
        half = folder / "broken"
        half.mkdir()
        bad += compare(options.python, ["gsm8k", "gsm8k_cot_zeroshot"], files, half, 40, broken=7)
        bad += simulated(options.python, files, alone)
    sys.exit("\n".join(bad) or 0)


if __name__ == "__main__":
    main()
