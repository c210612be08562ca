"""`--from`: rows are decided again with the journaled answers, and only missing calls are made."""

import asyncio
import json
import os
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

import manycall
from disks import Files, Remembering, crashes
from fakes import answer
from manycall.errors import RowRejected, SettingsMismatch, StorageError, UsageError
from manycall.records import Failure, Row, Success
from manycall.store import resume_cache
from manycall.store.cache_writer import SessionProgress
from manycall.store.manifest import Manifest
from manycall.store.resume_cache import CACHE
from manycall.store.run_folder import RunFolder
from servers import http, read_request, serving
from shell import finish, rows, start
from shell import manycall as command
from test_crashes import known_of, without_cache

OUT, NEW, RUN = Path("out.jsonl"), Path("new.jsonl"), Path("out.jsonl.run")
ROWS = [{"id": str(n), "q": n} for n in range(20)]
NOWHERE = "http://127.0.0.1:9/v1"
Connection = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]


def model(asked: list[str]) -> Connection:
    """Write a story for `write N`, and score the story N with N % 5 + 1."""

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        prompt = json.loads((await read_request(reader))[1])["messages"][-1]["content"]
        asked.append(prompt)
        number = int(prompt.split()[1])
        text = f"story {number} ends" if prompt.startswith("write") else f"Score: {number % 5 + 1}"
        writer.write(http(200, answer(text).body))
        await writer.drain()

    return connection


def chain(min_score: int, *more: dict[str, Any]) -> list[Any]:
    judge = {"judge": "judge {{ text.split()[1] }}", "min_score": min_score}
    return [{"generate": "write {{ q }}"}, judge, *more]


def steps(given: Any, url: str, out: Path = OUT, **how: Any) -> Any:
    return manycall.run_steps(given, how.pop("rows", ROWS), model="m", base_url=url, out=out, progress=False, **how)


def ids(path: Path) -> set[int]:
    found = [int(row["id"]) for row in rows(path)]
    assert len(found) == len(set(found))
    return set(found)


def scored(least: int) -> set[int]:
    return {n for n in range(20) if n % 5 + 1 >= least}


def judged() -> None:
    with serving(model([])) as url:
        assert steps(chain(3), url).done == len(scored(3))


def test_a_moved_threshold_decides_every_row_again_without_a_call() -> None:
    judged()
    for least in (4, 2, 4):
        result = steps(chain(least), NOWHERE, from_=OUT)
        assert (result.calls, result.replayed, result.failed) == (0, 40, 0)
        assert (result.done, result.rejected) == (len(scored(least)), 20 - len(scored(least)))
        assert ids(OUT) == scored(least)
        assert ids(RUN / "rejected.jsonl") == set(range(20)) - scored(least)
        assert list(RUN.glob("staged-*")) == []
    manifest = json.loads((RUN / "manifest.json").read_bytes())
    assert [step.get("min_score") for step in manifest["settings"]["steps"]] == [None, 4]
    assert [each.get("from") for each in manifest["sessions"]] == [None, "out.jsonl", "out.jsonl", "out.jsonl"]
    again = steps(chain(4), NOWHERE)  # the new settings are those of the output now
    assert (again.done, again.replayed) == (len(scored(4)), 0)


def test_a_new_output_takes_the_calls_over_and_leaves_the_old_one_as_it_is() -> None:
    judged()
    before = {path: path.read_bytes() for path in [OUT, *RUN.iterdir()]}
    result = steps(chain(4), NOWHERE, NEW, from_=OUT)
    assert (result.calls, result.replayed, ids(NEW)) == (0, 40, scored(4))
    assert {path: path.read_bytes() for path in [OUT, *RUN.iterdir()]} == before
    assert Path("new.jsonl.run/calls.jsonl").read_bytes() == before[RUN / "calls.jsonl"]
    for path in before:
        path.unlink()
    assert steps(chain(1), NOWHERE, NEW, from_=NEW).done == 20  # the copy of the journal is all that it needs


def test_a_new_output_with_the_same_settings_is_resumed_by_the_same_call() -> None:
    judged()
    for limit in (9, 20):
        result = steps(chain(3), NOWHERE, NEW, from_=OUT, limit=limit)
        assert (result.calls, result.failed, ids(NEW)) == (0, 0, {n for n in scored(3) if n < limit})


