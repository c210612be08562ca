"""Decide whether an error status is due to its row, or whether the server refuses every call.

A gateway answers 502 while the server behind it restarts, a tunnel that is down answers 404. Each such answer would
fail a row, so an outage of a minute would fail thousands of them.
"""

from manycall.errors import FailureClass

MIN_REFUSALS = 80
"""Attempts without an answer in between that are an outage. A call makes at most eight attempts, so they are those of
ten calls or more: a few rows that the server never answers are no outage."""
PATIENCE_SECONDS = 300.0
"""How long the calls are retried in an outage. A large server takes minutes to start."""


class Outage:
    """Whether an endpoint refuses every call.

    Attributes:
        refusals: number of refusals since the last answer.
    """

    def __init__(self) -> None:
        self.refusals = 0
        self._answers, self._since = 0, 0.0

    def __repr__(self) -> str:
        return f"<Outage, {self.refusals} refusals since {self._since}>"

    def judge(self, failure_class: FailureClass, answers: int, now: float) -> FailureClass:
        """Note a refusal and return what it means.

        Args:
            failure_class: its meaning if it is due to the row: SERVER_ERROR or BAD_SETUP.
            answers: number of answers of the endpoint so far, in this session.

        Returns:
            OUTAGE for a refusal of all calls. GONE if that has lasted for too long and the URL or the model is refused,
            or there was no answer in this session. In such a session, a URL or a model is GONE at once. Otherwise
            `failure_class`.
        """
        if answers != self._answers or not self.refusals:
            self.refusals, self._answers, self._since = 0, answers, now
        self.refusals += 1
        if self.refusals < MIN_REFUSALS:
            return failure_class
        has_lasted = now - self._since >= PATIENCE_SECONDS
        if answers and not has_lasted:
            return FailureClass.OUTAGE
        is_gone = failure_class is FailureClass.BAD_SETUP or (has_lasted and not answers)
        return FailureClass.GONE if is_gone else failure_class
