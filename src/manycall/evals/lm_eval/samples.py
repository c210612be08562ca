"""Reader of samples_*.jsonl files of lm-evaluation-harness, so that they can be scored again."""

import re
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from manycall.data.row_files import READERS
from manycall.errors import UsageError
from manycall.option_flags import spelled
from manycall.records import Fields
from manycall.store.jsonl import read_lines
from manycall.store.manifest import Manifest
from manycall.store.output_reader import OutputReader

_NAME = re.compile(r"samples_(.+)_\d{4}-\d\d-\d\dT")


def open_output(path: str | Path) -> OutputReader:
    """Open an output of manycall or a samples file of lm-eval.

    Raises:
        UsageError: the file does not exist, is a table and not JSON lines, or its samples are not generated texts.
        CorruptFile: the file cannot be decoded.
    """
    if is_lm_eval_samples(path):
        return LmEvalSamples(path)
    output = OutputReader(path)
    if output.manifest is None and output.path.suffix.lower() in READERS:
        lines = output.path.with_suffix(".jsonl")
        command = spelled(f"manycall export {path} -o {lines}", f"manycall.export({str(path)!r}, {str(lines)!r})")
        raise UsageError(f"{path} cannot be read here: only JSON lines can. Convert it with `{command}`.")
    return output


def is_lm_eval_samples(path: str | Path) -> bool:
    """Return whether a file was written by lm-eval's `--log_samples`."""
    first = next((line for _, line in islice(read_lines(Path(path)), 1)), b"") if Path(path).is_file() else b""
    return b'"doc_id"' in first and b'"filtered_resps"' in first


class LmEvalSamples(OutputReader):
    """A samples_*.jsonl file as an output. Each response is a row with `response` and `answer`.

    All responses of one line have the byte offset of this line. For a missing response (an error, or null content),
    lm-eval writes an empty text and scores it 0. Here the row has failed with the kind "empty".

    Raises:
        UsageError: the samples are not generated texts.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__(path)
        match, empty, max_samples = _NAME.match(self.path.name), 0, 1
        identity: Fields = {"job": f"eval {match[1] if match else ''}"}
        for _, sample in self._samples():
            texts = sample["resps"][0]
            empty, max_samples = empty + texts.count(""), max(max_samples, len(texts))
            identity |= _request_params(sample)
        self.manifest = Manifest("", {**identity, "samples": max_samples > 1}, sessions=[{"outcome": "finished"}])
        self.failure_counts = {"empty": empty} if empty else {}

    def rows(self) -> Iterator[tuple[int, Fields]]:
        """Return (byte offset, row) pairs. A row has the fields of the document, `id`, `answer` and `response`."""
        return ((offset, row) for offset, sample in self._samples() for row in self._rows(sample))

    def read_at(self, offsets: Iterable[int]) -> Iterator[Fields]:
        """Return the first row of the sample at each byte offset."""
        return (next(self._rows(sample)) for sample in super().read_at(offsets))

    def failed_rows(self) -> Iterator[tuple[str, str, Fields]]:
        return (
            (str(row["id"]), "empty", row) for _, sample in self._samples() for row in self._rows(sample, is_empty=True)
        )

    def _rows(self, sample: Fields, is_empty: bool = False) -> Iterator[Fields]:
        for number, text in enumerate(sample["resps"][0]):
            name = f"{sample['doc_id']}#{number}" if self.has_samples else str(sample["doc_id"])
            if is_empty != bool(text):
                yield {**sample["doc"], "id": name, "answer": sample["target"], "response": text}

    def _samples(self) -> Iterator[tuple[int, Fields]]:
        """Yield each document once, although the file repeats it for every filter."""
        first_filter = None
        for offset, sample in super().rows():
            if not _is_generated(sample):
                raise UsageError(f"{self.path}, the sample at byte {offset:,} contains no generated text.")
            first_filter = sample["filter"] if first_filter is None else first_filter
            if sample["filter"] == first_filter:
                yield offset, sample


def _request_params(sample: Fields) -> Fields:
    """Return {"params": the request parameters of a sample}; empty if they are not recorded."""
    match sample:
        case {"arguments": {"gen_args_0": {"arg_1": dict(params)}}} if params:
            return {"params": params}
    return {}


def _is_generated(sample: Fields) -> bool:
    match sample:
        case {"doc_id": _, "doc": dict(), "target": _, "filter": str(), "resps": [[*texts]]}:
            return all(isinstance(text, str) for text in texts)
    return False
