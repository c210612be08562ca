"""A call in flight: one attempt, from its permit to its response."""

from typing import Any

import msgspec

from manycall.client.call_history import EarlierAttempts
from manycall.client.encoded_call import EncodedCall
from manycall.client.endpoint import Endpoint
from manycall.client.pool import EndpointPool
from manycall.control.regression import MonitorInterval
from manycall.limits import CallCost


class CallInFlight(msgspec.Struct, frozen=True, eq=False, gc=False):
    """A call that has a permit.

    Attributes:
        pool: the endpoints that may answer it.
        call: the request.
        origin: where the call comes from, as the caller of `JobClient.call` gave it.
        cost: what it has reserved in the quotas.
        endpoint: the endpoint that it is sent to.
        since: when it got its permit.
        interval: the interval of the endpoint's window at that time; None without a window.
        earlier: the failed attempts of the call before this one; None if there were none.
    """

    pool: EndpointPool
    call: EncodedCall
    origin: Any
    cost: CallCost
    endpoint: Endpoint
    since: float
    interval: MonitorInterval | None
    earlier: EarlierAttempts | None