def test_calls_are_taken_over_only_by_a_new_output_also_if_its_rows_were_decided_again() -> None:
    judged()
    with serving(model([])) as url:
        steps(chain(3), url, NEW)
    steps(chain(4), NOWHERE, NEW, from_=NEW)
    with pytest.raises(UsageError, match="begun without from_="):
        steps(chain(4), NOWHERE, NEW, from_=OUT)


def test_an_output_that_took_calls_over_and_was_decided_again_is_resumed_by_the_call_that_began_it() -> None:
    judged()
    steps(chain(3), NOWHERE, NEW, from_=OUT)
    steps(chain(4), NOWHERE, NEW, from_=NEW)
    assert steps(chain(4), NOWHERE, NEW, from_=OUT).done == len(scored(4))


def test_only_the_calls_that_are_missing_are_made() -> None:
    asked: list[str] = []
    second = {"generate": "write {{ q + 100 }}", "output_field": "more"}
    with serving(model(asked)) as url:
        steps(chain(5, second), url)
        asked.clear()
        with pytest.raises(SettingsMismatch, match=r"New calls: at least 8\. Of 20 rows, 8 need") as refusal:
            steps(chain(3, second), url)
        assert "out.jsonl" in str(refusal.value.from_)
        assert asked == []
        result = steps(chain(3, second), url, from_=OUT)
    assert (result.calls, result.replayed) == (8, 44)
    assert sorted(asked) == sorted(f"write {n + 100}" for n in scored(3) - scored(5))
    assert ids(OUT) == scored(3)


def test_the_refusal_says_which_changes_need_new_calls_and_which_do_not() -> None:
    judged()
    with pytest.raises(SettingsMismatch) as refusal:
        steps(chain(4, {"keep": "score > 1"}, {"assign": {"twice": "{{ 2 * score }}"}}), NOWHERE)
    text = str(refusal.value)
    assert "Changes of what is done with answers, which need none by themselves: steps." in text
    assert "New calls: none. The journal has every answer that 20 rows need." in text
    assert "from_='out.jsonl' decides all rows again" in text
    with pytest.raises(SettingsMismatch) as refusal:
        steps(chain(3), NOWHERE, params={"top_p": 0.5})
    text = str(refusal.value)
    assert "Changes of requests, which need new calls: params." in text
    assert "New calls: at least 20. Of 20 rows, 20 need" in text
    assert text.endswith("No journaled answer fits the new settings.")
    assert refusal.value.from_ is None


