"""The verb that shows runs in the browser."""

from pathlib import Path
from typing import Annotated

import typer

from manycall.cli.print_result import print_text


def view(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[FILE|FOLDER]...", help="Outputs, other JSONL files, or folders of them. Default: this folder."
        ),
    ] = None,
    port: Annotated[int | None, typer.Option("--port", help="Port on 127.0.0.1. Default: 8398, or a free one.")] = None,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page in a browser.")] = True,
    export: Annotated[
        Path | None,
        typer.Option("--export", help="Write a static page instead: a .html file, or a folder for a web host."),
    ] = None,
    rows: Annotated[int, typer.Option("--rows", min=0, help="With --export: most rows of each file.")] = 1000,
    where: Annotated[
        str, typer.Option("--where", metavar="FILTER", help="With --export: only these rows: 'score.strict-match < 1'.")
    ] = "",
) -> None:
    """Show runs, their rows and their calls on a local page. Reads only; prints the page's URL."""
    if export is not None:
        from manycall.view.static_export import export_page

        print_text(export_page(paths or [Path()], export, rows=rows, where=where))
        return
    from manycall.view.web_server import view_runs

    view_runs(paths or [Path()], port=port, opens_browser=browser)
