"""Package metadata that depends on where the repository is published, which pyproject.toml says in one place."""

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface


class Published(MetadataHookInterface):  # type: ignore[misc]
    """Fills in the project's URLs, and makes the README's relative links absolute for the page of a package index."""

    def update(self, metadata: dict[str, Any]) -> None:
        repository = self.config["repository"]
        files = f"{repository}/blob/main"
        metadata["urls"] = {
            "Homepage": repository,
            "Documentation": f"{repository}/tree/main/docs",
            "Changelog": f"{files}/CHANGELOG.md",
            "Issues": f"{repository}/issues",
        }
        readme = Path(self.root, "README.md").read_text(encoding="utf-8")
        metadata["readme"] = {
            "content-type": "text/markdown",
            "text": re.sub(r"\]\((?!\w+:|#)", f"]({files}/", readme),
        }
