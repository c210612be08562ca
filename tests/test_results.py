"""Results in Python have the keys of `--json`, can be iterated over, and escape what models write."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import manycall
from manycall.cli.print_result import print_result
from manycall.errors import UsageError
from manycall.evals.eval_result import OutputResult
from manycall.run.result_views import OutputViews, RecordViews, ResultViews
from shell import manycall as run_command

SIM: dict[str, Any] = {"model": "any", "base_url": "sim:latency=0", "progress": False}
ENDPOINT = ("-m", "any", "-u", "sim:latency=0", "--no-progress")
ROWS = Path("rows.jsonl")


@pytest.fixture(autouse=True)
def _outputs() -> None:
    ROWS.write_text("".join(json.dumps({"id": n, "q": f"question {n}"}) + "\n" for n in range(5)))


def generated() -> manycall.results.RunResult:
    return manycall.generate("{{ q }}", ROWS, out="g.jsonl", **SIM)


def evaluated(out: str = "e.jsonl", limit: int = 5) -> manycall.results.EvalResult:
    return manycall.evaluate("wordmath", out=out, limit=limit, **SIM)


def evaluated_all() -> manycall.results.SuiteResult:
    return manycall.evaluate_all(["wordmath"], ["a", "b"], out="suite", base_url="sim", limit=5, progress=False)


def ranked() -> manycall.results.Ranking:
    evaluated_all()
    return manycall.rank_models("suite")


def judged() -> manycall.results.JudgeResult:
    generated()
    return manycall.judge("g.jsonl", "Good? {{ text }}", out="j.jsonl", **SIM)


def compared() -> manycall.results.Comparison:
    evaluated("e.jsonl")
    evaluated("f.jsonl")
    return manycall.compare("e.jsonl", "f.jsonl")


def checked() -> ResultViews:
    generated()
    return manycall.check_data("g.jsonl")


def exported() -> ResultViews:
    generated()
    return manycall.export("g.jsonl", "x.jsonl")


def described() -> ResultViews:
    generated()
    return manycall.dataset_card("g.jsonl", out="README.md")


def rehearsed() -> manycall.results.RunResult:
    return manycall.generate("{{ q }}", ROWS, out="g.jsonl", dry_run=True, **SIM)


COMMANDS: dict[Callable[[], ResultViews], tuple[str, ...]] = {
    rehearsed: ("generate", "-p", "{{ q }}", "rows.jsonl", "-o", "g.jsonl", *ENDPOINT, "--dry-run"),
    generated: ("generate", "-p", "{{ q }}", "rows.jsonl", "-o", "g.jsonl", *ENDPOINT),
    evaluated: ("eval", "wordmath", "--limit", "5", "-o", "e.jsonl", *ENDPOINT),
    judged: ("judge", "g.jsonl", "--rubric", "Good? {{ text }}", "-o", "j.jsonl", *ENDPOINT),
    evaluated_all: ("eval", "wordmath", "-m", "a", "-m", "b", "--limit", "5", "-o", "suite", "-u", "sim"),
    compared: ("compare", "e.jsonl", "f.jsonl"),
    ranked: ("compare", "suite"),
    checked: ("check-data", "g.jsonl"),
    exported: ("export", "g.jsonl", "-o", "y.jsonl"),
    described: ("dataset-card", "g.jsonl"),
}


@pytest.mark.parametrize("make", COMMANDS)
def test_to_dict_has_the_keys_of_the_commands_json(make: Any, capsys: pytest.CaptureFixture[str]) -> None:
    result = make()
    done = run_command(*COMMANDS[make], "--json")
    assert done.code == 0, done.err
    assert keys(result.to_dict()) == keys(json.loads(done.out))
    print_result(result, as_json=True)
    assert json.loads(capsys.readouterr().out) == result.to_dict()


def keys(value: Any) -> Any:
    """Return the names of fields, of all levels; those of mappings with data are not compared."""
    return {name: keys(inner) if name == "run" else None for name, inner in value.items()} if value else None


def test_every_class_of_results_is_compared() -> None:
    made = {type(make()) for make in COMMANDS}
    assert made == subclasses(ResultViews) - {RecordViews, OutputViews, OutputResult}


def subclasses(kind: type) -> set[type]:
    direct: set[type] = set(kind.__subclasses__())
    return direct.union(*map(subclasses, direct))


def test_the_rows_of_an_output_that_was_removed_are_not_none_at_all() -> None:
    result = evaluated()
    result.out.unlink()
    with pytest.raises(UsageError, match="file not found"):
        result.rows()


def test_results_are_iterated_over_as_dicts_and_shown_in_notebooks_and_ipython() -> None:
    result = evaluated()
    assert list(result) == list(result.rows())
    assert {row["id"] for row in result} == {row["id"] for row in result.rows()}
    assert [difference["metric"] for difference in compared()] != []
    for kind in (
        manycall.results.RunResult,
        manycall.results.EvalResult,
        manycall.results.JudgeResult,
        manycall.results.Comparison,
    ):
        assert issubclass(kind, RecordViews)

    class Printer:
        printed = ""

        def text(self, text: str) -> None:
            self.printed += text

    printer = Printer()
    result._repr_pretty_(printer, False)
    assert printer.printed == str(result)


def test_html_escapes_what_a_model_wrote() -> None:
    attack = "<script>alert(1)</script>"
    result = manycall.results.RunResult(
        job="generate", out=Path("o.jsonl"), total_rows=1, done=0, failed=1, top_errors=[(attack, 1)]
    )
    assert attack in str(result)
    assert "<script>" not in result._repr_html_()
    assert "&lt;script&gt;" in result._repr_html_()


def test_errors_that_are_not_listed_are_counted() -> None:
    given: dict[str, Any] = {"job": "generate", "out": Path("o.jsonl"), "total_rows": 9, "done": 0, "failed": 9}
    result = manycall.results.RunResult(**given, top_errors=[("a", 4), ("b", 2), ("c", 1)])
    assert result.lines()[-1] == ("2 ×", "other errors, listed in that file")
    assert manycall.results.RunResult(**given, top_errors=[("a", 9)]).lines()[-1] == ("9 ×", "a")


def test_a_session_without_rows_says_so(tmp_path: Path) -> None:
    job: dict[str, Any] = {"model": "m", "base_url": "sim:latency=0", "out": tmp_path / "o.jsonl", "progress": False}
    assert manycall.generate("hi", samples=3, **job).done_before == 0
    again = manycall.generate("hi", samples=3, **job)
    assert (again.done, again.done_before) == (3, 3)
    assert ("calls", "none: every row was done before") in again.lines()
