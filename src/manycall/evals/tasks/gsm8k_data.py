"""Load GSM8K and GSM8K-Platinum: the questions, and few-shot examples that are sampled as lm-eval samples them."""

import random
from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec.structs import replace

from manycall.errors import UsageError
from manycall.evals.tasks.download import checksum, load_from_hub
from manycall.evals.tasks.fewshot import record_num_fewshot
from manycall.evals.tasks.hub_files import GitHubFile
from manycall.evals.tasks.published_data import PublishedData
from manycall.evals.tasks.task import Task
from manycall.option_flags import option
from manycall.records import Fields, Messages
from manycall.store.atomic_write import replace_file
from manycall.store.paths import cache_folder

REPOSITORY = "openai/grade-school-math"
_COMMIT = "3101c7d5072418e28b9008a6636bde82a006892c"
_SHA256 = {
    "test": "3730d312f6e3440559ace48831e51066acaca737f6eabec99bccb9e4b3c39d14",
    "train": "17f347dc51477c50d4efb83959dbb7c56297aba886e5544ee2aaed3024813465",
}
FILES = {
    split: GitHubFile(REPOSITORY, _COMMIT, f"grade_school_math/data/{split}.jsonl", digest)
    for split, digest in _SHA256.items()
}
FEWSHOT_SEED = 1234


class HubRows(msgspec.Struct, frozen=True):
    """The rows of a dataset that the `datasets` library loads, as a file in the cache; a `PinnedFile`."""

    repo: str
    config: str
    split: str
    sha256: str = ""

    def fetch(self, *, passed_as: str = "data") -> Path:
        """Return the file, downloaded if needed. See `PinnedFile`.

        Raises:
            UsageError: the library is not installed, or it cannot load the dataset.
        """
        path = cache_folder() / "hub" / self.repo.replace("/", "--") / f"{self.split}.jsonl"
        if not path.exists():
            rows = load_from_hub(self.repo, self.config, self.split)
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(path, (msgspec.json.encode(row) + b"\n" for row in rows))
        return path


def convert(fields: Fields, _: str) -> Fields:
    """Return the row of a problem."""
    if not all(isinstance(fields[name], str) for name in ("question", "answer")):
        raise ValueError("question and answer must be texts")
    return fields


class GsmData(PublishedData, frozen=True):
    """Loader of a task of GSM8K.

    A task with `num_fewshot` samples its examples from the training set. GSM8K-Platinum has none, so they are sampled
    from its questions. The examples of the other tasks are fixed, and a smaller number takes the first ones.
    """

    def __call__(
        self,
        task: Task,
        data: str | Path | None = None,
        fewshot_data: str | Path | None = None,
        num_fewshot: int | None = None,
    ) -> Task:
        """Return the task with its rows and with `num_fewshot` examples for each. Default: those of the protocol.

        Raises:
            UsageError: a file cannot be downloaded or read, or has too few problems.
        """
        protocol = task.num_fewshot
        if protocol is None:
            return super().__call__(task, data, fewshot_data, num_fewshot)
        count = protocol if num_fewshot is None else num_fewshot
        if fewshot_data is not None and not self.fewshot_files:
            raise UsageError(f"{task.name} does not support {option('fewshot_data')}.")
        if fewshot_data is not None and not count:
            raise UsageError(f"{option('fewshot_data')} and {option('num_fewshot', 0)} cannot be combined.")
        task = record_num_fewshot(self.with_rows(task, data), count, protocol)
        if not count:
            return task
        assert isinstance(task.rows, list)
        pool = list(self.fewshot_rows(data, fewshot_data)) if self.fewshot_files else task.rows
        problems = [{name: value for name, value in row.items() if name != "id"} for row in pool]
        return with_sampled_shots(task, problems, count, exclude_self=not self.fewshot_files)


def with_sampled_shots(task: Task, pool: list[Fields], count: int, *, exclude_self: bool) -> Task:
    """Return the task with `count` examples from `pool` before each question, in the form of its prompt."""
    sampler, prompt = FewshotSampler(pool, count, exclude_self=exclude_self), str(task.prompt)

    def examples(index: int) -> Messages:
        return [
            message
            for shot in sampler[index]
            for message in (
                {"role": "user", "content": prompt.replace("{{ question }}", shot["question"])},
                {"role": "assistant", "content": shot["answer"]},
            )
        ]

    return replace(task, fewshot=examples, identity={**task.identity, "fewshot": checksum(pool)})


class FewshotSampler:
    """Samples the few-shot examples of each question with `random.Random(1234).sample`, in file order, as lm-eval does.

    One generator is used for the whole file, so the examples of question 7 depend on the questions before it. `--limit`
    does not change them, and a resumed run samples the same examples.

    Args:
        pool: the rows to sample from.
        count: number of examples per question.
        exclude_self: the pool is the test set. One more example is sampled, and the question itself is left out.
    """

    def __init__(self, pool: Sequence[Fields], count: int, *, exclude_self: bool = False) -> None:
        if len(pool) < count + exclude_self:
            raise UsageError(
                f"The few-shot examples need {count + exclude_self} problems, but the data has {len(pool)}. "
                f"Pass a larger file with {option('data' if exclude_self else 'fewshot_data')}."
            )
        self._pool, self._count, self._exclude_self = pool, count, exclude_self
        self._rng = random.Random(FEWSHOT_SEED)
        self._samples: list[list[int]] = []

    def __getitem__(self, index: int) -> list[Fields]:
        while len(self._samples) <= index:
            self._samples.append(self._sample(len(self._samples)))
        return [self._pool[position] for position in self._samples[index]]

    def _sample(self, index: int) -> list[int]:
        positions = range(len(self._pool))
        if not self._exclude_self:
            return self._rng.sample(positions, self._count)
        question = self._pool[index]
        sample = [n for n in self._rng.sample(positions, self._count + 1) if self._pool[n] != question][: self._count]
        if len(sample) < self._count:  # the pool contains the question twice
            sample = self._rng.sample([n for n in positions if self._pool[n] != question], self._count)
        return sample
