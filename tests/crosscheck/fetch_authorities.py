"""Download the code of the authorities other than lm-eval: python fetch_authorities.py FOLDER

It needs git and pip. A folder that exists stays as it is. Nothing of it is part of this project.
"""

import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

REPOSITORIES = {
    "simple-evals": ("openai/simple-evals", "ee3b0318d8d1d9d72755a4120879be65f7c07e9e"),
    "gpt-oss": ("openai/gpt-oss", "7b583341fe16729127f6d5b94a7b09ccae97e1a1"),
    "MMLU-Pro": ("TIGER-AI-Lab/MMLU-Pro", "f418b116db00b065c2aea046518d8fcf74d39872"),
}
WHEELS = {"opencompass": "0.5.4", "evalscope": "1.14.1"}


def clone(place: Path, repository: str, commit: str) -> None:
    """Check out one commit of a repository on GitHub."""
    git = ["git", "-C", str(place)]
    for command in (
        ["git", "init", "--quiet", str(place)],
        [*git, "fetch", "--quiet", "--depth", "1", f"https://github.com/{repository}", commit],
        [*git, "checkout", "--quiet", "FETCH_HEAD"],
    ):
        subprocess.run(command, check=True)


def unpack(place: Path, package: str, version: str) -> None:
    """Unpack the wheel of a package, without its dependencies."""
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        subprocess.run([*pip, "--dest", folder, f"{package}=={version}"], check=True)
        (wheel,) = Path(folder).glob("*.whl")
        zipfile.ZipFile(wheel).extractall(place)


def main(folder: Path) -> None:
    """Download what is missing. A folder gets its name when it is complete."""
    for name in (*REPOSITORIES, *WHEELS):
        part = folder / f"{name}.part"
        if (folder / name).exists():
            continue
        shutil.rmtree(part, ignore_errors=True)
        if name in REPOSITORIES:
            clone(part, *REPOSITORIES[name])
        else:
            unpack(part, name, WHEELS[name])
        part.rename(folder / name)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
