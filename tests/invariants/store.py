"""A run's files, as a crash, a disk or somebody's editor may have left them."""
# ruff: noqa: PT017 (an error may come, and need not)

import json
import re
from base64 import b64decode
from collections import Counter
from pathlib import Path
from typing import Any

import documents
from invariants import folder, sentence
from manycall.errors import CorruptFile, SettingsMismatch
from manycall.records import Failure, Row, Success
from manycall.store.journal import Journal
from manycall.store.manifest import Manifest
from manycall.store.paths import damaged_path
from manycall.store.repair import repair
from manycall.store.run_folder import RunFolder


def lines_of(content: bytes) -> list[bytes]:
    """The lines that hold something, the last perhaps without its end."""
    return [line for line in content.split(b"\n") if line not in {b"", b"\r"}]


def is_ours(line: bytes) -> bool:
    """Whether it is JSON of the kind that is written here."""
    try:
        json.dumps(json.loads(line.decode()), ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        return False
    return b"\0" not in line and line.count(b"[") + line.count(b"{") < 200


def is_damage(error: CorruptFile) -> str:
    """It names a file, and the byte at which one of its lines begins."""
    found = re.fullmatch(r"(.+?) is corrupt at byte ([\d,]+): .+", str(error))
    assert found
    sentence(error)
    content, at = Path(found[1]).read_bytes(), int(found[2].replace(",", ""))
    assert at < max(len(content), 1)
    assert at == 0 or content[at - 1 : at] == b"\n"
    return f"damage in {Path(found[1]).name}"


def nothing_lost(path: Path, content: bytes) -> None:
    """Every line still stands there in its order, but for what a crash has torn, which is kept aside."""
    torn = path.with_name(path.name + ".torn")
    aside = lines_of(torn.read_bytes()) if torn.exists() else []
    stand, were = lines_of(path.read_bytes()), lines_of(content)
    assert Counter(stand) + Counter(aside) == Counter(were)
    assert not any(map(is_ours, aside))
    if b"\0" in content:
        rest = iter(were)
        assert all(line in rest for line in stand)
    else:
        assert [*stand, *aside] == were
        assert len(aside) <= (not content.endswith(b"\n"))


def paid(line: bytes) -> tuple[tuple[str, str, int], bytes | None] | None:
    """(whose call, its body) of a line of a journal; the body None if the line is not one that we would write."""
    try:
        found = json.loads(line.decode("utf-8", "replace"), strict=False)
        whose = (found["id"], found["key"], found["nth"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    try:
        assert json.loads(line.decode(), object_pairs_hook=_once_each) == found
        assert found.keys() <= {"id", "key", "nth", "at", "seconds", "body", "body64"}
        assert all(isinstance(found.get(name, ""), str) for name in ("id", "key", "body", "body64"))
        assert all(type(found.get(name, 0)) in {int, float} for name in ("at", "seconds"))
        assert all(abs(found.get(name, 0)) < 2**63 for name in ("nth", "at", "seconds"))
        assert type(found["nth"]) is int
        "".join((found["id"], found["key"], found.get("body", ""))).encode()  # no half of a character
        text = found.get("body64", "")
        return whose, b64decode(text, validate=True) if text else found.get("body", "").encode()
    except (AssertionError, ValueError, TypeError):
        return whose, None


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


def check_journal(content: bytes) -> str:
    """calls.jsonl: damage with its place, or every call that stands there whole is replayed, exactly, and once."""
    with folder() as here:
        path = here / "calls.jsonl"
        path.write_bytes(content)
        try:
            journal = Journal(path, lambda name: False)
        except CorruptFile as error:
            nothing_lost(path, content)
            calls = [paid(line) for line in lines_of(content)]
            assert not all(call and call[1] is not None for call in calls)
            return is_damage(error)
        nothing_lost(path, content)
        bodies = dict(call for line in lines_of(path.read_bytes()) if (call := paid(line)))
        try:
            assert {call.body for call in journal.calls()} >= {body for body in bodies.values() if body is not None}
        except CorruptFile as error:
            is_damage(error)
        found = replayed(journal, bodies)
        more: dict[Any, bytes | None] = {("new\n😀", "k", 1): b"\xff\0new", ("new\n😀", "k", 2): content}
        for (row, key, nth), body in more.items():
            journal.append(row, key, nth, body or b"", at=1.0, seconds=2.0)
        assert journal.close() == 0
        again = Journal(path, lambda name: False)
        assert replayed(again, bodies | more) == found + 2
        return f"{min(found, 3)} calls, {min(len(bodies) - found, 3)} in doubt"


def replayed(journal: Journal, bodies: dict[Any, bytes | None]) -> int:
    """How many of these calls are replayed; each that is known for sure must be."""
    count = 0
    for (row, key, nth), body in bodies.items():
        try:
            found = journal.replay(row, key, nth)
        except CorruptFile as error:
            is_damage(error)
            assert body is None, f"call {nth} of row {row!r} was refused"
            continue
        assert body is None or found == body
        count += body is not None
        assert journal.replay(row, key, nth) is None
    return count


def ids_in(content: bytes) -> set[str]:
    """The ids of the rows in a file that was read without complaint."""
    return {str(_lenient(line.decode("utf-8", "replace"))["id"]) for line in lines_of(content)}


_lenient = json.JSONDecoder(strict=False, parse_int=lambda text: int(text) if len(text) < 4000 else text).decode


def check_run(output: bytes, calls: bytes, failures: bytes, manifest: bytes) -> str:
    """A run's files: a sentence, or what is done is done, what failed has failed, and more can be written.

    After `manycall repair` there is no damage left, and no line of the output is gone.
    """
    with folder() as here:
        out, inside = here / "out.jsonl", here / "out.jsonl.run"
        inside.mkdir()
        files = {"calls.jsonl": calls, "failures.jsonl": failures, "manifest.json": manifest}
        for path, content in [(out, output), *((inside / name, content) for name, content in files.items())]:
            path.write_bytes(content)
        try:
            said = use(out)
        except CorruptFile as error:
            said = is_damage(error)
            nothing_lost(out, output)
            assert repair(out) != [f"{out}: no damaged lines found."]
            use(out)
        places = (out, damaged_path(out), here / "out.jsonl.torn")
        kept = b"\n".join(path.read_bytes() for path in places if path.exists())
        assert not Counter(lines_of(output)) - Counter(lines_of(kept))
        return said


def use(out: Path) -> str:
    """Open the run, look whether it knows what stands in its files, write more, and look again."""
    manifest = Manifest("0", documents.MANIFEST["settings"])
    try:
        run = RunFolder(out, manifest)
    except SettingsMismatch as error:
        assert "No call was made. Use another out=, or overwrite=True to start over" in str(error)
        return "RunDiffers"
    done, failed = ids_in(out.read_bytes()), ids_in((run.folder / "failures.jsonl").read_bytes())
    assert len(run.ids) == len(done)
    assert all(run.ids.state(name) for name in done)
    assert run.failures.failed_before == failed
    assert not failed & done
    new, lost = f"new\0{len(done)}", f"lost{len(done)}"
    run.write_row(Success(Row(new, {"q": "文"}), {"text": "\u2028"}))
    run.failures.append(Failure(Row(lost, {}), "call_error", "503", last_text="\0"))
    run.journal.append(lost, "k", 1, b"{", at=0.0, seconds=0.0)
    run.sync()
    run.close()
    again = RunFolder(out, manifest)
    assert len(again.ids) == len(done) + 1
    assert again.failures.failed_before == failed | {lost}
    assert again.journal.replay(lost, "k", 1) == b"{"
    again.close()
    return f"{min(len(done), 3)} done, {min(len(failed), 3)} failed"
