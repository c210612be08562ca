"""The routes below /api/. Each answers a GET request with JSON, or with the bytes of a file."""

from manycall.view.compared_rows import COMPARE_ROUTES
from manycall.view.replies import ViewRefused
from manycall.view.row_routes import ROW_ROUTES
from manycall.view.run_list import RunList
from manycall.view.run_routes import RUN_ROUTES
from manycall.view.view_context import Answer, ViewContext
from manycall.view.view_request import ViewRequest
from manycall.view.work_routes import WORK_ROUTES

_HANDLERS = {**RUN_ROUTES, **ROW_ROUTES, **WORK_ROUTES, **COMPARE_ROUTES}
_ROUTES = [(pattern.split("/"), handler) for pattern, handler in _HANDLERS.items()]


class ViewRoutes:
    """Answers requests.

    Args:
        runs: the runs that may be seen.

    Attributes:
        context: the open indexes and streams.
    """

    def __init__(self, runs: RunList) -> None:
        self.context = ViewContext(runs)

    def answer(self, path: str, query: str) -> Answer:
        """Answer a request. This may take as long as reading a large file: call it from a thread.

        Args:
            path: the part of the path after /api/.

        Raises:
            ViewRefused: there is no such route or run, or the query is not valid.
        """
        words = path.split("/")
        for pattern, handler in _ROUTES:
            if len(pattern) == len(words) and all(a in (b, "*") for a, b in zip(pattern, words, strict=True)):
                open_words = tuple(word for name, word in zip(pattern, words, strict=True) if name == "*")
                return handler(self.context, ViewRequest(open_words, query))
        raise ViewRefused(404, "There is no such route.", "The routes are in docs/view.md.")

    def close(self) -> None:
        """Close all open files."""
        self.context.close()