def test_the_command_line_prints_the_command_that_goes_on() -> None:
    Path("in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    Path("s.json").write_text(json.dumps({"steps": chain(3)}))
    words = ("steps", "s.json", "in.jsonl", "-m", "m", "-o", OUT)
    with serving(model([])) as url:
        assert command(*words, "-u", url).code == 0
    Path("s.json").write_text(json.dumps({"steps": chain(4)}))
    refused = command(*words, "-u", NOWHERE)
    assert refused.code == 2
    assert (
        f"Decide the rows again with: manycall {' '.join(map(str, words))} -u {NOWHERE} --from out.jsonl" in refused.err
    )
    planned = command(*words, "-u", NOWHERE, "--from", OUT, "--dry-run")
    assert "New calls: none." in planned.out
    assert ids(OUT) == scored(3)
    assert command(*words, "-u", NOWHERE, "--from", OUT).code == 0
    assert ids(OUT) == scored(4)


def test_a_dry_run_of_deciding_again_gives_the_missing_calls_as_a_lower_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    judged()
    other = [{"generate": "write {{ q }} again"}, *chain(3)[1:]]
    planned = steps(other, NOWHERE, from_=OUT, dry_run=True)
    assert (planned.calls, planned.is_lower_bound, "| at least 20 " in str(planned)) == (20, True, True)
    none = steps(chain(4), NOWHERE, from_=OUT, dry_run=True)
    assert (none.calls, none.is_lower_bound) == (0, False)
    monkeypatch.setattr("manycall.run.rehearsal.REHEARSAL_SECONDS", -1.0)
    first_rows = steps(chain(4), NOWHERE, from_=OUT, dry_run=True)
    assert (first_rows.calls, first_rows.is_lower_bound) == (0, True)


def test_an_old_output_is_never_replaced_by_a_part_of_its_rows() -> None:
    judged()
    before = OUT.read_bytes()
    with pytest.raises(StorageError, match=r"out.jsonl is unchanged: 7 of its rows are not in the input"):
        steps(chain(3), NOWHERE, from_=OUT, limit=9)
    assert OUT.read_bytes() == before
    assert steps(chain(3), NOWHERE).replayed == 0  # the old run is still there
    assert steps(chain(4), NOWHERE, from_=OUT).done == len(scored(4))


def test_from_is_refused_where_it_has_no_answers_or_no_meaning() -> None:
    with pytest.raises(UsageError, match="has no run folder with answers"):
        steps(chain(3), NOWHERE, from_=OUT)
    with pytest.raises(UsageError, match="not an output of manycall"):
        steps(chain(3), NOWHERE, NEW, from_=OUT)
    judged()
    with pytest.raises(UsageError, match="overwrite=True would move"):
        steps(chain(3), NOWHERE, from_=OUT, overwrite=True)
    with serving(model([])) as url:
        steps(chain(3), url, NEW)
    with pytest.raises(UsageError, match="begun without from_="):
        steps(chain(3), NOWHERE, NEW, from_=OUT)
    steps(chain(3), NOWHERE, Path("third.jsonl"), from_=OUT)
    with pytest.raises(UsageError, match="has taken over the answers of"):
        steps(chain(3), NOWHERE, Path("third.jsonl"), from_=NEW)
    shutil.copytree(RUN, "elsewhere/out.jsonl.run")
    shutil.copy(OUT, "elsewhere/out.jsonl")
    with pytest.raises(UsageError, match="Omit from_="):
        steps(chain(3), NOWHERE, Path("third.jsonl"), from_=Path("elsewhere/out.jsonl"))
    Path("moved").mkdir()
    for each in (OUT, RUN):
        each.rename(Path("moved") / each)
    assert steps(chain(3), NOWHERE, Path("third.jsonl"), from_=Path("moved") / OUT).done == len(scored(3))
    for each in (OUT, RUN):
        (Path("moved") / each).rename(each)
    with pytest.raises(UsageError, match="cannot be combined"):
        manycall.generate(
            "write {{ q }}", ROWS, model="m", base_url=NOWHERE, out=OUT, progress=False, from_=OUT, retry="truncated"
        )


def test_a_row_that_fails_under_the_new_decision_is_in_the_failures_only() -> None:
    judged()

    result = steps(chain(1, {"assign": {"twice": "{{ 6 // (score - 3) }}"}}), NOWHERE, from_=OUT)
    failed = {n for n in range(20) if n % 5 + 1 == 3}
    assert (result.failed, ids(OUT)) == (len(failed), set(range(20)) - failed)
    assert ids(RUN / "failures.jsonl") == failed


def test_a_function_that_was_fixed_decides_every_row_again() -> None:
    async def keep_all(row: dict[str, Any], llm: Any) -> dict[str, Any]:
        return {"text": (await llm.chat(f"write {row['q']}")).text}

    async def keep_even(row: dict[str, Any], llm: Any) -> dict[str, Any]:
        if row["q"] % 2:
            raise RowRejected("odd")
        return await keep_all(row, llm)

    how: dict[str, Any] = {"model": "m", "out": OUT, "progress": False}
    with serving(model([])) as url:
        manycall.map(keep_all, ROWS, base_url=url, **how)
    keep_even.__name__ = "keep_all"
    result = manycall.map(keep_even, ROWS, base_url=NOWHERE, from_=OUT, **how)
    assert (result.done, result.rejected, result.calls) == (10, 10, 0)


SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}


def json_model(asked: list[dict[str, Any]], refuses_format: bool = False) -> Connection:
    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        body = json.loads((await read_request(reader))[1])
        asked.append(body)
        if refuses_format and "response_format" in body:
            writer.write(http(400, b'{"error":{"message":"response_format is not supported"}}'))
        else:
            writer.write(http(200, answer('Sure! {"a": 1, "b": "two", }').body))
        await writer.drain()

    return connection


