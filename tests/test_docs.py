"""Programs people copy must run, and pages must say what is so."""

import ast
import importlib
import json as jsonlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pyarrow import json

from manycall.providers.catalog import PROVIDERS
from manycall.providers.wires import WIRES

ROOT = Path(__file__).parents[1]
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]


def run(*words: str | Path) -> str:
    done = subprocess.run(
        [sys.executable, *map(str, words)], capture_output=True, text=True, timeout=120, encoding="utf-8", check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", ["client", "judge", "stories", "self_instruct"])
def test_an_example_runs(name: str) -> None:
    assert run(ROOT / "examples" / f"{name}.py").strip()


@pytest.mark.usefixtures("no_key")
def test_the_tests_of_the_testing_page_pass(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "testing.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (tmp_path / "test_page.py").write_text(program)
    assert "2 passed" in run("-m", "pytest", "-p", "no:cacheprovider", "--rootdir", tmp_path, tmp_path / "test_page.py")


@pytest.mark.parametrize("path", sorted(ROOT.glob("examples/*.toml")), ids=lambda path: str(path.stem))
def test_a_recipe_runs_as_it_says_and_makes_a_table(path: Path) -> None:
    """Its own first lines hold the command; what it writes has the same columns, with the same types, in each row."""
    command = re.search(r"^# manycall (.*)$", path.read_text(), re.M)
    assert command is not None
    words = command[1].replace("examples/", f"{ROOT}/examples/").split()
    out = Path(words[-1])
    run("-m", "manycall", *words, "--no-progress")
    table = json.read_json(out)  # as datasets.load_dataset("json") does
    assert table.num_rows == len(out.read_bytes().splitlines()) >= 3
    assert len({tuple(jsonlib.loads(line)) for line in out.read_bytes().splitlines()}) == 1


def test_the_gsm8k_example_is_faster_with_more_in_flight(gsm8k: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache" / "manycall"  # as if it had been downloaded
    cache.mkdir(parents=True)
    for split in ("test", "train"):
        shutil.copy(gsm8k / f"{split}.jsonl", cache / f"gsm8k-{split}.jsonl")
    out = run(ROOT / "examples" / "gsm8k.py", "sim:latency=0.05,token_latency=0")
    found = re.search(r"8 in flight: (\d+\.\d+) times as fast", out)
    assert found is not None
    assert float(found.group(1)) > 3


def test_the_recipes_in_the_pages_are_those_that_run() -> None:
    page = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
    for path in [*ROOT.glob("examples/*.toml"), ROOT / "examples" / "self_instruct.py"]:
        assert path.read_text(encoding="utf-8").rstrip() in page, path


@pytest.mark.parametrize("name", ["providers.md", "zh/providers.md"])
def test_the_tables_of_the_providers_are_complete(name: str) -> None:
    page = (ROOT / "docs" / name).read_text(encoding="utf-8")
    tables = dict(re.findall(r"<!-- (\w+): made by docs/generate\.py -->\n((?:\|.*\n)+)", page))
    assert len(tables) == 8
    for table, text in tables.items():
        header, _, *rows = text.splitlines()
        columns = {row.count("|") for row in (header, *rows)}
        assert len(columns) == 1, table
        names = [row.split("`")[1] for row in rows]
        assert names == ["chat", *WIRES] if table == "apis" else names == [each.name for each in PROVIDERS]


def test_the_line_counts_of_the_recipes_are_right() -> None:
    page = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
    told = re.findall(r"^\| \[(.+?)\]\S+ \| (\d+) \| (\d+) \(", page, re.M)
    found = []
    for part in (part for part in page.split("\n## ") if "The same in" in part):
        programs = re.findall(r"```\w+\n(.*?)```", part, re.DOTALL)
        lines = [sum(bool(re.match(r"\s*[^\s#]", line)) for line in each.splitlines()) for each in programs]
        found.append((part.partition("\n")[0], *map(str, lines)))
    assert told == found


def test_examples_are_short() -> None:
    for path in ROOT.glob("examples/*.py"):
        assert len(path.read_text().splitlines()) <= 20, path
    for path in ROOT.glob("examples/*.toml"):
        assert sum(1 for line in path.read_text().splitlines() if line) <= 24, path


def test_pages_lead_somewhere_and_match_the_commands() -> None:
    run(ROOT / "docs" / "generate.py", "--check")


RAYS_AND_SLURMS = {
    "--address", "--cpus-per-task", "--disable-usage-stats", "--generate", "--head", "--min-nodes", "--nodes",
    "--ntasks-per-node", "--num-cpus", "--port", "--time",
}  # fmt: skip


@pytest.mark.parametrize("path", [path for path in PAGES if path.name != "log.md"], ids=lambda path: str(path.name))
def test_options_named_in_the_pages_exist(path: Path) -> None:
    known = (ROOT / "docs" / "cli.md").read_text()
    lm_evals = {"--apply_chat_template", "--log_samples", "--output_path"}
    theirs = {
        *lm_evals,
        *RAYS_AND_SLURMS,
        "--reasoning-parser",
        "--cases",
        "--check",
        "--help",
        "--kills",
        "--long",
        "--only",
        "--rounds",
        "--rows",
        "--seconds",
        "--seeds",
        "--sweep",
    }
    for option in set(re.findall(r"(?<![\w-])--[a-z][\w-]*", path.read_text(encoding="utf-8"))) - theirs:
        assert option in known, option


def mapped_modules() -> set[str]:
    """Return the modules in the map of ARCHITECTURE.md, as paths under src/manycall."""
    folders: list[str] = []
    modules = set()
    for line in (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8").split("```")[1].splitlines()[2:]:
        name = line.split()[0]
        folders = folders[: (len(line) - len(line.lstrip())) // 2 - 1]
        if name.endswith("/"):
            folders.append(name)
        else:
            modules.add("".join(folders) + name)
    return modules


def test_the_map_lists_exactly_the_modules_that_exist() -> None:
    package = ROOT / "src" / "manycall"
    paths = {path.relative_to(package).as_posix() for path in package.rglob("*.py")}
    assert mapped_modules() == {path for path in paths if not path.endswith("/__init__.py")}


def public_names(module: str) -> set[str]:
    """Return the names that a user may import from a public module."""
    found = importlib.import_module(module)
    if hasattr(found, "__all__"):
        return set(found.__all__) - {"__version__"}
    return {name for name, value in vars(found).items() if getattr(value, "__module__", "") == module}


@pytest.mark.parametrize("name", ["", ".results", ".steps", ".errors", ".testing"])
def test_the_python_reference_lists_every_public_name_once(name: str) -> None:
    module = f"manycall{name}"
    page = ROOT / "docs" / "reference" / f"{module.removeprefix('manycall.')}.md"
    names = re.findall(rf"^::: {re.escape(module)}\.(\w+)$", page.read_text(encoding="utf-8"), re.M)
    assert sorted(names) == sorted(public_names(module))


def test_the_site_loads_nothing_from_another_host() -> None:
    config = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert "font: false" in config
    assert not re.search(r"https?://|^repo_url|analytics", config, re.M)


def test_files_and_tables_named_for_contributors_exist() -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py"))
    for path in re.findall(r"`((?:src|tests|examples)/[\w./-]+)`", page):
        assert (ROOT / path).exists(), path
    for table in re.findall(r"`…?([A-Z][A-Z_]+)`", page):
        assert re.search(rf"{table}\b", source), table


@pytest.mark.parametrize(
    "path", sorted((ROOT / "src" / "manycall").rglob("*/__init__.py")), ids=lambda path: str(path.parent.name)
)
def test_every_folder_says_its_purpose_who_may_import_it_and_where_to_start(path: Path) -> None:
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    assert re.search(r"may import it|imports this package", text)
    first_file = re.search(r"Start with `(\w+\.py)`", text)
    assert first_file is not None
    assert (path.parent / first_file[1]).exists()
