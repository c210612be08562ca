"""Write docs/cli.md from the help of the commands. With --check, only compare, and look for broken links."""

import os
import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).with_name("cli.md")
VERBS = (
    "generate", "steps", "eval", "run", "run-batch", "score", "compare", "judge", "export-lm-eval",
    "check-data", "export", "dataset-card", "repair", "sim",
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
    made = page()
    if "--check" not in sys.argv:
        PAGE.write_text(made, encoding="utf-8")
    faults = broken_links()
    if not PAGE.exists() or PAGE.read_text(encoding="utf-8") != made:
        faults.append("docs/cli.md is not what --help says: run python docs/generate.py")
    if faults:
        sys.exit("\n".join(faults))
