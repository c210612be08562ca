"""STUB"""

from collections.abc import Mapping
from typing import NamedTuple

from manycall.client.call_client import CallClient


class EndpointShare(NamedTuple):
    fraction: float = 1.0


class EndpointReport(NamedTuple):
    rate: float | None = None


def apply_shares(client: CallClient, shares: Mapping[str, EndpointShare], lease_until: float) -> None:
    pass


def endpoint_reports(client: CallClient) -> dict[str, EndpointReport]:
    return {}
