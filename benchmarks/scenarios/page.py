"""Tables in the documentation, between their markers."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "limits.md"
END = "<!-- end of table -->"
LONG, SHORT = "make sim, long runs", "make sim, short runs"
Table = Sequence[Sequence[str]]


def begin(name: str) -> str:
    """Return the marker before a table, which names the command that writes it."""
    return f"<!-- table: {name} -->"


def markdown(table: Table) -> str:
    """Return a Markdown table, whose header is the first row."""
    head, *rows = table
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows))


def replace_between(name: str, parts: Iterable[str], page: Path = PAGE) -> None:
    """Replace the text between the markers of a table."""
    before, marker, rest = page.read_text(encoding="utf-8").partition(begin(name))
    assert marker, f"{page} has no line {begin(name)}"
    _, _, after = rest.partition(END)
    text = "\n\n".join(part for part in parts if part)
    page.write_text(f"{before}{marker}\n{text}\n{END}{after}", encoding="utf-8")


def reasons_on_page(page: Path = PAGE) -> dict[str, str]:
    """Return the reasons that the page gives for the runs that miss their target, by the names of the runs.

    They are written by hand in the last column. The command keeps them.
    """
    _, _, rest = page.read_text(encoding="utf-8").partition(begin(SHORT))
    text = rest.partition(END)[0].partition("| run | seconds |")[2]
    lines = [line for line in text.splitlines() if line.startswith("| ")][1:]  # without the line below the heads
    rows = ([cell.strip() for cell in line.strip()[1:-1].split("|")] for line in lines)
    return {cells[0]: re.sub(r"^\d+ rows failed(?:; )?", "", cells[-1]) for cells in rows}