@pytest.mark.parametrize("refuses_format", [False, True])
def test_old_answers_are_read_with_a_new_schema(refuses_format: bool) -> None:
    wider = {**SCHEMA, "properties": {"a": {"type": "integer"}, "b": {"type": "string"}}, "required": ["a", "b"]}
    narrower = {**SCHEMA, "properties": {"b": {"type": "integer"}}, "required": ["b"]}

    def generate(schema: Any, url: str, **how: Any) -> manycall.results.RunResult:
        return manycall.generate(
            "x {{ q }}", ROWS, schema=schema, model="m", base_url=url, out=OUT, progress=False, concurrency=1, **how
        )

    asked: list[dict[str, Any]] = []
    with serving(json_model(asked, refuses_format)) as url:
        assert generate(SCHEMA, url).counts["repaired JSON"] == 20
        with pytest.raises(SettingsMismatch, match="New calls: none") as refusal:
            generate(wider, url)
        assert "Changes of what is done with answers, which need none by themselves: schema" in str(refusal.value)
        with pytest.raises(SettingsMismatch, match="New calls: at least 20"):
            generate(narrower, url)
    assert len(asked) == 20 + refuses_format
    for _ in range(2):  # the second time, the schema that was sent is two decisions old
        result = generate(wider, NOWHERE, from_=OUT)
        assert (result.done, result.calls, result.replayed) == (20, 0, 20)
        assert {(row["a"], row["b"]) for row in rows(OUT)} == {(1, "two")}
        assert {row["a_repaired"] for row in rows(OUT)} == {"trailing comma"}
        generate(SCHEMA, NOWHERE, from_=OUT)


def test_a_changed_regular_expression_reads_the_old_answers() -> None:
    def generate(extract: str, url: str, **how: Any) -> manycall.results.RunResult:
        return manycall.generate(
            "write {{ q }}", ROWS, extract=extract, model="m", base_url=url, out=OUT, progress=False, **how
        )

    with serving(model([])) as url:
        generate(r"story (\d+)", url)
    with pytest.raises(SettingsMismatch, match="New calls: none"):
        generate(r"(?P<what>\w+) (?P<number>\d+)", NOWHERE)
    assert generate(r"(?P<what>\w+) (?P<number>\d+)", NOWHERE, from_=OUT).calls == 0
    assert {(row["what"], int(row["number"])) for row in rows(OUT)} == {("story", n) for n in range(20)}


