"""The options that several verbs share, each declared once."""

from pathlib import Path
from typing import Annotated

import typer

from manycall.errors import UsageError

Model = Annotated[str, typer.Option("-m", "--model", help="The model's name, as the endpoint knows it.")]
OwnModel = Annotated[
    str | None,
    typer.Option(
        "-m", "--model", help="The model's name, as the endpoint knows it; of batch requests, for those that name none."
    ),
]
Out = Annotated[Path, typer.Option("-o", "--out", help="The output file. The same command resumes it.")]
Url = Annotated[
    list[str] | None,
    typer.Option(
        "-u",
        "--url",
        metavar="URL",
        help="The endpoint, e.g. http://localhost:8000/v1; several are one pool. "
        "'sim' is the built-in one (sim:latency=0.2,slots=8 sets its options). "
        "Default: OPENAI_BASE_URL, endpoints.toml, OpenAI.",
    ),
]
InFlight = Annotated[
    int | None,
    typer.Option("-j", "--concurrency", help="Calls in flight. Default: it finds out how many are best."),
]
Limit = Annotated[int | None, typer.Option("--limit", help="Take only so many rows.")]
MaxTokensTotal = Annotated[
    int | None,
    typer.Option("--max-tokens-total", help="Tokens that the output may cost, prompts and all sessions included."),
]
MaxCost = Annotated[float | None, typer.Option("--max-cost", help="Dollars that it may cost; needs --price.")]
Price = Annotated[
    str | None,
    typer.Option("--price", metavar="IN/OUT", help="Dollars per million tokens of prompts and answers: 0.15/0.60"),
]
Deadline = Annotated[
    str | None,
    typer.Option("--deadline", metavar="TIME", help="No new call so long after the start: 90s, 30m, 2h."),
]
Samples = Annotated[int | None, typer.Option("-n", "--samples", help="Do each row so many times.")]
IdField = Annotated[str | None, typer.Option("--id-field", help="The field that names a row. Default: id, custom_id.")]
System = Annotated[str | None, typer.Option("-s", "--system", help="A template for the system message.")]
TextField = Annotated[
    str | None, typer.Option("--field", help="The field with the text. Default: the one that generate wrote.")
]
Without = Annotated[
    list[Path] | None, typer.Option("--without", metavar="FILE", help="Leave out the rows in this file of rejects.")
]
Temperature = Annotated[float | None, typer.Option("--temperature", help="Sampling temperature.")]
MaxTokens = Annotated[int | None, typer.Option("--max-tokens", help="Longest answer, in tokens.")]
Param = Annotated[
    list[str] | None,
    typer.Option("--param", metavar="NAME=VALUE", help="Any other parameter of the calls: --param top_p=0.9"),
]
Timeout = Annotated[float, typer.Option("--timeout", help="Seconds for one attempt.")]
PlainHttp = Annotated[
    bool, typer.Option("--plain-http", help="Let the key go unencrypted to another machine, over http.")
]
Draw = Annotated[
    list[str] | None,
    typer.Option(
        "--draw",
        metavar="NAME=VALUES",
        help="Draw a variable for each row: NAME=a,b,c, NAME=FILE.txt or NAME=FILE.jsonl:FIELD; or FILE.toml.",
    ),
]
Cross = Annotated[
    list[str] | None,
    typer.Option("--cross", metavar="NAME=VALUES", help="Do each row for every value (all combinations of several)."),
]
Reask = Annotated[int, typer.Option("--reask", help="Ask again, so often, for an answer that does not fit.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Show the first requests, and what all would cost; call nothing.")
]
Fresh = Annotated[bool, typer.Option("--fresh", help="Move an earlier output aside and start over.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No status line.")]
Json = Annotated[bool, typer.Option("--json", help="Print the report as JSON.")]
Report = Annotated[
    Path | None,
    typer.Option(
        "--report",
        metavar="FILE",
        callback=lambda path: path and _page(path),
        help="Write a page about it: .html, or .md (Markdown).",
    ),
]
Data = Annotated[
    Path | None, typer.Option("--data", help="A local file of questions, instead of the one that is downloaded.")
]
Shots = Annotated[Path | None, typer.Option("--shots", help="A local file of solved examples, likewise.")]
Min = Annotated[
    float | None,
    typer.Option(
        "--min",
        callback=lambda least: least if least is None else _fraction(least),
        help="Exit with 4 if no filter's score reaches this, from 0 to 1.",
    ),
]


def _fraction(least: float) -> float:
    """Look at the number before anything is paid for: no score is below one that is none."""
    if not 0 <= least <= 1:
        raise UsageError(f"--min must be from 0 to 1, as scores are, not {least:g}")
    return least


def _page(path: Path) -> Path:
    """Look at the path before anything is paid for."""
    from manycall.evals.reports.page import checked

    return checked(path)
