"""Files of datasets on the Hugging Face Hub, ModelScope or GitHub, downloaded over HTTPS without any library.

Environment variables:

- HF_ENDPOINT: another address of the hub, for example that of a mirror; as in huggingface_hub.
- HF_TOKEN: a token for gated datasets.
- MANYCALL_HUB: "modelscope" downloads from ModelScope, where users in China have a faster connection.
"""

import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Protocol
from urllib.parse import quote, urlencode

import msgspec

from manycall.errors import UsageError
from manycall.evals.tasks.download import DownloadFailed, cached_download
from manycall.option_flags import option
from manycall.records import Secret

HUGGING_FACE = "https://huggingface.co"
MODELSCOPE = "https://www.modelscope.cn"
GITHUB = "https://raw.githubusercontent.com"
MODELSCOPE_REVISION = "master"


class PinnedFile(Protocol):
    """A file whose content does not change."""

    @property
    def sha256(self) -> str:
        """Its checksum, in hex. "": not confirmed; the checksum of the first download holds then."""
        ...

    def fetch(self, *, passed_as: str = "data") -> Path:
        """Return the file in the cache, downloaded if needed.

        Args:
            passed_as: the option with which the user passes a local copy, for messages.

        Raises:
            UsageError: the file cannot be downloaded, or its checksum differs.
        """
        ...


class GitHubFile(msgspec.Struct, frozen=True):
    """One file of a repository on GitHub, at a commit.

    Attributes:
        repo: "OWNER/NAME".
        sha256: checksum of the file, in hex.
    """

    repo: str
    commit: str
    path: str
    sha256: str

    def fetch(self, *, passed_as: str = "data") -> Path:
        """Return the file in the cache, downloaded if needed. See `PinnedFile`."""
        folder = PurePosixPath("github", self.repo.replace("/", "--"), self.commit[:12])
        try:
            return cached_download(
                f"{GITHUB}/{self.repo}/{self.commit}/{self.path}", self.sha256, str(folder / self.path)
            )
        except DownloadFailed as failed:
            raise UsageError(f"{failed} Try again, or {_local_copy(self.path, passed_as)}") from None


class HubFile(msgspec.Struct, frozen=True):
    """One file of a dataset.

    Attributes:
        repo: the dataset on the Hugging Face Hub, "OWNER/NAME".
        revision: the commit.
        path: the file in the dataset.
        sha256: checksum of the file, in hex. "": not confirmed; the checksum of the first download holds then.
        modelscope: the dataset on ModelScope, "OWNER/NAME"; "": it is not there. Its files must have the same paths.
        gated: the dataset can be downloaded only after its conditions were accepted, and with a token.
    """

    repo: str
    revision: str
    path: str
    sha256: str = ""
    modelscope: str = ""
    gated: bool = False

    def url(self, environ: Mapping[str, str]) -> str:
        """Return the address of the file.

        Raises:
            UsageError: MANYCALL_HUB names no hub, or a hub that does not have the file.
        """
        hub = environ.get("MANYCALL_HUB", "huggingface")
        if hub == "modelscope":
            if not self.modelscope:
                raise UsageError(f"{self.repo} is not on ModelScope. Unset MANYCALL_HUB, or {_local_copy(self.path)}")
            query = urlencode({"Revision": MODELSCOPE_REVISION, "FilePath": self.path})
            return f"{MODELSCOPE}/api/v1/datasets/{quote(self.modelscope)}/repo?{query}"
        if hub != "huggingface":
            raise UsageError(f"MANYCALL_HUB must be huggingface or modelscope, not {hub!r:.100}.")
        endpoint = environ.get("HF_ENDPOINT") or HUGGING_FACE
        return f"{endpoint.rstrip('/')}/datasets/{quote(self.repo)}/resolve/{self.revision}/{quote(self.path)}"

    def fetch(self, environ: Mapping[str, str] = os.environ, *, passed_as: str = "data") -> Path:
        """Return the file in the cache, downloaded if needed.

        Raises:
            UsageError: the file cannot be downloaded, or its checksum differs.
        """
        url, token = self.url(environ), environ.get("HF_TOKEN")
        is_modelscope = url.startswith(MODELSCOPE)
        revision = MODELSCOPE_REVISION if is_modelscope else self.revision[:12]
        folder = PurePosixPath("hub", (self.modelscope if is_modelscope else self.repo).replace("/", "--"), revision)
        key = Secret(token) if token and not is_modelscope else None
        try:
            return cached_download(url, self.sha256, str(folder / self.path), key)
        except DownloadFailed as failed:
            if failed.status in (401, 403) and self.gated:
                raise UsageError(
                    f"{self.repo} is gated. Accept its conditions at {HUGGING_FACE}/datasets/{self.repo} and set "
                    f"HF_TOKEN, or {_local_copy(self.path, passed_as)}"
                ) from None
            mirrors = ", or set MANYCALL_HUB=modelscope" if self.modelscope and not is_modelscope else ""
            raise UsageError(
                f"{failed} Set HF_ENDPOINT to the address of a mirror{mirrors}, or {_local_copy(self.path, passed_as)}"
            ) from None


def _local_copy(path: str, passed_as: str = "data") -> str:
    return f"pass a local copy with {option(passed_as, PurePosixPath(path).name)}."
