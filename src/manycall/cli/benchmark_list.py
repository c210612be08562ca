"""`manycall eval --list`: the built-in benchmarks as a table."""

import typer


def print_benchmarks(wanted: bool) -> None:
    """Print the benchmarks and exit, if that is wanted. The callback of an option."""
    if not wanted:
        return
    from manycall.evals.tasks.registry import BENCHMARKS
    from manycall.render import markdown_table

    cells = [
        (name, f"{each.questions:,}", each.authority, each.extra, each.source) for name, each in BENCHMARKS.items()
    ]
    print(markdown_table(("task", "questions", "protocol", "extra", "data"), cells))
    raise typer.Exit
