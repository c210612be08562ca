"""Embed the texts of a block of rows with as few calls as the server permits.

A refused request with several texts is split into halves, so that only the text that the server refuses fails. If both
halves are accepted, the server permits fewer texts per request, and later requests have fewer. If the server refuses
base64, the vectors are requested as lists from then on.
"""

import math
from collections.abc import Sequence
from typing import Any

import msgspec

from manycall.client.requests import ModelReply
from manycall.data.prompt_error import PromptError
from manycall.errors import CallError, EmptyCompletion, FailureClass, InvalidResponse
from manycall.option_flags import option
from manycall.records import Embeddings, Failure, Request, Row, RowOutcome, Success
from manycall.run.outcome import failure_kind, http_status, make_failure
from manycall.run.row_blocks import BlockOutcome, rows_of
from manycall.run.row_client import RowClient
from manycall.store.journal_line import lookup_key

EMBEDDING_FIELD = "embedding"
"""The field of the vector in the output."""

SPLIT_AFTER = frozenset(
    {
        FailureClass.BAD_REQUEST,
        FailureClass.TOO_LONG,
        FailureClass.CONTENT_FILTER,
        FailureClass.PARAMETER,
        FailureClass.MALFORMED,
        FailureClass.NO_ANSWER,
    }
)
"""Failures that one text of several may have caused. So may a SERVER_ERROR of a server that has answered before:
llama-server responds with 500 to a text that is too long."""

MAX_INITIAL_REFUSALS = 10
"""If no call of the job was answered and 10 rows were refused, further rows fail without a call."""


class VectorPlace(msgspec.Struct, frozen=True, gc=False):
    """Where the journal has a vector. The line of a finished row contains this instead of the numbers.

    Attributes:
        call: name of the call in the journal (`lookup_key`), in hexadecimal digits.
        index: position of the text in the request.
        dimensions: length of the vector.
    """

    call: str
    index: int
    dimensions: int


class TextEmbedder:
    """The row function of the job: gets a block of rows, and returns the outcome of each.

    Args:
        field: the field with the text.
        params: parameters of each request.
        dimensions: length of the vectors; None until the first vector is known.
    """

    def __init__(self, field: str, params: dict[str, Any], dimensions: int | None) -> None:
        self._field, self._params, self._dimensions = field, params, dimensions
        self._max_texts: float = math.inf
        self._refused = 0
        self._refusal: CallError | None = None

    def __repr__(self) -> str:
        return f"<TextEmbedder of {self._field}, {self._max_texts} texts per call>"

    async def __call__(self, block: Row, llm: RowClient) -> BlockOutcome:
        """Embed the texts of the block."""
        run = _BlockRun(self, block, llm)
        for row in rows_of(block):
            try:
                self.text(row)
            except PromptError as error:
                run.fail([row], error)
            else:
                run.waiting.append(row)
        if run.waiting:
            await run.embed(run.waiting)
        return BlockOutcome([run.outcomes[row.id] for row in rows_of(block)])

    def text(self, row: Row) -> str:
        """Return the text of a row.

        Raises:
            PromptError: it has none, or already has a field for the vector.
        """
        if EMBEDDING_FIELD in row.fields:
            raise PromptError(f"the row already has a field {EMBEDDING_FIELD!r}, the output field")
        if self._field not in row.fields:
            names = ", ".join(row.fields) or "none"
            raise PromptError(f"the row has no field {self._field!r}. Its fields: {names}. See {option('field')}.")
        text = row.fields[self._field]
        if not isinstance(text, str) or not text.strip():
            what = "empty" if isinstance(text, str) else "not a text"
            raise PromptError(f"the field {self._field!r} is {what}, and cannot be embedded")
        return text

    async def send(self, rows: Sequence[Row], llm: RowClient) -> Embeddings:
        """Ask for the vectors of some rows, with one call.

        Raises:
            CallError: there is no answer, or not one vector for each row.
        """
        texts = [self.text(row) for row in rows]
        answer: ModelReply = await llm.send(Request("embeddings", llm.model, texts, self._params))
        assert isinstance(answer, Embeddings)
        if len(answer.vectors) != len(rows):
            found = f"{len(answer.vectors)} vectors for {len(rows)} texts"
            raise InvalidResponse(f"The response contains {found}.", body=answer.body)
        return answer

    def check(self, vector: Sequence[float]) -> None:
        """Check one vector.

        Raises:
            EmptyCompletion: it is empty.
            InvalidResponse: it has another length than the other vectors, or a number that is not finite.
        """
        if not vector:
            raise EmptyCompletion("The embedding in the response is empty.")
        if not math.isfinite(sum(vector)):
            raise InvalidResponse("The embedding contains a number that is not finite.")
        if self._dimensions is None:
            self._dimensions = len(vector)
        if len(vector) != self._dimensions:
            raise InvalidResponse(
                f"The embedding has {len(vector):,} numbers instead of {self._dimensions:,}. All vectors of an output "
                f"have the same length. A model that cannot shorten its vectors may ignore {option('dimensions')}."
            )

    @property
    def max_texts(self) -> float:
        """Most texts of a call, as far as refusals have shown; inf if none has."""
        return self._max_texts

    def learn_limit(self, texts: int) -> None:
        """Send no more texts per call from now on."""
        self._max_texts = min(self._max_texts, texts)

    @property
    def requests_base64(self) -> bool:
        """Whether the vectors are requested in base64."""
        return self._params.get("encoding_format") == "base64"

    def learn_encoding(self, error: CallError) -> bool:
        """Request lists from now on if the refusal of a request is about base64. Return whether it is."""
        said = error.body
        if error.failure_class not in SPLIT_AFTER or not (b"encoding_format" in said or b"base64" in said):
            return False
        self._params.pop("encoding_format", None)
        return True

    def record_refused(self, rows: int, error: CallError) -> None:
        """Count rows that failed because a call was refused."""
        self._refused, self._refusal = self._refused + rows, error

    @property
    def final_refusal(self) -> CallError | None:
        """The last refusal, if at least MAX_INITIAL_REFUSALS rows were refused; otherwise None.

        Before the first answer, it shows that the parameters or the URL are wrong and not the texts.
        """
        return self._refusal if self._refused >= MAX_INITIAL_REFUSALS else None


