"""The options of every verb that calls: declared once, added to each verb's own, said again as `manycall.Options`."""

import json
from collections.abc import Callable, Collection
from functools import wraps
from inspect import Signature, signature
from typing import Any

from manycall.cli.options import (
    Deadline,
    DryRun,
    Fresh,
    IdField,
    InFlight,
    Limit,
    MaxCost,
    MaxTokens,
    MaxTokensTotal,
    Param,
    PlainHttp,
    Price,
    Quiet,
    Temperature,
    Timeout,
    Url,
)
from manycall.errors import UsageError

Verb = Callable[..., None]


def options(
    *,
    url: Url = None,
    concurrency: InFlight = None,
    temperature: Temperature = None,
    max_tokens: MaxTokens = None,
    param: Param = None,
    limit: Limit = None,
    max_tokens_total: MaxTokensTotal = None,
    max_cost: MaxCost = None,
    price: Price = None,
    deadline: Deadline = None,
    id_field: IdField = None,
    timeout: Timeout = 600.0,
    plain_http: PlainHttp = False,
    dry_run: DryRun = False,
    fresh: Fresh = False,
    quiet: Quiet = False,
) -> dict[str, Any]:
    """What a shell says of the calls, as `manycall.Options`.

    Raises:
        UsageError: a parameter without a value.
    """
    return {
        "url": url, "concurrency": concurrency, "temperature": temperature, "max_tokens": max_tokens,
        "params": parameters(param or []), "limit": limit, "max_tokens_total": max_tokens_total, "max_cost": max_cost,
        "price": price, "deadline": deadline, "id_field": id_field, "timeout": timeout, "plain_http": plain_http,
        "dry_run": dry_run, "fresh": fresh, "progress": not quiet,
    }  # fmt: skip


def calling(*, without: Collection[str] = ()) -> Callable[[Verb], Verb]:
    """Add the parameters of `options` to a verb; it gets what they come to as its own `**options`.

    Typer makes a verb's options of its signature, and knows no other way to share them. In the new one, and so in
    --help, they stand where the verb has its star.

    Args:
        without: those that the verb cannot take.
    """
    shared = [each for name, each in signature(options).parameters.items() if name not in without]

    def decorator(verb: Verb) -> Verb:
        own = signature(verb).parameters.values()

        @wraps(verb)
        def command(**given: Any) -> None:
            said = options(**{each.name: given.pop(each.name) for each in shared})
            verb(**given, **said)

        before = [each for each in own if each.kind is each.POSITIONAL_OR_KEYWORD]
        after = [each for each in own if each.kind is each.KEYWORD_ONLY]
        command.__signature__ = Signature([*before, *shared, *after])  # type: ignore[attr-defined]
        return command

    return decorator


def parameters(given: list[str]) -> dict[str, Any]:
    """`name=value` pairs; a value is JSON if it can be read so, else text.

    Raises:
        UsageError: no "=".
    """
    params: dict[str, Any] = {}
    for pair in given:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise UsageError("--param wants name=value, as in --param top_p=0.9")
        try:
            params[name] = json.loads(value)
        except ValueError:
            params[name] = value
    return params


def variables(given: list[str] | None) -> dict[str, Any] | None:
    """What --draw or --cross says, as `generate` and `steps` take it.

    Raises:
        UsageError: a variable that says not what it is drawn from, or a file of them that cannot be read.
    """
    from manycall.data.values import said

    return said(given) if given else None
