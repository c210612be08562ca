"""A client in one of several worker processes: it uses a share of each limit, until its lease is over.

The driver divides the limits (control/shares.py). `apply_shares` applies what a grant says, and `endpoint_reports`
returns what a report says about the endpoints. Before the first grant, call `apply_shares(client, {}, -math.inf)`.
"""

from collections.abc import Iterator, Mapping

import msgspec

from manycall import clock
from manycall.client.call_client import CallClient
from manycall.client.endpoint import Endpoint
from manycall.client.pool import EndpointPool


class EndpointShare(msgspec.Struct, frozen=True):
    """What a worker may use of an endpoint.

    Attributes:
        share: share of all its limits, from 0 to 1.
        disabled_reason: why no worker sends calls to it any more, as one of them has found out; None: they may.
    """

    share: float
    disabled_reason: str | None = None


class EndpointReport(msgspec.Struct, frozen=True):
    """What a worker knows about an endpoint. Numbers of calls are totals since its start.

    Attributes:
        pool: number of the pool that the endpoint belongs to; 0: the default pool.
        answered: number of calls with an answer.
        failed: number of attempts without one, also those that were refused.
        refused: number of attempts that were refused with 429.
        in_flight: number of calls in flight.
        calls_per_second: what the configured and advertised limits permit to all workers; None if there are none.
        is_client_bound: whether this process is the bottleneck.
        is_ejected: whether it was ejected because of failures.
        disabled_reason: why no more calls are sent to it; None while it is in use.
    """

    pool: int
    answered: int
    failed: int
    refused: int
    in_flight: int
    calls_per_second: float | None
    is_client_bound: bool
    is_ejected: bool
    disabled_reason: str | None


def _named_endpoints(client: CallClient) -> Iterator[tuple[str, int, EndpointPool, Endpoint]]:
    """Yield the endpoints with their names, which are the same in each process with the same settings.

    Endpoints with equal names, such as several keys for one URL, are numbered in the order of the settings.
    """
    seen: dict[str, int] = {}
    for number, pool in enumerate(client.all_pools):
        for endpoint in pool.endpoints:
            count = seen[endpoint.name] = seen.get(endpoint.name, 0) + 1
            yield endpoint.name if count == 1 else f"{endpoint.name} #{count}", number, pool, endpoint


def apply_shares(
    client: CallClient, shares: Mapping[str, EndpointShare], lease_until: float, *, concurrency: int | None = None
) -> None:
    """Use these shares of the endpoints, and start no call from `lease_until` on.

    Args:
        shares: by the names in `endpoint_reports`. Endpoints that are not named get no calls.
        lease_until: time on the client's clock; -inf: start no call.
        concurrency: the worker's part of the number of calls in flight that the user gave; None if the user gave none.
    """
    now = clock.now()
    for name, _, _, endpoint in _named_endpoints(client):
        share = shares.get(name, EndpointShare(0.0))
        if share.disabled_reason is not None and endpoint.disabled_reason is None:
            endpoint.disable(share.disabled_reason)
        endpoint.set_share(share.share, now)
    for pool in client.all_pools:
        pool.permits.renew_lease(lease_until, concurrency)


def endpoint_reports(client: CallClient) -> dict[str, EndpointReport]:
    """Return what the client knows about its endpoints, by their names."""
    now = clock.now()
    return {
        name: EndpointReport(
            pool=number,
            answered=endpoint.answers,
            failed=endpoint.errors,
            refused=endpoint.refusals,
            in_flight=endpoint.in_flight,
            calls_per_second=endpoint.quota.calls_per_second,
            is_client_bound=pool.cpu_load.is_limiting,
            is_ejected=endpoint.health.is_ejected(now),
            disabled_reason=endpoint.disabled_reason,
        )
        for name, number, pool, endpoint in _named_endpoints(client)
    }