class _BlockRun:
    """The rows of one block while they are embedded."""

    def __init__(self, embedder: TextEmbedder, block: Row, llm: RowClient) -> None:
        self._embedder, self._block_id, self._llm = embedder, block.id, llm
        self.waiting: list[Row] = []
        self.outcomes: dict[str, RowOutcome] = {}

    def fail(self, rows: Sequence[Row], error: BaseException) -> None:
        """Record the same failure for each of the rows."""
        for row in rows:
            self.outcomes[row.id] = make_failure(row, self._llm, error)

    async def embed(self, rows: Sequence[Row]) -> bool:
        """Embed rows with as few calls as the server permits. Return whether all of them have a vector.

        If the server limits the texts of a call, the calls of a block depend on that limit only, and not on when it was
        learned. So a session after a kill makes the same calls, and finds their answers in the journal.
        """
        if len(rows) > self._embedder.max_texts:
            return await self._embed_halves(rows)
        return await self._embed_together(rows)

    async def _embed_halves(self, rows: Sequence[Row]) -> bool:
        half = (len(rows) + 1) // 2
        are_done = await self.embed(rows[:half])
        return await self.embed(rows[half:]) and are_done

    async def _embed_together(self, rows: Sequence[Row]) -> bool:
        """Embed rows with one call, or with more if it is refused."""
        embedder = self._embedder
        if embedder.final_refusal is not None and not self._llm.any_success:
            self.fail(rows, embedder.final_refusal)
            return False
        was_base64 = embedder.requests_base64
        try:
            answer = await embedder.send(rows, self._llm)
        except CallError as error:
            again = was_base64 and embedder.learn_encoding(error)
            return await (self._embed_together(rows) if again else self._split(rows, error))
        return self._read(rows, answer.vectors)

    def _read(self, rows: Sequence[Row], vectors: Sequence[Sequence[float]]) -> bool:
        """Record the vectors of rows. Return whether all of them can be used."""
        key, occurrence = self._llm.last_call
        call = lookup_key(self._block_id, key, occurrence).hex()
        are_done = True
        for index, (row, vector) in enumerate(zip(rows, vectors, strict=True)):
            try:
                self._embedder.check(vector)
            except InvalidResponse as error:
                kind, calls = failure_kind(error), self._llm.calls_made
                self.outcomes[row.id] = Failure(row, kind, str(error), calls, status=http_status(error))
                are_done = False
            else:
                place = VectorPlace(call, index, len(vector))
                self.outcomes[row.id] = Success(row, {EMBEDDING_FIELD: msgspec.structs.asdict(place)})
        return are_done

    async def _split(self, rows: Sequence[Row], error: CallError) -> bool:
        """Embed the two halves of refused rows; record the failure if they cannot be split."""
        if len(rows) == 1 or not self._may_split(error):
            self._embedder.record_refused(len(rows), error)
            self.fail(rows, error)
            return False
        are_done = await self._embed_halves(rows)
        if are_done:
            self._embedder.learn_limit(len(rows) - 1)
        return are_done

    def _may_split(self, error: CallError) -> bool:
        """Return whether one of the texts may have caused a failure."""
        if error.failure_class is FailureClass.SERVER_ERROR:
            return self._llm.any_success
        return isinstance(error, InvalidResponse) or error.failure_class in SPLIT_AFTER
