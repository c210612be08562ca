"""The files of lm-evaluation-harness: its samples_*.jsonl are read, to be scored again."""

import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Self

from manycall.errors import UsageError
from manycall.evals.outputs import Output
from manycall.store.lines import read_lines
from manycall.store.manifest import Manifest

_NAME = re.compile(r"samples_(.+)_\d{4}-\d\d-\d\dT")


def opened(path: str | Path) -> Output:
    """An output of ours, or samples of lm-eval's.

    Raises:
        UsageError: there is no such file, or it holds samples of another kind than texts.
        StoreCorrupt: it cannot be read.
    """
    return Samples.at(path) if are_samples(path) else Output.at(path)


def are_samples(path: str | Path) -> bool:
    """Whether a file was written by lm-eval's `--log_samples`."""
    first = next((line for _, line in islice(read_lines(Path(path)), 1)), b"") if Path(path).is_file() else b""
    return b'"doc_id"' in first and b'"filtered_resps"' in first


class Samples(Output):
    """A samples_*.jsonl as an output: rows with `response` and `answer`, one for each response.

    lm-eval writes an empty text for whatever did not come (a reply with an error in it, an answer of null), and
    scores it 0. Here it is a row without an answer.
    """

    @classmethod
    def at(cls, path: str | Path) -> Self:
        """The samples in this file.

        Raises:
            UsageError: they are not texts that a model generated.
            StoreCorrupt: a line that is no JSON.
        """
        named = _NAME.match(Path(path).name)
        identity: dict[str, Any] = {"job": f"eval {named[1] if named else ''}", "samples": False}
        found = cls(Path(path), Manifest("", identity, sessions=[{"ending": "finished"}]), {})
        empty = 0
        for _, sample in found._samples():
            texts = sample["resps"][0]
            identity["samples"] |= len(texts) > 1
            identity |= _sent(sample)
            empty += texts.count("")
        found.unfinished = {"empty": empty} if empty else {}
        return found

    def rows(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """(offset, row): the fields of the document, `id`, `answer`, `response`."""
        for offset, sample in self._samples():
            yield from ((offset, row) for row in self._rows(sample))

    def row_at(self, offset: int) -> dict[str, Any]:
        """The first row of the sample that starts there."""
        return next(self._rows(super().row_at(offset)))

    def _rows(self, sample: dict[str, Any]) -> Iterator[dict[str, Any]]:
        for number, text in enumerate(sample["resps"][0]):
            name = f"{sample['doc_id']}#{number}" if self.sampled else str(sample["doc_id"])
            if text:
                yield {**sample["doc"], "id": name, "answer": sample["target"], "response": text}

    def _samples(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Each document once: its samples stand there again for every filter."""
        first = None
        for offset, sample in super().rows():
            if not _is_generated(sample):
                raise UsageError(f"{self.path}, the sample at byte {offset:,} holds no text that a model generated")
            first = sample["filter"] if first is None else first
            if sample["filter"] == first:
                yield offset, sample


def _sent(sample: dict[str, Any]) -> dict[str, Any]:
    """The parameters of its calls, if it says so."""
    match sample:
        case {"arguments": {"gen_args_0": {"arg_1": dict(params)}}} if params:
            return {"params": params}
    return {}


def _is_generated(sample: dict[str, Any]) -> bool:
    match sample:
        case {"doc_id": _, "doc": dict(), "target": _, "filter": str(), "resps": [[*texts]]}:
            return all(isinstance(text, str) for text in texts)
    return False
