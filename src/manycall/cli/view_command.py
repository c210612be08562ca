"""The verb that shows runs in the browser."""

from pathlib import Path
from typing import Annotated

import typer


def view(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[FILE|FOLDER]...", help="Outputs, other JSONL files, or folders of them. Default: this folder."
        ),
    ] = None,
    port: Annotated[int | None, typer.Option("--port", help="Port on 127.0.0.1. Default: 8398, or a free one.")] = None,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page in a browser.")] = True,
) -> None:
    """Show runs, their rows and their calls on a local page. Reads only; prints the page's URL."""
    from manycall.view.web_server import view_runs

    view_runs(paths or [Path()], port=port, opens_browser=browser)
