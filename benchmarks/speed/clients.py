"""The measured clients: manycall, the peers and the lower bounds; and the environments of the peers."""

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import msgspec

HOME = Path(os.environ.get("BENCH_HOME", "~/.cache/manycall-bench")).expanduser()
PEERS = Path(__file__).parents[1] / "peers"
IN_FLIGHT = (8, 64, 512, 4096)

PINS = {
    "openai": ("openai[aiohttp]==3.54.0", "aiohttp==3.14.5", "httpx2==2.16.2", "uvloop==0.23.0"),
    "aiohttp": ("aiohttp==3.14.5", "uvloop==0.23.0", "msgspec==0.22.0"),
    "async-batch-llm": ("async-batch-llm[openai]==0.28.0", "openai==3.54.0", "uvloop==0.23.0"),
    "flexllm": ("flexllm==0.17.10", "aiohttp==3.14.5", "uvloop==0.23.0"),
    "litellm": ("litellm==1.106.2", "openai==2.54.0", "aiohttp==3.14.5", "uvloop==0.23.0"),
}
"""Folder of the peers' environments. Each peer has its own, created at first use."""


class Client(msgspec.Struct, frozen=True):
    """One row of the table.

    Attributes:
        label: Name in the table.
        driver: Name of the file in peers/.
        rows: Number of rows for 8, 64, 512 and 4096 calls in flight: 1 to 4 s of work, more for slow clients. None:
            not run.
        venv: Environment with its packages (a key of PINS); "" for this interpreter.
        writes: Whether it writes its rows to a file.
    """

    label: str
    driver: str
    rows: tuple[int | None, ...]
    venv: str = ""
    writes: bool = True

    @property
    def python(self) -> str:
        """Path of the interpreter that runs it."""
        return str(HOME / "venvs" / self.venv / "bin" / "python") if self.venv else sys.executable


OURS = Client("manycall generate", "manycall_generate", (10_000, 12_000, 12_000, 20_000))
MAP = Client("manycall.map", "manycall_map", (None, 12_000, None, 20_000))
SCRIPT = Client("AsyncOpenAI script", "script", (700, 600, 600, 4096), "openai")
FLOOR = Client("bare pyreqwest loop, JSONL", "pyreqwest_loop", (20_000, 24_000, 24_000, 24_000))
BARE = Client("bare aiohttp loop, JSONL", "aiohttp_loop", (6_000, 6_000, 6_000, 12_000), "aiohttp")
CLIENTS = (
    OURS,
    MAP,
    SCRIPT,
    Client("the same, connections unlimited", "script_unlimited", (None, None, 512, None), "openai"),
    Client("the same, on its aiohttp transport", "script_aiohttp", (800, 800, 800, 4096), "openai"),
    BARE,
    Client("async-batch-llm", "batch_llm", (400, 400, 640, 4096), "async-batch-llm"),
    Client("flexllm", "flex_llm", (1600, 1600, 1600, 4096), "flexllm"),
    Client("litellm Router", "litellm_router", (200, 200, 512, 4096), "litellm"),
    FLOOR,
    Client("the same, SCHED_BATCH", "pyreqwest_batch", (20_000, 24_000, 24_000, 24_000)),
    Client("bare pyreqwest loop, only counting", "pyreqwest_count", (20_000, 24_000, 24_000, 24_000), writes=False),
)


def install(clients: tuple[Client, ...]) -> None:
    """Create the missing environments."""
    for name in sorted({client.venv for client in clients if client.venv}):
        folder, pins = HOME / "venvs" / name, "\n".join(PINS[name])
        if (done := folder / "pins.txt").exists() and done.read_text() == pins:
            continue
        print(f"installing {', '.join(PINS[name])} into {folder}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        pip = (folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
        subprocess.run([*pip, *PINS[name]], check=True, timeout=900)
        done.write_text(pins)


def versions(clients: tuple[Client, ...]) -> list[str]:
    """Return name==version of all measured packages."""
    own = [f"{name}=={version(name)}" for name in ("manycall", "pyreqwest", "uvloop", "msgspec")]
    return own + [pin for name in PINS for pin in PINS[name][:1] if name in {client.venv for client in clients}]
