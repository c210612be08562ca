"""The entry for a dataset in LLaMA-Factory's `dataset_info.json` (hiyouga/LLaMA-Factory: data/README.md)."""

import json
import os
from collections.abc import Collection
from pathlib import Path

from manycall.data.config_files import read_config
from manycall.dataset.training_example import UnsuitableRow
from manycall.dataset.training_formats import TRAINING_FORMATS
from manycall.errors import UsageError
from manycall.option_flags import option
from manycall.records import Fields, Messages
from manycall.store.atomic_write import replace_file, storage_errors
from manycall.store.paths import check_writable


class DatasetInfo:
    """A `dataset_info.json` to which an export adds its entry. Other entries are kept.

    Args:
        path: The file, which may not exist.
        data: The exported file; its name without the suffix is the name of the dataset.
        format: Name of the training format.

    Attributes:
        path: The file.
        name: Name of the dataset.

    Raises:
        UsageError: LLaMA-Factory does not read the format, the file cannot be read, or it has another dataset of the
            same name.
    """

    def __init__(self, path: str | Path, data: Path, format: str) -> None:
        self.path, self.name = check_writable(path), data.stem
        known = TRAINING_FORMATS.get(format)
        if known is None or known.llama_factory is None:
            others = [name for name, each in TRAINING_FORMATS.items() if each.llama_factory]
            is_pair = known is not None and known.is_pair
            usable = [name for name in others if not is_pair or TRAINING_FORMATS[name].is_pair]
            raise UsageError(
                f"LLaMA-Factory does not read {option('format', format)}. Use {option('format', usable[0])} "
                f"or {option('format', usable[1])}."
            )
        self._template = known.llama_factory
        self._entries = read_config(self.path) if self.path.exists() else {}
        self._file_name = os.path.relpath(data, self.path.parent)
        match self._entries.get(self.name):
            case {"file_name": self._file_name} | None:
                pass
            case other:
                raise UsageError(f"{self.path} has another dataset {self.name!r}: {other}. Choose another file name.")

    def __repr__(self) -> str:
        return f"<DatasetInfo {self.name} in {self.path}>"

    def entry(self, columns: Collection[str]) -> Fields:
        """Return the entry for a file with these columns. LLaMA-Factory fails on a named column that is missing."""
        named = {role: name for role, name in self._template["columns"].items() if name in columns}
        return {"file_name": self._file_name, **self._template, "columns": named}

    def save(self, columns: Collection[str]) -> None:
        """Add the entry, or replace that of an earlier export.

        Raises:
            StorageError: The file cannot be written.
        """
        entries = {**self._entries, self.name: self.entry(columns)}
        with storage_errors(self.path):
            replace_file(self.path, [json.dumps(entries, ensure_ascii=False, indent=2).encode() + b"\n"])


def check_for_llama_factory(prompt: Messages, answer: Messages) -> None:
    """Check what LLaMA-Factory would leave out or skip without an error.

    Raises:
        UnsuitableRow: The turns do not alternate, or a message has other fields than its role and content.
    """
    turns = [turn for turn in (*prompt, *answer) if turn["role"] not in {"system", "developer"}]
    sides = ["user" if turn["role"] in {"user", "tool"} else "assistant" for turn in turns]
    if sides != ["user", "assistant"] * (len(sides) // 2):
        raise UnsuitableRow("has turns that do not alternate between user and assistant, which LLaMA-Factory skips.")
    lost = sorted({name for turn in turns for name, value in turn.items() if value} - {"role", "content"})
    if lost:
        raise UnsuitableRow(f"has a message with {', '.join(lost)}, which LLaMA-Factory does not read.")
