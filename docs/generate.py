"""Write docs/cli.md from the help of the commands, and the tables of providers.md and evaluate.md from the code.

With --check, only compare, and look for broken links.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

from provider_tables import table_lines

PAGE = Path(__file__).with_name("cli.md")
TABLE_PAGES = tuple(
    Path(__file__).parent / folder / name for name in ("providers.md", "evaluate.md") for folder in ("", "zh")
)
TABLE = re.compile(r"(<!-- (\w+): made by docs/generate\.py -->\n(?:\|.*\n){2})(?:\|.*\n)*")
"""Marker and header of a table, and its rows."""
VERBS = (
    "generate", "steps", "eval", "run", "run-batch", "embed", "score", "compare", "judge", "export-lm-eval",
    "check-data", "export", "dataset-card", "status", "view", "repair", "sim",
)  # fmt: skip


def page() -> str:
    """Return the page."""
    parts = ["# Commands and options", "This page is made from `--help` by `python docs/generate.py`."]
    for verb in ("", *VERBS):
        command = [sys.executable, "-m", "manycall", *verb.split(), "--help"]
        env = {**os.environ, "COLUMNS": "100", "TERMINAL_WIDTH": "100"}
        text = subprocess.run(command, capture_output=True, text=True, check=True, env=env).stdout
        text = re.sub(r"python\S* -m manycall", "manycall", text)
        body = "\n".join(line.rstrip() for line in text.strip().splitlines())
        parts.append(f"## {f'manycall {verb}'.strip()}\n\n```text\n{body}\n```")
    return "\n\n".join(parts) + "\n"


def with_table_rows(text: str) -> str:
    """Return a page with the rows of its tables, below the header of each."""
    return TABLE.sub(lambda found: found[1] + table_lines(found[2]), text)


def broken_links() -> list[str]:
    """Return the links to files that do not exist, in the pages of the repository."""
    root = PAGE.parents[1]
    broken = []
    for path in [*root.glob("*.md"), *root.glob("docs/**/*.md")]:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", path.read_text(encoding="utf-8")):
            if not (path.parent / target).exists():
                broken.append(f"{path.relative_to(root)}: {target}")
    return broken


if __name__ == "__main__":
    made = {PAGE: page()} | {each: with_table_rows(each.read_text(encoding="utf-8")) for each in TABLE_PAGES}
    if "--check" not in sys.argv:
        for path, text in made.items():
            path.write_text(text, encoding="utf-8")
    faults = broken_links()
    for path, text in made.items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            faults.append(f"docs/{path.relative_to(PAGE.parent)} is out of date: run python docs/generate.py")
    if faults:
        sys.exit("\n".join(faults))
