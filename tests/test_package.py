"""The package as users get it: built, installed elsewhere, and tried from outside of the checkout."""

import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SCRIPT = """
from typing import assert_type

import manycall


async def grade(row: dict[str, object], llm: manycall.LLM) -> dict[str, object]:
    reply = await llm.chat("Is it so?", max_tokens=4)
    assert_type(reply, manycall.Completion)
    return {"answer": assert_type(reply.text, str)}


report = manycall.map(grade, [{"q": 1}], model="any", base_url="sim", out="typed.jsonl", progress=False)
assert_type(report, manycall.results.RunResult)
result = manycall.evaluate("wordmath", limit=5, model="any", base_url="sim", out="e.jsonl", progress=False)
assert_type(result.scores[0].value, float | None)
"""


def run(*words: str | Path, cwd: Path) -> str:
    """Run a command where nothing leads to the checkout; return what it printed."""
    env = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    done = subprocess.run(
        [*map(str, words)], cwd=cwd, env=env, capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the sdist, and the wheel that was built from it."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--outdir", folder, ROOT, cwd=folder)
    return folder


@pytest.fixture(scope="session")
def installed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment that has the wheel, and nothing of the checkout."""
    folder = tmp_path_factory.mktemp("elsewhere")
    run(sys.executable, "-m", "venv", "venv", cwd=folder)
    (wheel,) = built.glob("*.whl")
    run(folder / "venv" / "bin" / "python", "-m", "pip", "install", "--quiet", wheel, "mypy", cwd=folder)
    return folder / "venv" / "bin"


@pytest.mark.package
def test_the_wheel_works_where_nothing_else_is(installed: Path, tmp_path: Path) -> None:
    manycall = installed / "manycall"
    where = run(installed / "python", "-c", "import manycall; print(manycall.__file__)", cwd=tmp_path)
    assert where.startswith(str(installed.parent))
    assert re.fullmatch(r"manycall \d+\.\d+\S*\n", run(manycall, "--version", cwd=tmp_path))
    run(manycall, "generate", "-p", "Hi", "-n", "5", "-u", "sim", "-m", "any", "-o", "hi.jsonl", cwd=tmp_path)
    assert len((tmp_path / "hi.jsonl").read_text().splitlines()) == 5
    said = run(manycall, "eval", "wordmath", "--limit", "20", "-u", "sim", "-m", "any", "-o", "e.jsonl", cwd=tmp_path)
    assert "| wordmath " in said


@pytest.mark.package
def test_a_typed_script_of_a_user_passes_mypy_strict_and_runs(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    assert "Success" in run(installed / "mypy", "--strict", "script.py", cwd=tmp_path)
    run(installed / "python", "script.py", cwd=tmp_path)


@pytest.mark.package
def test_the_sdist_runs_its_own_tests(built: Path, tmp_path: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (folder,) = tmp_path.glob("manycall-*")
    pytest_ = (sys.executable, "-m", "pytest", "-p", "no:cacheprovider")
    env = ("env", f"PYTHONPATH={folder / 'src'}")
    run(*env, *pytest_, "--collect-only", cwd=folder)
    files = (f"tests/test_{name}.py" for name in ("docs", "exports", "retry"))
    run(*env, *pytest_, "-k", "not example and not recipe_runs", *files, cwd=folder)


@pytest.mark.package
def test_the_page_of_a_package_index_has_no_link_into_the_repository(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("METADATA"))
        page = archive.read(name).decode()
    repository = PROJECT["tool"]["hatch"]["metadata"]["hooks"]["custom"]["repository"]
    assert re.findall(r"\]\((?!https://|#).*?\)", page) == []
    assert f"({repository}/blob/main/docs/cli.md)" in page
    assert f"Project-URL: Homepage, {repository}\n" in page


def lowest() -> dict[str, str]:
    """name -> version, in constraints-lowest.txt."""
    lines = (ROOT / "constraints-lowest.txt").read_text().split()
    return {name.lower(): version for name, _, version in (line.partition("==") for line in lines)}


def bounds() -> list[tuple[str, str]]:
    """(name, lower bound) of every requirement."""
    project = PROJECT["project"]
    extras = [each for group in project["optional-dependencies"].values() for each in group]
    required = [*project["dependencies"], *extras, *PROJECT["build-system"]["requires"]]
    return [pair for each in required for pair in re.findall(r"^([\w-]+)>=([\d.]+)", each)]


@pytest.mark.parametrize(("name", "bound"), bounds())
def test_the_lowest_version_that_is_allowed_is_the_one_that_is_tested(name: str, bound: str) -> None:
    def number(version: str) -> list[int]:
        return [int(part) for part in version.split(".")]

    tested, allowed = number(lowest()[name.lower()]), number(bound)
    assert tested[: len(allowed)] == allowed
    assert not any(tested[len(allowed) :])


def test_every_requirement_has_a_lower_bound() -> None:
    project = PROJECT["project"]
    extras = [each for group in project["optional-dependencies"].values() for each in group]
    for each in [*project["dependencies"], *extras]:
        assert ">=" in each or each.startswith("manycall["), each
