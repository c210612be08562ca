"""A notebook uses every job, shows its progress, is interrupted like with the stop button, and resumes."""

import asyncio
import contextlib
import sys
from pathlib import Path
from typing import Any

import pytest

nbclient = pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")

SETUP = """
import manycall
SIM = "sim:latency=0.5,token_latency=0"
async def grade(row, llm):
    return {"answer": (await llm.chat(row["q"])).text}
rows = [{"q": f"question {n}"} for n in range(400)]
"""
JOBS = """
stories = manycall.generate("About {{ q }}", rows[:20], model="any", base_url="sim", out="stories.jsonl")
mapped = manycall.map(grade, rows[:5], model="any", base_url="sim", out="mapped.jsonl", progress=False)
scored = manycall.evaluate("wordmath", model="any", base_url="sim", out="e.jsonl", limit=5, progress=False)
judged = manycall.judge("stories.jsonl", "Good? {{ text }}", model="any", base_url="sim", out="j.jsonl", progress=False)
steps = manycall.run_steps([{"generate": "{{ q }}"}], rows[:5], model="any", base_url="sim", out="s.jsonl")
scored
"""
CLIENT = """
llm = manycall.Client("any", base_url="sim")
print((await llm.chat("hi")).text != "")
"""
ACROSS_CELLS = """
seen = [result async for result in llm.map(grade, rows[:10], progress=False)]
print(len(seen), (await llm.generate("x {{ q }}", rows[:10], progress=False)).done)
await llm.aclose()
"""
LONG = 'manycall.map(grade, rows, model="any", base_url=SIM, concurrency=10, out="long.jsonl")'
COUNT = 'import time; time.sleep(5); n = sum(1 for _ in open("long.jsonl")); print("saved", n)'
RESUMED = (
    'print(manycall.map(grade, rows, model="any", base_url="sim:latency=0", out="long.jsonl", progress=False).done)'
)


def text_of(cell: Any) -> str:
    return "".join(str(output.get("text", "")) for output in cell.outputs)


def test_a_notebook_uses_every_job_and_resumes_after_an_interrupt(tmp_path: Path) -> None:
    cells = [nbformat.v4.new_code_cell(source) for source in (SETUP, JOBS, CLIENT, ACROSS_CELLS, LONG, COUNT, RESUMED)]
    notebook = nbformat.v4.new_notebook(cells=cells)
    client = nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}})

    async def interrupt_soon() -> None:
        await asyncio.sleep(6)
        await client.km.interrupt_kernel()

    async def main() -> None:
        async with client.async_setup_kernel():
            for number, cell in enumerate(cells):
                interrupting = asyncio.ensure_future(interrupt_soon()) if cell is cells[4] else None
                with (
                    contextlib.suppress(nbclient.exceptions.CellExecutionError)
                    if interrupting
                    else contextlib.nullcontext()
                ):
                    await client.async_execute_cell(cell, number)
                if interrupting is not None:
                    interrupting.cancel()

    asyncio.run(main())
    assert "exact match" in str(cells[1].outputs)
    assert "<pre>" in str(cells[1].outputs)
    assert text_of(cells[2]) == "True\n"
    assert text_of(cells[3]) == "10 10\n"
    assert any(output.output_type == "error" for output in cells[4].outputs), cells[4].outputs
    assert "/400" in text_of(cells[4])
    saved = int(text_of(cells[5]).split()[1])
    assert 0 < saved < 400
    assert text_of(cells[6]) == "400\n"


@pytest.fixture(autouse=True)
def _kernel_of_this_python(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:/usr/bin:/bin")
