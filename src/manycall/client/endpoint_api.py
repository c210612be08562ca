"""How one endpoint is called: the URL, the headers and the body of a request, and the translation of its response."""

from collections.abc import Callable
from typing import Any

import msgspec

from manycall.client.body_adapter import BodyAdapter
from manycall.client.encoded_call import EncodedCall
from manycall.client.endpoint_settings import EndpointSettings
from manycall.client.stream_reader import StreamReader
from manycall.errors import UsageError
from manycall.providers.chat_stream import ChatFold
from manycall.providers.openai import API_PATHS
from manycall.providers.wires import WIRES
from manycall.records import Secret
from manycall.transport.messages import HttpRequest


class PreparedCall(msgspec.Struct, frozen=True, gc=False):
    """A call as it is sent to one endpoint.

    Attributes:
        request: what is sent.
        version: the adapter's version when the call was prepared.
        translate: makes a chat completion of the body of a response with status 200; None if it is one.
        reader: receives the response, if it is streamed.
    """

    request: HttpRequest
    version: int
    translate: Callable[[bytes], bytes] | None = None
    reader: StreamReader | None = None


class EndpointApi:
    """The API of one endpoint. The wire is resolved once, and plain chat is sent without another change.

    Args:
        adapter: makes the bodies that the server accepts. Endpoints of one server with several keys share it.

    Attributes:
        provider: what the provider expects.
        adapter: makes the bodies that the server accepts.
    """

    def __init__(self, settings: EndpointSettings, adapter: BodyAdapter) -> None:
        self.provider, self.adapter = settings.provider, adapter
        self._settings = settings
        self._wire = wire = WIRES[settings.api] if settings.api else None
        self._query = settings.query or (wire.query if wire is not None else "")
        self._fold = (wire.fold if wire is not None else None) or ChatFold
        self._decode = wire.decode if wire is not None else None
        own = () if wire is None else tuple((name, Secret(value)) for name, value in wire.headers)
        given = {name.lower() for name, _ in settings.headers}
        self._headers = (*(each for each in own if each[0].lower() not in given), *settings.headers)
        self._is_plain = wire is None and settings.stream != "always"
        self._is_plain &= not (adapter.has_fixed_changes or settings.provider.streams_only)
        self._chat_urls = {api: self._with_query(settings.url + path) for api, path in API_PATHS.items()}

    def __repr__(self) -> str:
        return f"<EndpointApi {self.provider.name} {self._settings.api or 'chat'}>"

    @property
    def secrets(self) -> list[Secret]:
        """The values of the headers that the user set. Any of them may be secret."""
        return [value for _, value in self._settings.headers]

    def prepare(self, call: EncodedCall, timeout: float) -> PreparedCall:
        """Return the request for a call.

        Args:
            timeout: seconds for the attempt.

        Raises:
            UsageError: the endpoint's API cannot express the call.
        """
        if self._is_plain and not self.adapter.learned:  # the usual case
            settings, url = self._settings, self._chat_urls[call.api]
            return PreparedCall(
                HttpRequest(url, call.body, settings.key, timeout, "POST", settings.key_header, self._headers), 0
            )
        version, changed, is_streamed = self.adapter.version, self.adapter.body_for(call), self._is_streamed(call)
        wire, settings = self._wire, self._settings
        url = self._chat_urls[call.api]
        if wire is not None:
            url = self._with_query(wire.url(settings.url, call.api, self.adapter.sent_model(call.model), is_streamed))
        body = call.body
        if changed is not None or is_streamed or (wire is not None and wire.encode is not None):
            body = self._encode(changed or _decode_body(call.body), is_streamed)
        if not is_streamed:
            return PreparedCall(self._request(url, body, timeout), version, self._decode)
        reader = StreamReader(self._fold(), self._decode)
        return PreparedCall(self._request(url, body, timeout, reader.push), version, reader.finish, reader)

    def models_request(self, timeout: float) -> HttpRequest:
        """Return the request for the list of models, which costs nothing.

        Args:
            timeout: seconds for the attempt.
        """
        settings = self._settings
        url = self._with_query(f"{settings.url}/models")
        return HttpRequest(url, b"", settings.key, timeout, "GET", settings.key_header, self._headers)

    def _request(
        self, url: str, body: bytes, timeout: float, on_chunk: Callable[[bytes], None] | None = None
    ) -> HttpRequest:
        settings = self._settings
        return HttpRequest(url, body, settings.key, timeout, "POST", settings.key_header, self._headers, on_chunk)

    def _is_streamed(self, call: EncodedCall) -> bool:
        mode = self._settings.stream
        if mode == "never" or call.api == "embeddings":
            return False
        return mode == "always" or self.adapter.must_stream(call.model)

    def _encode(self, body: dict[str, Any], is_streamed: bool) -> bytes:
        if is_streamed:
            body = {**body, "stream": True}
            if self.provider.stream_options:
                body["stream_options"] = {"include_usage": True}
        if self._wire is not None and self._wire.encode is not None:
            body = self._wire.encode(body)
        try:
            return msgspec.json.encode(body)
        except (TypeError, ValueError, RecursionError) as error:
            raise UsageError(f"The request cannot be encoded as JSON: {error}") from None

    def _with_query(self, url: str) -> str:
        return f"{url}{'&' if '?' in url else '?'}{self._query}" if self._query else url


_decode_body = msgspec.json.Decoder(dict[str, Any]).decode
