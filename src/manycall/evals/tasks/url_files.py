"""Files of benchmarks that are on a web server of their authors."""

from pathlib import Path, PurePosixPath

import msgspec

from manycall.errors import UsageError
from manycall.evals.tasks.download import DownloadFailed, cached_download
from manycall.option_flags import option


class UrlFile(msgspec.Struct, frozen=True):
    """One file at a URL.

    Attributes:
        sha256: checksum of the file, in hex. "": not confirmed; the checksum of the first download holds then.
    """

    url: str
    sha256: str = ""

    def fetch(self, *, passed_as: str = "data") -> Path:
        """Return the file in the cache, downloaded if needed. See `PinnedFile`."""
        name = PurePosixPath(self.url).name
        try:
            return cached_download(self.url, self.sha256, f"web/{name}")
        except DownloadFailed as failed:
            raise UsageError(f"{failed} Pass a local copy with {option(passed_as, name)}.") from None
