"""Programs people copy must run, and pages must say what is so."""

import json as jsonlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pyarrow import json

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


def test_the_lines_of_the_recipes_are_those_that_stand_there() -> None:
    head, *parts = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8").split("\n## ")
    told = re.findall(r"^\| \[(.+?)\]\S+ \| (\d+) \| (\d+) \(", head, re.M)
    found = []
    for part in parts:
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


@pytest.mark.parametrize("path", [path for path in PAGES if path.name != "log.md"], ids=lambda path: str(path.name))
def test_options_named_in_the_pages_exist(path: Path) -> None:
    known = (ROOT / "docs" / "cli.md").read_text()
    lm_evals = {"--apply_chat_template", "--log_samples", "--output_path"}
    theirs = {*lm_evals, "--check", "--help", "--kills", "--long", "--only", "--seconds"}
    for option in set(re.findall(r"(?<![\w-])--[a-z][\w-]*", path.read_text(encoding="utf-8"))) - theirs:
        assert option in known, option


def test_the_chinese_readme_says_the_same() -> None:
    def shape(name: str) -> list[str]:
        text = (ROOT / name).read_text(encoding="utf-8")
        links = sorted(re.findall(r"\]\((docs/\w+\.md)\)", text))
        return [
            *re.findall(r"^#+", text, re.M),
            *links,
            str(text.count("```")),
            *re.findall(r"^\| `-j.*?`", text, re.M),
        ]

    assert shape("README.md") == shape("README.zh-CN.md")


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
