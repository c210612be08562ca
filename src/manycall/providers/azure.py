"""Azure's classic API: chat bodies at a URL with the deployment's name and an `api-version`."""

from urllib.parse import quote

from manycall.providers.openai import API_PATHS
from manycall.records import Api

API_VERSION = "2024-10-21"
"""The latest stable version. The query of the base URL, or `query` in endpoints.toml, sets another one."""


def url(base: str, api: Api, model: str, stream: bool) -> str:
    """Return the URL of a call. The model is the name of the deployment.

    The base URL may be the resource alone, or a complete URL as Azure's portal shows it.
    """
    resource = base.partition("/openai/deployments/")[0].rstrip("/").removesuffix("/v1").removesuffix("/openai")
    return f"{resource}/openai/deployments/{quote(model, safe='')}{API_PATHS[api]}"
