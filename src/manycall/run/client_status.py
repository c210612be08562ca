"""What limits the throughput of a client: the calls in flight, the window, and the limiting factor of each pool."""

import math

from manycall.client.call_client import CallClient
from manycall.client.endpoint_limits import AT_CAPACITY
from manycall.client.pool import ClientStatus, EndpointPool
from manycall.option_flags import spelled
from manycall.run.status_text import THIS_MACHINE


def client_status(client: CallClient, now: float) -> ClientStatus:
    """Return the calls in flight, the window, and what limits the throughput, for the endpoints in use.

    Of several pools, it names those that are in use and what limits each of them.
    """
    names = [client.pools.default or "default", *client.pools.models]
    pools = zip(names, client.all_pools, strict=True)
    used = [(name, _pool_status(pool, now)) for name, pool in pools if pool.permits.was_used]
    if len(used) < 2:
        return used[0][1] if used else _pool_status(client.pool, now)
    return ClientStatus(
        sum(each.in_flight for _, each in used),
        sum(each.window for _, each in used),
        "; ".join(f"{name}: {each.limited_by}" for name, each in used),
    )


def _pool_status(pool: EndpointPool, now: float) -> ClientStatus:
    """Return the same of one pool. If all of its endpoints are ejected or disabled, it covers all of them."""
    active = [each for each in pool.endpoints if not each.is_ejected(now)] or pool.endpoints
    reasons = [reason for each in active if (reason := each.limiting_factor(now))]
    window = min(pool.permits.max_permits, sum(each.window.size for each in active if each.window is not None))
    if pool.fixed_concurrency is not None:
        window = min(pool.fixed_concurrency, pool.permits.max_permits)
    if pool.cpu_load.is_limiting:
        limited_by = f"{THIS_MACHINE}: {pool.cpu_load}"
    elif pool.fixed_concurrency is not None:
        is_worker = pool.permits.lease_until < math.inf  # its permits are a part of the user's number
        cap = (
            spelled(f"-j {pool.fixed_concurrency}", f"concurrency={pool.fixed_concurrency}")
            if is_worker or pool.fixed_concurrency <= pool.permits.max_permits
            else "ulimit -n"
        )
        limited_by = ", ".join([cap, *dict.fromkeys(reasons)])
    elif len(reasons) < len(active):
        limited_by = f"window {window}"
    else:
        limited_by = ", ".join([f"window {window}"] * (AT_CAPACITY in reasons) + [*dict.fromkeys(reasons)])
    return ClientStatus(pool.permits.in_flight, window, limited_by)
