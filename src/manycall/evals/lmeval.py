"""The files of lm-evaluation-harness: its samples_*.jsonl are read, to be scored again."""

import re
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from manycall.errors import UsageError
from manycall.records import Fields
from manycall.store.manifest import Manifest
from manycall.store.output import Output
from manycall.store.reading import read_lines

_NAME = re.compile(r"samples_(.+)_\d{4}-\d\d-\d\dT")


def opened(path: str | Path) -> Output:
    """An output of ours, or samples of lm-eval's.

    Raises:
        UsageError: there is no such file, or it holds samples of another kind than texts.
        StoreCorrupt: it cannot be read.
    """
    return Samples(path) if are_samples(path) else Output(path)


def are_samples(path: str | Path) -> bool:
    """Whether a file was written by lm-eval's `--log_samples`."""
    first = next((line for _, line in islice(read_lines(Path(path)), 1)), b"") if Path(path).is_file() else b""
    return b'"doc_id"' in first and b'"filtered_resps"' in first


class Samples(Output):
    """A samples_*.jsonl as an output: rows with `response` and `answer`, one for each response, at the same offset.

    lm-eval writes an empty text for whatever did not come (a reply with an error in it, an answer of null), and
    scores it 0. Here it is a row without an answer.

    Raises:
        UsageError: they are not texts that a model generated.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__(path)
        named, empty, most = _NAME.match(self.path.name), 0, 1
        identity: Fields = {"job": f"eval {named[1] if named else ''}"}
        for _, sample in self._samples():
            texts = sample["resps"][0]
            empty, most = empty + texts.count(""), max(most, len(texts))
            identity |= _sent(sample)
        self.manifest = Manifest("", {**identity, "samples": most > 1}, sessions=[{"ending": "finished"}])
        self.unfinished = {"empty": empty} if empty else {}

    def rows(self) -> Iterator[tuple[int, Fields]]:
        """(offset, row): the fields of the document, `id`, `answer`, `response`."""
        return ((offset, row) for offset, sample in self._samples() for row in self._rows(sample))

    def at(self, offsets: Iterable[int]) -> Iterator[Fields]:
        """The first row of each of the samples that stand there."""
        return (next(self._rows(sample)) for sample in super().at(offsets))

    def _rows(self, sample: Fields) -> Iterator[Fields]:
        for number, text in enumerate(sample["resps"][0]):
            name = f"{sample['doc_id']}#{number}" if self.sampled else str(sample["doc_id"])
            if text:
                yield {**sample["doc"], "id": name, "answer": sample["target"], "response": text}

    def _samples(self) -> Iterator[tuple[int, Fields]]:
        """Each document once: its samples stand there again for every filter."""
        first = None
        for offset, sample in super().rows():
            if not _is_generated(sample):
                raise UsageError(f"{self.path}, the sample at byte {offset:,} holds no text that a model generated")
            first = sample["filter"] if first is None else first
            if sample["filter"] == first:
                yield offset, sample


def _sent(sample: Fields) -> Fields:
    """The parameters of its calls, if it says so."""
    match sample:
        case {"arguments": {"gen_args_0": {"arg_1": dict(params)}}} if params:
            return {"params": params}
    return {}


def _is_generated(sample: Fields) -> bool:
    match sample:
        case {"doc_id": _, "doc": dict(), "target": _, "filter": str(), "resps": [[*texts]]}:
            return all(isinstance(text, str) for text in texts)
    return False
