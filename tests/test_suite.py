"""Several tasks with several models: one output each, common limits, one result."""

import asyncio
import json
import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

import msgspec
import pytest

import manycall
from fakes import SoloClient
from manycall.errors import Interrupted, ManycallError, UsageError
from manycall.evals.suite import pair_output
from manycall.evals.tasks.task import Task
from manycall.run.job import Job
from manycall.run.job_group import GroupMember, JobGroup
from manycall.run.map_rows import map_job
from manycall.run.options import RunOptions
from manycall.run.run_result import RunResult
from manycall.run.status_display import StatusDisplay
from manycall.run.status_sum import sum_figures
from manycall.sim import virtual_time
from manycall.store.manifest import Manifest
from manycall.testing import MemoryTransport, chat_response, error_response, run_virtual
from manycall.transport.messages import HttpRequest, HttpResponse, no_header
from shell import manycall as command


async def ask(row: dict[str, Any], llm: manycall.LLM) -> dict[str, Any]:
    return {"text": (await llm.chat(row["q"])).text}


def member(name: str, model: str, rows: int, **options: Any) -> GroupMember:
    run_options = RunOptions(model=model, out=f"{name}-{model}.jsonl", progress=False, **options)
    questions = [{"id": f"{name}{n}", "q": f"{name} {n}"} for n in range(rows)]
    return GroupMember(name, map_job(ask, questions, run_options, samples=None), run_options)


class Server:
    """Answers each call after a second, and knows the calls and how many of each model were in flight."""

    def __init__(self, refused: str = "") -> None:
        self.refused, self.seconds = refused, 0.0
        self.calls: list[tuple[str, str]] = []
        self.in_flight: Counter[str] = Counter()
        self.most: Counter[str] = Counter()

    async def send(self, request: HttpRequest) -> HttpResponse:
        if request.method == "GET":
            return HttpResponse(404, b"", no_header)
        body = msgspec.json.decode(request.body)
        model = body["model"]
        if model == self.refused:
            return error_response(401, "wrong key")
        self.calls.append((model, body["messages"][-1]["content"]))
        self.in_flight[model] += 1
        self.most[model] = max(self.most[model], self.in_flight[model])
        await asyncio.sleep(1.0)
        self.in_flight[model] -= 1
        self.seconds = virtual_time.now()
        return chat_response("fine")

    async def close(self) -> None:
        """Do nothing: there is no connection to close."""

    def client(self, job: Job[Any], options: RunOptions) -> SoloClient:
        return SoloClient(options.model, base_url="http://s/v1", transport=self, concurrency=options.concurrency)


class SlowToOpen(SoloClient):
    """A client that takes 10 seconds to open, as a simulated endpoint on a busy machine does."""

    async def __aenter__(self) -> Self:
        await asyncio.sleep(10.0)
        return await super().__aenter__()


class SlowServer(Server):
    """A server whose clients take 10 seconds to open."""

    def client(self, job: Job[Any], options: RunOptions) -> SoloClient:
        return SlowToOpen(options.model, base_url="http://s/v1", transport=self)


def run_members(
    server: Server, *members: GroupMember, meanwhile: Callable[[JobGroup], None] | None = None, at: float = 0.0
) -> list[RunResult | ManycallError]:
    async def main() -> list[RunResult | ManycallError]:
        group = JobGroup("group", members, StatusDisplay(None), server.client)
        if meanwhile is not None:
            asyncio.get_running_loop().call_later(at, meanwhile, group)
        return await group.run()

    return run_virtual(main())


def test_jobs_of_one_model_share_its_limit_and_use_what_the_others_leave_free() -> None:
    server = Server()
    outcomes = run_members(server, member("a", "m", 20, concurrency=8), member("b", "m", 60, concurrency=8))
    assert [each.done for each in outcomes if isinstance(each, RunResult)] == [20, 60]
    assert server.most == {"m": 8}
    assert server.seconds == 10.0  # 80 calls of one second, eight at a time


def test_another_model_has_a_limit_of_its_own() -> None:
    server = Server()
    run_members(server, member("a", "m", 20, concurrency=8), member("a", "other", 20, concurrency=8))
    assert server.most == {"m": 8, "other": 8}


