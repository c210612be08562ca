"""Files for contributors and for the code host: they parse, and the commands in them exist."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

import manycall

ROOT = Path(__file__).parents[1]
YAML_FILES = sorted([*ROOT.glob(".github/**/*.yml"), ROOT / ".pre-commit-config.yaml", ROOT / "CITATION.cff"])


def read(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", YAML_FILES, ids=lambda path: str(path.name))
def test_every_yaml_file_parses(path: Path) -> None:
    assert isinstance(read(str(path)), dict)


def test_the_citation_names_the_version_and_the_repository_of_the_package() -> None:
    citation = read("CITATION.cff")
    assert str(citation["version"]) == manycall.__version__
    assert f'repository = "{citation["repository-code"]}"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")


def test_a_bug_report_asks_for_version_command_and_manifest_without_keys() -> None:
    form = read(".github/ISSUE_TEMPLATE/bug.yml")
    fields = {each["id"]: each["attributes"].get("description", "") for each in form["body"] if "id" in each}
    assert "manycall --version" in fields["version"]
    assert "no keys" in fields["manifest"]
    assert fields.keys() >= {"command", "happened"}


@pytest.mark.parametrize(
    "name",
    ["CONTRIBUTING.md", "README.md", ".ci/run", ".github/pull_request_template.md"]
    + [f".github/workflows/{name}.yml" for name in ("test", "release")],
)
def test_make_targets_that_are_named_exist(name: str) -> None:
    targets = set(re.findall(r"^([\w-]+):(?!=)", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    named = re.findall(r"(?:`|run: |^)make ((?:[a-z0-9-]+ ?)+)", (ROOT / name).read_text(encoding="utf-8"), re.M)
    assert {target for each in named for target in each.split()} <= targets


def test_make_help_names_every_target_that_users_run() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.search(r"^\.PHONY: (.*)", makefile, re.M)[1].split())  # type: ignore[index]
    named = set(re.findall(r"@echo \"make ([\w-]+)", makefile))
    assert targets - named == {"help", "setup", "lowest-setup", "lowest-versions", "clean"}


def test_hooks_run_programs_of_the_environment_and_files_of_the_project() -> None:
    for hook in read(".pre-commit-config.yaml")["repos"][0]["hooks"]:
        program, *arguments = hook["entry"].split()
        assert program.startswith(".venv/bin/")
        assert all((ROOT / each).exists() for each in arguments if "/" in each)
