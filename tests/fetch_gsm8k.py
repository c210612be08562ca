"""Put the pinned GSM8K into a folder, for the tests that need it: `python tests/fetch_gsm8k.py FOLDER`."""

import shutil
import sys
from pathlib import Path

from manycall.errors import UsageError
from manycall.evals.tasks.gsm8k_data import FILES


def fetch(folder: Path) -> None:
    """Write test.jsonl and train.jsonl; both are checked against their SHA-256."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, file in FILES.items():
        shutil.copyfile(file.fetch(), folder / f"{split}.jsonl")


if __name__ == "__main__":
    try:
        fetch(Path(sys.argv[1]))
    except UsageError as error:
        sys.exit(str(error))