def test_a_job_that_stops_does_not_stop_the_others() -> None:
    server = Server(refused="bad")
    stopped, finished = run_members(server, member("a", "bad", 20), member("a", "good", 20))
    assert isinstance(stopped, ManycallError)
    assert "wrong key" in str(stopped)
    assert isinstance(finished, RunResult)
    assert finished.done == 20


def test_a_budget_is_that_of_all_jobs_together() -> None:
    server = Server()
    members = [member(name, "m", 500, concurrency=16, max_total_tokens=1500) for name in ("a", "b")]
    outcomes = run_members(server, *members)
    assert all(isinstance(each, ManycallError) and "1,500 tokens reached" in str(each) for each in outcomes)
    assert 1400 <= 5 * len(server.calls) <= 1505


def test_an_interrupt_stops_all_jobs_and_the_next_run_makes_only_the_missing_calls() -> None:
    server = Server()

    def members() -> list[GroupMember]:
        return [member(name, "m", 100, concurrency=8) for name in ("a", "b")]

    outcomes = run_members(server, *members(), meanwhile=lambda group: group.stop(Interrupted("stop")), at=3.5)
    assert all(isinstance(each, Interrupted) for each in outcomes)
    made = len(server.calls)
    assert made == 32
    outcomes = run_members(server, *members())
    assert [each.done for each in outcomes if isinstance(each, RunResult)] == [100, 100]
    assert len(server.calls) == 200
    assert len(set(server.calls)) == 200


@pytest.mark.parametrize("interrupt", [JobGroup.stop, JobGroup.cancel])
def test_an_interrupt_before_the_clients_are_open_stops_all_jobs_before_any_call(
    interrupt: Callable[[JobGroup, Interrupted], None],
) -> None:
    server = SlowServer()
    members = [member("a", "m", 5), member("b", "m", 5)]
    outcomes = run_members(server, *members, meanwhile=lambda group: interrupt(group, Interrupted("stop")), at=3.0)
    assert all(isinstance(each, Interrupted) for each in outcomes)
    assert not server.calls


def test_an_output_that_cannot_be_used_is_reported_before_any_call() -> None:
    server = Server()
    Path("b-m.jsonl").mkdir()
    with pytest.raises(UsageError, match=r"b-m\.jsonl"):
        run_members(server, member("a", "m", 5), member("b", "m", 5))
    assert not server.calls
    manifest = Manifest.load(Path("a-m.jsonl.run/manifest.json"))
    assert manifest is not None
    assert manifest.sessions == []  # none has begun
    run_members(server, member("a", "m", 5))  # its lock was released


class Unopenable(SoloClient):
    """A client that cannot be opened, as if its simulated endpoint had not started."""

    async def __aenter__(self) -> Self:
        raise OSError("it did not start")


class DeadServer(Server):
    """A server whose clients for the model "dead" cannot be opened."""

    def client(self, job: Job[Any], options: RunOptions) -> SoloClient:
        client_type = Unopenable if options.model == "dead" else SoloClient
        return client_type(options.model, base_url="http://s/v1", transport=self)


def test_a_client_that_cannot_be_opened_leaves_no_output_locked() -> None:
    server = DeadServer()
    with pytest.raises(OSError, match="did not start"):
        run_members(server, member("a", "m", 5), member("a", "dead", 5))
    assert not server.calls
    (outcome,) = run_members(server, member("a", "m", 5))
    assert isinstance(outcome, RunResult)
    assert outcome.done == 5


