"""What one provider's API expects: the fields of a row of the catalog."""

from collections.abc import Mapping
from typing import Any

import msgspec

from manycall.providers.thinking import ThinkingSwitch

BEARER = "Authorization"
"""The usual header of the API key. Its value is `Bearer KEY`; all other headers contain only the key."""


class ImageRules(msgspec.Struct, frozen=True):
    """What a provider accepts as an image.

    Attributes:
        urls: images may be URLs. Otherwise they must be in the request.
        bare_base64: an image in the request is sent as base64 without the prefix `data:…;base64,`.
        media_types: media types of images in the request; empty: any.
        text_as_string: content that consists of texts only must be sent as a string, because text models refuse lists.
    """

    urls: bool = True
    bare_base64: bool = False
    media_types: tuple[str, ...] = ()
    text_as_string: bool = False


class Provider(msgspec.Struct, frozen=True):
    """A provider, or a kind of server.

    Attributes:
        name: name of the row; also a value of the option `base_url`.
        base_urls: the first is used for the name. Their hosts identify the provider.
        hosts: further hosts, each with all hosts below it.
        path: only URLs whose path contains this text belong to the row.
        key_variables: environment variables that may contain the API key. The first one that is set counts.
        base_url_variable: environment variable with the base URL of a provider that has none of its own.
        key_header: header of the API key.
        wire: name of the wire that translates requests; "" for the chat API.
        renames: names of parameters that have another name in this API.
        zero_temperature: parameters that replace `temperature: 0` where the API refuses it; empty: it is sent.
        reasoning_field: field of a message that contains the thinking text; "" if it is not returned. It is shown in
            docs/providers.md; a reply is searched for all of these fields.
        thinking: how thinking is switched.
        streams_only: beginnings of the names of models that respond only with a stream.
        stream_options: whether the token counts of a stream must be requested. Otherwise the API sends them unasked,
            and may refuse the parameter.
        images: what the provider accepts as an image.
        reports_cost: responses contain what the call cost.
        embedding_batch: texts of one embeddings request, unless the user chooses another number.
        base64_embeddings: whether embeddings may be requested in base64. Otherwise they are requested as lists.
    """

    name: str
    base_urls: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    path: str = ""
    key_variables: tuple[str, ...] = ()
    base_url_variable: str = ""
    key_header: str = BEARER
    wire: str = ""
    renames: Mapping[str, str] = {}
    zero_temperature: Mapping[str, Any] = {}
    reasoning_field: str = "reasoning_content"
    thinking: ThinkingSwitch = ThinkingSwitch()
    streams_only: tuple[str, ...] = ()
    stream_options: bool = True
    images: ImageRules = ImageRules()
    reports_cost: bool = False
    embedding_batch: int = 64
    base64_embeddings: bool = True

    @property
    def takes_canonical_body(self) -> bool:
        """Whether every canonical body can be sent unchanged, so that `adapt_body` need not be called."""
        return not self.renames and not self.zero_temperature and self.images == ImageRules() and self.base64_embeddings

    def must_stream(self, model: str) -> bool:
        """Return whether this model responds only with a stream."""
        return model.lower().rpartition("/")[2].startswith(self.streams_only) if self.streams_only else False
