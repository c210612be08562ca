"""The tutorial notebook runs; its cells can be interrupted as with the stop button, and resume when they run again."""

import asyncio
import re
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

nbclient = pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")

NOTEBOOK = Path(__file__).parents[1] / "examples" / "notebook.ipynb"
JOBS = (
    "generate evaluate judge map run_steps run_batch score compare export check_data dataset_card write_report Client"
)
ASYNC_CELL = """
slow = manycall.Client("any", base_url="sim:latency=0.2", concurrency=20)
run = await slow.map(grade, questions, out="async.jsonl")
await slow.aclose()
run.done
"""
COUNTS = 'print(*(sum(1 for _ in open(name)) for name in ("graded.jsonl", "async.jsonl")))'


def text_of(cell: Any) -> str:
    return "".join(str(output.get("text", "")) for output in cell.outputs)


def shown(cell: Any) -> str:
    """Return the HTML of the cell's last value."""
    return "".join(str(output.get("data", {}).get("text/html", "")) for output in cell.outputs)


def cell_with(notebook: Any, source: str) -> Any:
    return next(cell for cell in notebook.cells if cell.cell_type == "code" and source in cell.source)


def wait_until_rows_are_done(cell: Any) -> None:
    """Wait until the status line of the running cell shows a row that is done."""
    deadline = time.monotonic() + 30
    while not re.search(r"grade [1-9]\d*/120", text_of(cell)):
        assert time.monotonic() < deadline, cell.outputs
        time.sleep(0.02)


def execute(notebook: Any, folder: Path, interrupted: list[Any]) -> list[str]:
    """Execute all cells, and those of `interrupted` twice: once until rows are done, then to the end.

    Returns:
        The error of each interruption.
    """
    client = nbclient.NotebookClient(notebook, timeout=60, resources={"metadata": {"path": str(folder)}})
    errors = []

    async def interrupt(cell: Any, run: Callable[[], Awaitable[Any]]) -> str:
        running = asyncio.ensure_future(run())
        await asyncio.to_thread(wait_until_rows_are_done, cell)
        await client.km.interrupt_kernel()
        await running
        (error,) = [output for output in cell.outputs if output.output_type == "error"]
        return "\n".join([error.ename, *error.traceback])

    async def main() -> None:
        async with client.async_setup_kernel():
            for number, cell in enumerate(notebook.cells):
                if cell in interrupted:
                    cell.metadata["tags"] = ["raises-exception"]
                    errors.append(await interrupt(cell, lambda: client.async_execute_cell(cell, number)))  # noqa: B023
                    cell.metadata["tags"] = []
                await client.async_execute_cell(cell, number)

    asyncio.run(main())
    return errors


def test_the_tutorial_runs_and_its_cells_resume_after_an_interrupt(tmp_path: Path) -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    notebook.cells += [nbformat.v4.new_code_cell(source) for source in (ASYNC_CELL, COUNTS)]
    graded, awaited = cell_with(notebook, "manycall.map("), cell_with(notebook, "slow.map(")
    stopped, cancelled = execute(notebook, tmp_path, [graded, awaited])

    assert stopped.startswith("Interrupted\n")
    assert re.search(r"[1-9]\d* rows are saved in graded.jsonl. Make the same call again to resume.", stopped)
    assert re.match("CancelledError|KeyboardInterrupt", cancelled)
    assert "120 of 120 done" in shown(graded)
    assert "replayed from the journal" in shown(graded)
    assert text_of(notebook.cells[-1]) == "120 120\n"

    progress = text_of(graded)
    assert progress.startswith("\rgrade "), "no status line that is updated in place"
    assert "\n" not in progress.strip()
    assert "\x1b" not in progress
    assert "exact match" in shown(cell_with(notebook, "manycall.evaluate"))
    assert (tmp_path / "comparison.html").exists()


def test_the_tutorial_uses_every_job_and_is_stored_without_outputs() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    source = "\n".join(cell.source for cell in code)
    assert [name for name in JOBS.split() if f"manycall.{name}(" not in source] == []
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code)


@pytest.fixture(autouse=True)
def _kernel_of_this_python(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:/usr/bin:/bin")