def test_a_cancelled_group_ends_its_jobs_and_the_next_run_makes_only_the_missing_calls() -> None:
    server = Server()

    async def cancelled() -> int:
        group = JobGroup("group", [member("a", "m", 50, concurrency=8)], StatusDisplay(None), server.client)
        task = asyncio.create_task(group.run())
        await asyncio.sleep(2.5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        made = len(server.calls)
        await asyncio.sleep(10.0)
        assert len(server.calls) == made
        return made

    made = run_virtual(cancelled())
    assert made == 24
    (outcome,) = run_members(server, member("a", "m", 50, concurrency=8))
    assert isinstance(outcome, RunResult)
    assert (outcome.done, outcome.calls) == (50, 50 - 16)  # the last eight calls were aborted


def test_the_figures_of_several_runs_are_summed_and_a_shared_client_counts_once() -> None:
    def figures(**changes: Any) -> dict[str, Any]:
        return {
            "calls_per_s": 2.0, "tokens_per_s": 5.0, "rows_per_s": 1.0, "failed": 1, "retries": 0, "total_ended": 10,
            "total_rejected": 0, "total_truncated": 2, "total_rows": 40, "failure_counts": {"empty": 1},
            "client": 0, "in_flight": 8, "limited_by": "window 8", "total_cost": 0.5, "currency": "USD",
            "budget_usage": [],
            **changes,
        }  # fmt: skip

    one = sum_figures([figures(), figures()])
    assert (one["in_flight"], one["total_ended"], one["total_rows"], one["total_cost"]) == (8, 20, 80, 1.0)
    assert (one["failed"], one["failure_counts"], one["limited_by"]) == (2, {"empty": 2}, "window 8")
    assert sum_figures([figures(), figures(total_rows=None)])["total_rows"] is None
    assert sum_figures([figures(), figures(client=1)])["in_flight"] == 16
    assert sum_figures([figures(), figures(client=1, limited_by="ulimit -n")])["limited_by"] == "window 8, ulimit -n"
    assert sum_figures([figures(), figures(currency="CNY")])["note"] == "¥0.5000 + $0.5000"


def test_the_status_line_of_a_group_counts_the_calls_of_each_client_once() -> None:
    class Kept(StatusDisplay):
        def __init__(self) -> None:
            super().__init__(None)
            self.in_flight: list[int] = []

        def show(self, name: str, figures: Mapping[str, Any], now: float) -> None:
            self.in_flight.append(figures["in_flight"])

    server, display = Server(), Kept()
    names = [("a", "m"), ("b", "m"), ("a", "other")]

    async def main() -> None:
        members = [member(name, model, 40, concurrency=8) for name, model in names]
        await JobGroup("group", members, display, server.client).run()

    run_virtual(main())
    assert max(display.in_flight) == 16


def task(name: str, *right: bool) -> Task:
    rows = [{"id": n, "question": str(n), "answer": "yes" if each else "no"} for n, each in enumerate(right)]
    return Task(rows=rows, prompt="{{ question }}", extract=str, scorer=lambda a, b: a == b, name=name)


def test_names_with_slashes_and_signs_become_file_names() -> None:
    assert pair_output("r", "my/task", "org/model:7b") == Path("r/org__model_7b/my__task.jsonl")
    assert pair_output("r", "..", ".hidden") == Path("r/hidden/_.jsonl")


def test_a_pair_that_is_named_twice_is_refused() -> None:
    with pytest.raises(UsageError, match="named twice"):
        manycall.evaluate_all(["wordmath", "wordmath"], ["m"], out="r", base_url="sim", limit=2, progress=False)


def test_rows_that_can_be_read_only_once_are_for_one_model_and_one_evaluation() -> None:
    once = msgspec.structs.replace(task("t"), rows=(row for row in [{"id": 1, "question": "?", "answer": "yes"}]))
    with pytest.raises(UsageError, match="The rows of the task t are an iterator, so the models would divide them"):
        manycall.evaluate_all([once], ["a", "b"], out="r", base_url="sim", progress=False)
    (run,) = manycall.evaluate_all([once], ["a"], out="r", base_url="sim", progress=False).runs
    assert run.result is not None
    assert run.result.scored_rows == 1
    with pytest.raises(UsageError, match="The rows of the task t have been read"):
        manycall.evaluate(once, model="a", out="r.jsonl", base_url="sim", progress=False)


def test_one_task_and_one_model_need_no_list() -> None:
    options: dict[str, Any] = {"out": "r", "base_url": "sim", "limit": 2, "progress": False, "dry_run": True}
    for tasks in ("wordmath", task("wordmath", True)):
        (run,) = manycall.evaluate_all(tasks, "abc", **options).runs
        assert (run.task, run.model) == ("wordmath", "abc")


def test_a_dry_run_of_several_models_creates_no_folder() -> None:
    manycall.evaluate_all(["wordmath"], ["a", "b"], out="r", base_url="sim", limit=2, progress=False, dry_run=True)
    assert not Path("r").exists()


def test_every_pair_gets_an_output_and_the_planted_score_and_the_same_call_makes_no_further_ones() -> None:
    def evaluate() -> Any:
        return manycall.evaluate_all(
            ["wordmath"], ["a", "b"], out="r", base_url="sim:accuracy=0.8", limit=20, progress=False, price="1/2"
        )

    result = evaluate()
    assert [str(run.out) for run in result.runs] == ["r/a/wordmath.jsonl", "r/b/wordmath.jsonl"]
    for run in result.runs:
        planted = run.result.run.sim["planted"]
        assert run.result.score("strict-match").value == planted["right"] / 20
    assert "| wordmath | strict-match |" in str(result)
    assert [len(list(each)) for each in (result, evaluate())] == [4, 4]
    assert [run.result.run.calls for run in evaluate().runs] == [0, 0]
    manycall.write_report(result, "r.html")
    assert "wordmath" in Path("r.html").read_text()


def test_answers_that_cannot_be_scored_again_do_not_lose_the_scores_of_the_other_runs() -> None:
    def boom(answer: Any, target: Any) -> float:
        raise RuntimeError("boom")

    def evaluate(scorer: Callable[[Any, Any], float]) -> Any:
        tasks = [task("t", True), msgspec.structs.replace(task("u", True), scorer=scorer)]
        return manycall.evaluate_all(tasks, ["m"], out="r", base_url="sim", progress=False)

    assert evaluate(lambda answer, target: 1.0).stopped == []
    fine, stopped = evaluate(boom).runs
    assert fine.result.scored_rows == 1
    assert "u cannot score it: RuntimeError: boom" in stopped.stopped


def test_a_dropped_parameter_is_not_shown_as_sent() -> None:
    options: dict[str, Any] = {"base_url": "sim", "limit": 3, "samples": 2, "progress": False}
    (sent,) = manycall.evaluate_all(["wordmath"], ["m"], out="a", **options).runs
    (dropped,) = manycall.evaluate_all(["wordmath"], ["m"], out="b", drop="temperature", **options).runs
    assert sent.result is not None
    assert dropped.result is not None
    assert sent.settings["temperature"] == "0.0"
    assert "temperature" not in dropped.settings
    assert "The samples were generated at temperature 0" in str(sent.result)
    assert "The samples were generated at temperature 0" not in str(dropped.result)
    options |= {"drop": "temperature", "dry_run": True}
    (planned,) = manycall.evaluate_all(["wordmath"], ["m"], out="c", **options).runs
    assert "temperature" not in planned.settings


def run_output(folder: str, model: str, right: list[int], name: str = "t") -> None:
    """An evaluation whose answers to the questions with 1 are right."""
    handler = iter(right)
    given = task(name, *(True for _ in right))

    async def main() -> None:
        transport = MemoryTransport(lambda body: chat_response("yes" if next(handler) else "no"))
        async with manycall.Client(model, base_url="http://s/v1", transport=transport, concurrency=1) as llm:
            await llm.evaluate(given, out=Path(folder) / f"{model}.jsonl", progress=False)

    Path(folder).mkdir(parents=True, exist_ok=True)
    run_virtual(main())


def test_models_are_ranked_and_their_differences_to_the_best_are_adjusted_for_all_comparisons() -> None:
    for model, right in (("poor", [0] * 12 + [1] * 8), ("best", [1] * 20), ("good", [1] * 18 + [0] * 2)):
        run_output("r", model, right)
    ranking = manycall.rank_models("r", metric="score")
    assert [(each.rank, each.model, each.score.value) for each in ranking.models] == [
        (1, "best", 1.0), (2, "good", 0.9), (3, "poor", 0.4),
    ]  # fmt: skip
    differences = [each.difference for each in ranking.models[1:]]
    assert [d.difference.losses for d in differences if d is not None] == [2, 12]
    assert [d.difference.p_value for d in differences if d is not None] == pytest.approx([0.5, 2 * 0.5**12])
    assert [d.p_value_holm for d in differences if d is not None] == pytest.approx([0.5, 4 * 0.5**12])
    assert "| t    | score | 3    | poor  | 0.4000 |" in str(ranking)


def test_several_samples_add_the_share_of_questions_that_any_and_most_of_them_solve() -> None:
    def evaluate(samples: int | None) -> Any:
        options: dict[str, Any] = {"base_url": "sim:accuracy=0.8", "limit": 10, "progress": False, "temperature": 1}
        return manycall.evaluate_all(["wordmath"], ["a"], out=f"r{samples}", samples=samples, **options)

    records = {each["filter"]: each for each in evaluate(4)}
    names = ["strict-match", "strict-match pass@4", "strict-match maj@4"]
    assert [*records][:3] == names
    assert len({records[name]["stderr"] for name in names}) == 1  # equal samples: that of 10 questions, not of 40 rows
    assert [each["filter"] for each in evaluate(None)] == ["strict-match", "last-number"]


def test_a_task_of_ones_own_is_ranked_by_its_stored_scores_and_a_metric_applies_to_the_tasks_that_have_it() -> None:
    for model, right in (("a", [1, 0]), ("b", [1, 1])):
        run_output("r", model, right)
    manycall.evaluate_all(["wordmath"], ["a", "b"], out="r", base_url="sim", limit=5, progress=False)

    def ranked_by(ranking: manycall.results.Ranking) -> dict[str, str]:
        return {each.task: each.score.filter for each in ranking.models}

    ranking = manycall.rank_models("r")
    assert ranked_by(ranking) == {"wordmath": "last-number", "t": "score"}
    assert "Ranked by the scores stored in the rows, which are not computed again: t." in ranking.messages()
    ranking = manycall.rank_models("r", metric="strict-match")
    assert ranked_by(ranking) == {"wordmath": "strict-match", "t": "score"}
    assert "Ranked by another score than the chosen one, which not all models have: t." in ranking.messages()
    with pytest.raises(UsageError, match="No task has the score 'strict'"):
        manycall.rank_models("r", metric="strict")


def test_models_with_the_same_score_have_the_same_rank() -> None:
    for model in ("a", "b"):
        run_output("r", model, [1, 0])
    assert [each.rank for each in manycall.rank_models("r", metric="score").models] == [1, 1]


def test_a_run_without_a_row_is_left_out_of_the_ranking_and_named() -> None:
    for model, right in (("a", [1, 1]), ("b", [1, 0]), ("c", [1, 1])):
        run_output("r", model, right)
    Path("r/c.jsonl").write_text("")
    ranking = manycall.rank_models("r", metric="score")
    assert [each.model for each in ranking.models] == ["a", "b"]
    assert "Left out, because no row is scored: r/c.jsonl." in ranking.messages()
    Path("r/b.jsonl").write_text("")
    with pytest.raises(UsageError, match="two models"):
        manycall.rank_models("r", metric="score")


def test_the_mean_of_the_tasks_is_shown_only_if_each_model_has_one_output_of_each_task() -> None:
    for folder, model, names in (("1", "a", "tu"), ("1", "b", "tu"), ("1", "c", "t"), ("2", "c", "t")):
        for name in names:
            run_output(f"r/{folder}{name}", model, [1, 0], name)
    columns = [head[1] for head, _ in manycall.rank_models("r", metric="score").tables()]
    assert columns == ["score"]
    shutil.rmtree("r/2t")
    run_output("r/1u", "c", [1, 0], "u")
    columns = [head[1] for head, _ in manycall.rank_models("r", metric="score").tables()]
    assert columns == ["mean score of 2 tasks", "score"]


def test_a_folder_without_two_models_of_a_task_is_refused() -> None:
    run_output("r", "a", [1, 0])
    with pytest.raises(UsageError, match="two models"):
        manycall.rank_models("r")


def test_the_command_line_runs_tasks_and_models_together() -> None:
    words = ["eval", "wordmath", "-m", "a", "-m", "b", "-u", "sim", "--limit", "5", "-o", "r"]
    done = command(*words, "--json")
    assert done.code == 0
    assert [run["model"] for run in json.loads(done.out)["runs"]] == ["a", "b"]
    refused = command(*words, "--data", "x.jsonl")
    assert refused.code == 2
    assert "--data x.jsonl is for one task and one model" in refused.err
    ranked = command("compare", "r")
    assert ranked.code == 0
    assert "to the best" in ranked.out