def test_new_variables_are_checked_for_every_row_although_a_cache_knows_the_input(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(RunFolder.cache_with, "__defaults__", (0,))  # a cache for a few rows, too
    Path("in.jsonl").write_text("".join(json.dumps({"id": str(n), "q": n, "even": n % 2 == 0}) + "\n" for n in (2, 3)))
    settled = time.time() - 1000
    os.utime("in.jsonl", (settled, settled))

    def generate(url: str, **how: Any) -> manycall.results.RunResult:
        return manycall.generate(
            "write {{ q }}", Path("in.jsonl"), model="m", base_url=url, out=OUT, progress=False, **how
        )

    with serving(model([])) as url:
        generate(url)
    assert (RUN / CACHE).exists()
    with pytest.raises(UsageError, match="has no values for even = 'false'"):
        generate(NOWHERE, from_=OUT, random_vars={"x": {"by": "even", "values": {"true": [1]}}})
    assert list(RUN.glob("staged-*")) == []
    result = generate(NOWHERE, from_=OUT, random_vars={"x": {"by": "even", "values": {"true": [1], "false": [2]}}})
    assert (result.done, result.calls) == (2, 0)
    assert not (RUN / CACHE).exists()


def test_killed_in_the_middle_the_old_output_is_whole_and_the_same_command_goes_on() -> None:
    count = 3000
    Path("in.jsonl").write_text("".join(json.dumps({"id": str(n), "q": n}) + "\n" for n in range(count)))
    Path("s.json").write_text(json.dumps({"steps": chain(3)}))
    words = ("steps", "s.json", "in.jsonl", "-m", "m", "-o", OUT)
    with serving(model([])) as url:
        assert command(*words, "-u", url).code == 0
    before, calls = OUT.read_bytes(), (RUN / "calls.jsonl").read_bytes()
    Path("s.json").write_text(json.dumps({"steps": chain(4)}))
    staged = RUN / "staged-rows.jsonl"
    running = start(*words, "-u", NOWHERE, "--from", OUT)
    deadline = time.monotonic() + 60
    while not (staged.exists() and staged.stat().st_size > 1000) and time.monotonic() < deadline:
        time.sleep(0.001)
    running.send_signal(signal.SIGKILL)
    finish(running)
    assert staged.stat().st_size > 0
    assert (OUT.read_bytes(), (RUN / "calls.jsonl").read_bytes()) == (before, calls)
    ended = command(*words, "-u", NOWHERE, "--from", OUT, "--json")
    assert (ended.code, json.loads(ended.out)["calls"]) == (0, 0)
    assert 0 < json.loads(ended.out)["replayed"] < 2 * count
    assert ids(OUT) == {n for n in range(count) if n % 5 + 1 >= 4}
    assert ids(RUN / "rejected.jsonl") == {n for n in range(count) if n % 5 + 1 < 4}


# every state that a crash may leave

DISK_OUT = Path("/folder/out.jsonl")
DISK_RUN = DISK_OUT.with_name("out.jsonl.run")
COUNT = 5
REJECTED = 0


def open_run(disk: Remembering, version: int, again: bool = False, earlier: Path = DISK_OUT) -> RunFolder:
    """Open the files, with what writes resume.cache at the end of the session."""
    manifest = Manifest("0", {"job": "test", "version": version})
    run = RunFolder(DISK_OUT, manifest, earlier=earlier if again else None, disk=disk)
    run.cache_with(SessionProgress, min_rows=0)
    return run


def ask(run: RunFolder, row_id: str, key: str) -> list[str]:
    """Make a call. Return it if it was paid for, and nothing if the journal has the answer."""
    if run.journal.replay(row_id, key, 1) is not None:
        return []
    run.journal.append(row_id, key, 1, b"{}", at=1.0, seconds=1.0)
    return [f"{row_id} {key}"]


def decide(run: RunFolder, version: int) -> list[str]:
    """Decide the rows that are not done: the first is rejected, and the one with the number of the version fails.

    The lines of both versions have the same lengths and the same ends. Version 2 makes a second call for one row.
    Return the calls that were paid for.
    """
    paid: list[str] = []
    for n in range(COUNT):
        row = Row(str(n), {})
        if not run.ids.is_done(row.id):
            paid += ask(run, row.id, "first")
            if n == REJECTED:
                run.write_rejected(row, RowRejected("not this one"))
            elif n == version:
                paid += ask(run, row.id, "second") if version == 2 else []
                run.failures.append(Failure(row, "function_error", "no", 1))
            else:
                run.write_row(Success(row, {"version": version, "text": "the same"}))
    run.mark_ended()
    return paid


def version_of(files: Files) -> int:
    """Return the version of the rows in the output, which has all rows of that version once."""
    written = [msgspec.json.decode(line) for line in files[DISK_OUT].splitlines()]
    (version,) = {row["version"] for row in written}
    assert sorted(int(row["id"]) for row in written) == [n for n in range(COUNT) if n not in (REJECTED, version)]
    return int(version)


def crash_states(disk: Remembering, begin: int, end: int | None = None, *, torn: bool = True) -> list[Files]:
    """Return every state that a crash after one of these changes of a disk may leave, each once.

    Args:
        torn: with the states in which a file has lost a part of its last writes.
    """
    ends = range(begin, (len(disk.log) if end is None else end) + 1)
    states = (crash.files for each in ends for crash in crashes(disk, each) if torn or ", file " not in crash.how)
    return [*{frozenset(files.items()): files for files in states}.values()]


@pytest.fixture
def _weak_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hash covers few bytes, so that those of the old and the new rows are equal, as in outputs of many rows."""
    monkeypatch.setattr(resume_cache, "TAIL_BYTES", 8)


def decided_again() -> tuple[Remembering, int]:
    """Return a disk on which version 1 has left a cache and version 2 was decided in place, and where that began."""
    disk = Remembering()
    run = open_run(disk, 1)
    assert len(decide(run, 1)) == COUNT
    run.close()
    assert DISK_RUN / CACHE in disk.files
    begin = len(disk.log)
    run = open_run(disk, 2, again=True)
    assert decide(run, 2) == ["2 second"]
    run.close()
    assert version_of(disk.files) == 2
    return disk, begin


@pytest.mark.usefixtures("_weak_hashes")
def test_after_any_crash_the_output_has_the_old_rows_or_the_new_ones() -> None:
    disk, begin = decided_again()
    seen: set[int] = set()

    def recover(files: Files) -> tuple[list[str], Files]:
        seen.add(version_of(files))
        left = Remembering(files)
        run = open_run(left, 2, again=True)
        seen.add(version_of(left.files))
        paid = decide(run, 2)
        run.close()
        assert version_of(left.files) == 2
        manifest = msgspec.json.decode(left.files[DISK_RUN / "manifest.json"])
        assert (manifest["settings"]["version"], manifest["earlier_settings"][0]["version"]) == (2, 1)
        assert len(left.files[DISK_RUN / "rejected.jsonl"].splitlines()) == 1
        assert not [path for path in left.files if path.match("staged-*") and path.suffix != ".torn"]
        assert DISK_RUN / CACHE not in left.files
        return paid, left.files

    for files in crash_states(disk, begin):
        paid, left = recover(files)
        assert set(paid) <= {"2 second"}
        assert recover(without_cache(files)) == (paid, left)
    assert seen == {1, 2}


@pytest.mark.usefixtures("_weak_hashes")
def test_after_any_crash_either_command_resumes_with_the_cache_as_without_it() -> None:
    disk, begin = decided_again()
    opened: Counter[tuple[int, bool]] = Counter()

    def resume(files: Files) -> tuple[int, list[str], Files]:
        left = Remembering(files)
        try:
            run, version = open_run(left, 1), 1
        except SettingsMismatch:  # the new rows are there
            run, version = open_run(left, 2), 2
        plain = open_run(Remembering(without_cache(files)), version)
        assert known_of(run) == known_of(plain)
        assert version_of(left.files) == version
        opened[version, run.cached is not None] += 1
        paid = decide(run, version)
        run.close()
        assert version_of(left.files) == version
        again = open_run(Remembering(left.files), version)
        assert again.cached is not None
        assert known_of(again) == known_of(open_run(Remembering(without_cache(left.files)), version))
        return version, paid, without_cache(left.files)

    for files in crash_states(disk, begin, torn=False):
        assert resume(files) == resume(without_cache(files))
    assert opened.keys() == {(1, False), (1, True), (2, False)}


def test_after_any_crash_a_new_output_has_the_calls_of_the_earlier_one_but_not_its_cache() -> None:
    old = RunFolder(OUT, Manifest("0", {"job": "test", "version": 0}))
    assert ask(old, "3", "first") + ask(old, "9", "first") == ["3 first", "9 first"]
    old.close()
    calls = (RUN / "calls.jsonl").read_bytes()
    (RUN / CACHE).write_bytes(b"the cache of another output")
    disk = Remembering()
    run = open_run(disk, 1, again=True, earlier=OUT)
    end = len(disk.log)
    assert len(decide(run, 1)) == COUNT - 1
    run.close()
    assert DISK_RUN / CACHE in disk.files

    for files in [*crash_states(disk, 0, end), *crash_states(disk, end, torn=False)]:
        results = []
        for each in (files, without_cache(files)):
            left = Remembering(each)
            run = open_run(left, 1, again=True, earlier=OUT)
            paid = decide(run, 1)
            run.close()
            assert version_of(left.files) == 1
            assert left.files[DISK_RUN / "calls.jsonl"].startswith(calls)
            run = open_run(Remembering(left.files), 1)
            assert run.cached is not None
            assert known_of(run) == known_of(open_run(Remembering(without_cache(left.files)), 1))
            results.append((paid, without_cache(left.files)))
        assert results[0] == results[1]
