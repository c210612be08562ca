"""Downloads of benchmark files: pinned, verified by checksum and cached."""

from hashlib import file_digest, sha256
from pathlib import Path
from typing import Any

import msgspec

from manycall.errors import TransportError, UsageError
from manycall.option_flags import option
from manycall.run.async_bridge import run_blocking
from manycall.store.atomic_write import replace_file
from manycall.store.paths import cache_folder
from manycall.transport.http import HttpTransport
from manycall.transport.messages import HttpRequest

TIMEOUT_SECONDS = 120.0


def checksum(rows: Path | list[dict[str, Any]]) -> str:
    """Return the SHA-256 of a file, or of rows as JSON, in hex."""
    if isinstance(rows, Path):
        with rows.open("rb") as file:
            return file_digest(file, "sha256").hexdigest()
    return sha256(msgspec.json.encode(rows)).hexdigest()


def load_from_hub(dataset: str, config: str, split: str) -> list[dict[str, Any]]:
    """Return the rows of a dataset on the Hugging Face Hub, loaded and cached by the `datasets` library.

    Raises:
        UsageError: the library is not installed, or it cannot load the dataset.
    """
    alternative = f"pass a local copy with {option('data')}."
    try:
        import datasets
    except ImportError:
        raise UsageError(
            f"{dataset} needs the datasets extra. Run: pip install 'manycall[datasets]', or {alternative}"
        ) from None
    try:
        return [dict(row) for row in datasets.load_dataset(dataset, config, split=split)]
    except Exception as error:  # the library, the network or the disk can fail in many ways
        reason = str(error).partition("\n")[0]
        raise UsageError(
            f"Cannot load {dataset} ({type(error).__name__}: {reason}). Try again, or {alternative}"
        ) from None


def download_file(url: str, checksum: str, name: str) -> Path:
    """Return the cached file of a URL, downloaded if needed.

    Args:
        url: where to download the file.
        checksum: SHA-256 of the file, in hex. A cached file with another checksum is downloaded again.
        name: file name in the cache.

    Raises:
        UsageError: the file cannot be downloaded, or its checksum differs.
    """
    path = cache_folder() / name
    if path.exists() and sha256(path.read_bytes()).hexdigest() == checksum:
        return path
    alternatives = (
        f"Pass a local copy with {option('data')} and {option('fewshot_data')}, or use wordmath, which is built in."
    )
    try:
        status, body = run_blocking(_get(url))
    except TransportError as error:
        raise UsageError(f"Cannot download {name} ({error}). {alternatives}") from None
    if status != 200:
        raise UsageError(f"Cannot download {name} (status {status} for {url}). {alternatives}")
    if sha256(body).hexdigest() != checksum:
        raise UsageError(f"{name} from {url} has changed: its SHA-256 differs. {alternatives}")
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, [body])
    return path


async def _get(url: str) -> tuple[int, bytes]:
    transport = HttpTransport()
    try:
        reply = await transport.send(HttpRequest(url, method="GET", timeout=TIMEOUT_SECONDS))
    finally:
        await transport.close()
    return reply.status, reply.body
