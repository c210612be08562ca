"""Benchmark files from the network: pinned, checksummed, kept."""

from hashlib import file_digest, sha256
from pathlib import Path
from typing import Any

import msgspec

from manycall.engine.blocking import blocking
from manycall.errors import TransportError, UsageError
from manycall.store.lines import write_whole
from manycall.store.windows import cache_folder
from manycall.wire.transport import HttpRequest, HttpTransport

TIMEOUT_SECONDS = 120.0


def checksum(rows: Path | list[dict[str, Any]]) -> str:
    """SHA-256 of a file, or of rows as JSON."""
    if isinstance(rows, Path):
        with rows.open("rb") as file:
            return file_digest(file, "sha256").hexdigest()
    return sha256(msgspec.json.encode(rows)).hexdigest()


def from_hub(dataset: str, config: str, split: str) -> list[dict[str, Any]]:
    """The rows of a dataset on the Hugging Face hub, by their own library, which keeps them.

    Raises:
        UsageError: the library is not here, or it cannot have them.
    """
    local = "or give a local copy with --data"
    try:
        import datasets
    except ImportError:
        raise UsageError(f"{dataset} needs the extra: pip install 'manycall[datasets]', {local}") from None
    try:
        return [dict(row) for row in datasets.load_dataset(dataset, config, split=split)]
    except Exception as error:  # a foreign library, a network, a disk
        reason = str(error).partition("\n")[0]
        raise UsageError(f"{dataset} could not be had ({type(error).__name__}: {reason}): {local}") from None


def fetch(url: str, checksum: str, name: str) -> Path:
    """The file behind the URL, downloaded once.

    Args:
        checksum: its SHA-256, in hex. A kept file that differs is downloaded again.
        name: what it is called in the cache.

    Raises:
        UsageError: it cannot be had, or is not what it was.
    """
    path = cache_folder() / name
    if path.exists() and sha256(path.read_bytes()).hexdigest() == checksum:
        return path
    ways_out = "give a local copy with --data and --shots, or try wordmath, which is built in"
    try:
        status, body = blocking(_get(url))
    except TransportError as error:
        raise UsageError(f"{name} could not be downloaded ({error}): {ways_out}") from None
    if status != 200:
        raise UsageError(f"{name} could not be downloaded (status {status} for {url}): {ways_out}")
    if sha256(body).hexdigest() != checksum:
        raise UsageError(f"{name} is not what it was (its SHA-256 differs): {ways_out}")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, [body])
    return path


async def _get(url: str) -> tuple[int, bytes]:
    transport = HttpTransport()
    try:
        reply = await transport.send(HttpRequest(url, method="GET", timeout=TIMEOUT_SECONDS))
    finally:
        await transport.close()
    return reply.status, reply.body
