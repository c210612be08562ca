"""Files that happen to have the name of a module: they are not executed, and they break nothing."""

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from manycall.cli.user_code import load_function
from manycall.errors import UsageError
from shell import Ended, finish, manycall, start

SCRIPT = Path(sys.executable).with_name("manycall")
NAMES = ("random", "queue", "html", "typing", "json", "socket", "asyncio", "msgspec", "jinja2", "uvicorn", "pyreqwest")
WORDS = ("-u", "sim:latency=0", "-m", "any", "-o", "out.jsonl", "--no-progress")
FUNCTION = """\
import helper
from pieces import last

async def grade(row, llm):
    import late
    return {"text": helper.twice((await llm.chat("hi")).text)[:9], "last": last.LAST, "late": late.LATE}
"""


@pytest.fixture(autouse=True)
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def foreign(folder: Path, *names: str) -> None:
    """Modules that leave a trace if they are executed."""
    folder.mkdir(exist_ok=True)
    for name in names or NAMES:
        (folder / f"{name}.py").write_text(f"open({str(Path('executed').absolute())!r}, 'a').write('{name} ')\n")


def user_function(folder: Path) -> Path:
    """A function that imports its neighbours, also when it is called."""
    folder.mkdir(exist_ok=True)
    (folder / "helper.py").write_text("def twice(text): return 2 * text\n")
    (folder / "late.py").write_text("LATE = 1\n")
    (folder / "pieces").mkdir()
    (folder / "pieces" / "__init__.py").touch()
    (folder / "pieces" / "last.py").write_text("LAST = 2\n")
    (folder / "f.py").write_text(FUNCTION)
    Path("in.jsonl").write_text('{"id":1}\n')
    return folder / "f.py"


def script(*words: str | Path) -> Ended:
    """The command as it is installed; `manycall` of tests/shell.py is `python -m manycall`."""
    done = subprocess.run([SCRIPT, *words], capture_output=True, text=True, timeout=60, check=False)
    return Ended(done.returncode, done.stdout, done.stderr)


def test_the_simulator_executes_nothing_from_the_current_folder() -> None:
    foreign(Path())
    done = script("generate", "-p", "Tell", "-n", "2", *WORDS)
    assert (done.code, done.err) == (0, "")
    assert not Path("executed").exists()


def test_python_m_manycall_executes_nothing_from_the_current_folder() -> None:
    foreign(Path(), *(name for name in NAMES if name not in {"typing"}))  # Python itself needs that one before us
    done = manycall("generate", "-p", "Tell", "-n", "2", *WORDS)
    assert (done.code, done.err) == (0, "")
    assert not Path("executed").exists()


def test_the_simulator_starts_where_the_package_is_not_installed() -> None:
    """The child finds it by the place of its parent's, which has put its source on its path by itself."""
    source, packages = Path(__file__).parents[1] / "src", Path(msgspec.__file__).parents[1]
    code = f"""if True:
        import sys
        sys.path.insert(0, {str(source)!r})
        from manycall.sim.process import SimProcess
        sim = SimProcess("sim")
        print(sim.start())
        sim.stop()
    """
    python = [sys._base_executable, "-c", code]  # type: ignore[attr-defined]  # outside the virtual environment
    env = {**os.environ, "PYTHONPATH": str(packages)}
    done = subprocess.run(python, capture_output=True, text=True, timeout=60, check=False, env=env)
    assert done.stdout.startswith("http://127.0.0.1:"), done.stderr


@pytest.mark.parametrize("folder", ["beside", "."])
def test_files_next_to_a_function_replace_no_module_and_can_be_imported(folder: str) -> None:
    foreign(Path(folder))
    function = user_function(Path(folder))
    done = script("run", f"{function}:grade", "in.jsonl", *WORDS)
    assert (done.code, done.err) == (0, "")
    assert Path("out.jsonl").read_text().endswith('"last":2,"late":1}\n')
    assert not Path("executed").exists()


def test_a_function_that_imports_a_neighbour_which_an_installed_module_hides_is_refused() -> None:
    function = user_function(Path("beside"))
    Path("beside/jinja2.py").write_text("LOADED = True\n")
    function.write_text(f"import jinja2.sandbox\n{FUNCTION}")
    done = finish(start("run", f"{function}:grade", "in.jsonl", *WORDS))
    assert done.code == 2
    assert done.err.startswith("manycall: beside/f.py imports 'jinja2', and there are two: ")
    assert str(Path("beside/jinja2.py").absolute()) in done.err
    assert "site-packages/jinja2/__init__.py, which Python finds first. Rename yours" in done.err


def test_the_neighbour_of_another_file_that_was_loaded_before_is_not_taken_for_ones_own() -> None:
    for folder in ("one", "two"):
        Path(folder).mkdir()
        Path(folder, "shared_name.py").write_text(f"NAME = {folder!r}\n")
        Path(folder, "f.py").write_text("import shared_name\ndef name(): return shared_name.NAME\n")
    try:
        assert load_function("one/f.py:name")() == "one"
        assert load_function("one/f.py:name")() == "one"
        with pytest.raises(UsageError, match="imports 'shared_name', and there are two"):
            load_function("two/f.py:name")
    finally:
        sys.modules.pop("shared_name")
