"""Downloads of benchmark files: pinned, verified by checksum and cached."""

from hashlib import file_digest, sha256
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import msgspec

from manycall.errors import TransportError, UsageError
from manycall.option_flags import option
from manycall.records import Secret
from manycall.run.async_bridge import run_blocking
from manycall.store.atomic_write import replace_file
from manycall.store.paths import cache_folder
from manycall.transport.http import HttpTransport
from manycall.transport.messages import HttpRequest

TIMEOUT_SECONDS = 120.0
MAX_FILE_BYTES = 256 << 20
MAX_REDIRECTS = 5
REDIRECTS = (301, 302, 303, 307, 308)
CHECKSUM_SUFFIX = ".sha256"
"""Suffix of the file next to a cached file that contains its checksum, if the checksum is not known in advance."""


class DownloadFailed(Exception):
    """A file cannot be downloaded. `status` is the status of the response; 0 if there is none."""

    def __init__(self, reason: str, status: int = 0) -> None:
        super().__init__(reason)
        self.status = status


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


def cached_download(url: str, checksum: str, name: str, key: Secret | None = None) -> Path:
    """Return the cached file of a URL, downloaded if needed.

    Args:
        url: where to download the file.
        checksum: SHA-256 of the file, in hex. A cached file with another checksum is downloaded again. "": not known;
            the checksum of the first download is stored next to the file and holds from then on.
        name: path of the file in the cache.
        key: a token, sent to the host of the URL only and not to those to which it redirects.

    Raises:
        DownloadFailed: the file cannot be downloaded, or its checksum differs.
    """
    path = cache_folder() / name
    note = path.with_name(path.name + CHECKSUM_SUFFIX)
    expected = checksum or (note.read_text(encoding="ascii").strip() if note.exists() else "")
    if path.exists() and expected and sha256(path.read_bytes()).hexdigest() == expected:
        return path
    body = _download(url, path.name, key)
    found = sha256(body).hexdigest()
    if expected and found != expected:
        raise DownloadFailed(f"{path.name} from {url} has changed: its SHA-256 differs.")
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, [body])
    if not checksum:
        replace_file(note, [f"{found}\n".encode()])
    return path


def _download(url: str, name: str, key: Secret | None) -> bytes:
    first = url
    for _ in range(MAX_REDIRECTS + 1):
        try:
            status, body, location = run_blocking(_get(url, key if _host(url) == _host(first) else None))
        except TransportError as error:
            raise DownloadFailed(f"Cannot download {name} from {first} ({error}).") from None
        if status not in REDIRECTS or location is None:
            break
        url = urljoin(url, location)
    if status != 200:
        raise DownloadFailed(f"Cannot download {name} from {first} (status {status}).", status)
    return body


def _host(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc


async def _get(url: str, key: Secret | None) -> tuple[int, bytes, str | None]:
    transport = HttpTransport(max_body_bytes=MAX_FILE_BYTES)
    try:
        reply = await transport.send(HttpRequest(url, key=key, method="GET", timeout=TIMEOUT_SECONDS))
    finally:
        await transport.close()
    return reply.status, reply.body, reply.header("location")
