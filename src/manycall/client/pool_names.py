"""The names of pools: which pools a client opens, and which one a call means.

Endpoints with the same name in endpoints.toml form one pool. Calls without a name use the default pool: the endpoints
without a name or, if every endpoint has one, those with the first name.
"""

from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches
from typing import NamedTuple

from manycall.errors import UsageError

MAX_LISTED_NAMES = 30


class PoolChoice(NamedTuple):
    """Which pools a client opens.

    Attributes:
        default: name of the default pool; None: as described above.
        others: names of the other pools; None: all that are configured.
    """

    default: str | None = None
    others: Collection[str] | None = None

    def default_of(self, names: Sequence[str]) -> str:
        """Return the name of the default pool, given those of all endpoints ("" for one without a name).

        Raises:
            UsageError: no endpoint has the chosen name.
        """
        if self.default is not None:
            check_pool_name(self.default, names)
            return self.default
        return "" if "" in names else names[0]

    def chosen(self, names: Sequence[str]) -> set[str]:
        """Return the names of the pools to open.

        Raises:
            UsageError: no endpoint has one of the chosen names.
        """
        default = self.default_of(names)
        others = {name for name in names if name} if self.others is None else self.others
        for name in sorted(others):
            check_pool_name(name, names)
        return {default, *others}


ALL_POOLS = PoolChoice()


class PoolNames(NamedTuple):
    """The pools of a client, by name.

    Attributes:
        default: name of the default pool; "" if it has none.
        models: name of each other pool → its model.
    """

    default: str = ""
    models: Mapping[str, str] = {}

    def find(self, name: str, model: str) -> tuple[str, str]:
        """Return the pool for a name that a call gives, "" if it is the default pool, and the pool's model.

        Args:
            model: the model of the default pool.

        Raises:
            UsageError: there is no such pool.
        """
        if not name or name == self.default:
            return "", model
        if name not in self.models:
            check_pool_name(name, [self.default, *self.models])
        return name, self.models[name]


ONE_POOL = PoolNames()


def check_pool_name(name: str, names: Sequence[str]) -> None:
    """Check that an endpoint has this name.

    Raises:
        UsageError: none has. The message lists all names, the most similar first.
    """
    known = sorted({each for each in names if each})
    if name in known:
        return
    if not known:
        raise UsageError(
            f"There is no endpoint named {name!r:.100}: no endpoint has a name. Set name = in endpoints.toml, which is "
            "read if neither a base URL nor OPENAI_BASE_URL is given."
        )
    similar = "".join(f" Did you mean {each!r}?" for each in get_close_matches(name, known, n=1, cutoff=0.5))
    listed = ", ".join(known[:MAX_LISTED_NAMES])
    raise UsageError(f"There is no endpoint named {name!r:.100}.{similar} Names in endpoints.toml: {listed}.")
