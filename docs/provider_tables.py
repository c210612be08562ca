"""Tables of the providers for the documentation, made from the catalog, the error tables and the recorded replies."""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from task_tables import benchmark_rows, crosscheck_rows

from manycall.errors import UsageError
from manycall.providers.catalog import PROVIDERS
from manycall.providers.error_body import MODERATION_REASONS, PER_DAY
from manycall.providers.provider import BEARER, ImageRules, Provider
from manycall.providers.provider_errors import CLASS_BY_PROVIDER_CODE, CLASS_BY_PROVIDER_STATUS, MESSAGE_RULES
from manycall.providers.rate_limit_dialects import find_dialect
from manycall.providers.rate_limit_headers import HeaderDialect
from manycall.providers.thinking import EFFORTS, thinking_fields
from manycall.providers.wires import WIRES, Wire
from manycall.sim.sim_dialects import DIALECTS

RECORDED = Path(__file__).parents[1] / "tests" / "recorded"
NATIVE_REPLIES = ("anthropic", "gemini", "responses")
SAMPLE_MODELS = {"anthropic": "claude-sonnet-5-5", "gemini": "gemini-3-pro"}
"""Current models, for APIs whose thinking parameters depend on the model."""
SAMPLE_TOKENS = 2048
SCHEMA = {"response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": {"type": "object"}}}}
CODE_NAMES = {PER_DAY: "quotaId …PerDay…", MODERATION_REASONS: "metadata.reasons"}
"""Where the error is found, for codes that stand for a field of the response."""
NONE = "–"

Body = dict[str, Any]
Row = tuple[str, ...]


def code(*texts: str) -> str:
    """Return texts as inline code, separated by commas; NONE if there are none."""
    return ", ".join(_code_with_pipes(text) if "|" in text else f"`{text}`" for text in texts) or NONE


def _code_with_pipes(text: str) -> str:
    """Return a text with `|`, which backticks do not protect in a table on every site."""
    return "<code>{}</code>".format("".join(f"&#{ord(each)};" if each in r"|*_\<>&" else each for each in text))


def as_json(value: Any) -> str:
    """Return a value as inline code."""
    return code(json.dumps(value, ensure_ascii=False))


def overview_row(provider: Provider) -> Row:
    """Return, in short, what the other tables contain."""
    wire = WIRES.get(provider.wire)
    values: dict[str, str | int] = {"on": "on", "off": "off", **{each: each for each in EFFORTS}, "N": SAMPLE_TOKENS}
    thinking = ", ".join(name for name, value in values.items() if _thinking_cell(provider, value) != NONE)
    dialect = _dialect(provider)
    return (
        code(provider.wire or "chat"),
        code(*filter(None, [provider.reasoning_field])),
        thinking or NONE,
        "yes"
        if dialect and any(each.is_reliable for each in dialect.limits)
        else "remaining only"
        if dialect
        else NONE,
        str(sum(len(found) for found in _own_errors(provider).values()) or NONE),
        "some models only" if provider.streams_only else "optional",
        code(next(iter(_encoded(wire, SCHEMA)))),
    )


def name_row(provider: Provider) -> Row:
    """Return the base URLs, or the variable with it; the variable and the header of the key."""
    places = provider.base_urls or (provider.base_url_variable,)
    if not any(places):
        places = tuple(f"https://*.{host}{provider.path}" for host in provider.hosts)
    wire = WIRES.get(provider.wire)
    header = provider.key_header if wire is None else wire.key_header
    key = f"{header}: Bearer" if header == BEARER else header
    return code(*places), code(*provider.key_variables), code(key)


def thinking_row(provider: Provider) -> Row:
    """Return the fields that are sent for the values of --thinking."""
    efforts = [each for each in EFFORTS if each in provider.thinking.efforts]
    effort = efforts[-1] if efforts else "high"
    values: tuple[str | int, ...] = ("on", "off", effort, SAMPLE_TOKENS)
    on, off, level, budget = (_thinking_cell(provider, value) for value in values)
    levels = f"{level} ({', '.join(efforts)})" if level != NONE else NONE
    return on, off, levels, budget


def _thinking_cell(provider: Provider, value: str | int) -> str:
    try:
        fields = thinking_fields(provider.name, provider.thinking, value)
        return as_json(_encoded(WIRES.get(provider.wire), fields))
    except UsageError:
        return NONE


def _encoded(wire: Wire | None, fields: Body) -> Body:
    """Return the fields as they are in a request of the API."""
    if wire is None or wire.encode is None:
        return fields
    plain = {"model": SAMPLE_MODELS.get(wire.name, "MODEL"), "messages": [{"role": "user", "content": "hi"}]}
    without = wire.encode(plain)
    return {name: value for name, value in wire.encode(plain | fields).items() if without.get(name) != value}


def request_row(provider: Provider) -> Row:
    """Return what is changed in requests: names, temperature 0, images, streams."""
    renames = [f"{name} → {own_name}" for name, own_name in provider.renames.items()]
    greedy = as_json(provider.zero_temperature) if provider.zero_temperature else NONE
    models = [f"{beginning}*" for beginning in provider.streams_only]
    return code(*renames), greedy, _image_cell(provider.images), code(*models)


def _image_cell(rules: ImageRules) -> str:
    found = [] if rules.urls else ["no URL"]
    found += ["bare base64"] if rules.bare_base64 else []
    found += ["text as string"] if rules.text_as_string else []
    return ", ".join([*found, *rules.media_types]) or NONE


def limit_row(provider: Provider) -> Row:
    """Return the rate-limit headers that are relied on, those that are not, and whether max_tokens is charged."""
    if (dialect := _dialect(provider)) is None:
        return NONE, NONE, NONE
    reliable = [each.limit for each in dialect.limits if each.is_reliable]
    unreliable = [each.limit for each in dialect.limits if not each.is_reliable]
    return code(*reliable), code(*unreliable), "`max_tokens`" if dialect.reserves_max_tokens else NONE


def _dialect(provider: Provider) -> HeaderDialect | None:
    hosts = [url.partition("//")[2].partition("/")[0] for url in provider.base_urls if url.startswith("https:")]
    return next(filter(None, (find_dialect(host, _no_header) for host in (*hosts, *provider.hosts))), None)


def _no_header(name: str) -> None:
    return None


def error_row(provider: Provider) -> Row:
    """Return the codes, statuses and messages that have a meaning of their own at this provider, by meaning."""
    found = _own_errors(provider)
    return ("<br>".join(f"{meaning}: {code(*errors)}" for meaning, errors in found.items()) or NONE,)


def _own_errors(provider: Provider) -> dict[str, list[str]]:
    by_class: defaultdict[str, list[str]] = defaultdict(list)
    for each, meaning in CLASS_BY_PROVIDER_CODE.get(provider.name, {}).items():
        by_class[meaning.value].append(CODE_NAMES.get(each, each))
    for (name, status), meaning in CLASS_BY_PROVIDER_STATUS.items():
        if name == provider.name:
            by_class[meaning.value].append(f"HTTP {status}")
    for rule in MESSAGE_RULES:
        if provider.name in rule.providers.split():
            by_class[rule.failure_class.value].append(f"/{rule.pattern.pattern}/")
    return by_class


def api_rows() -> Iterable[Row]:
    """Return, for each translated API, the path, the path of a stream and the fields of a JSON schema."""
    yield code("chat"), code("/chat/completions"), code("/chat/completions"), as_json(SCHEMA)
    for wire in WIRES.values():
        unstreamed, streamed = (wire.url("", "chat", "MODEL", stream) for stream in (False, True))
        yield code(wire.name), code(unstreamed), code(streamed), as_json(_encoded(wire, SCHEMA))


def test_row(provider: Provider) -> Row:
    """Return the numbers of recorded errors and streams or replies, and whether the simulator plays the provider."""
    counts = _recorded_counts()
    streams = counts["streams", provider.name] + counts["native", provider.name]
    played = "yes" if provider.name in DIALECTS else "no"
    return str(counts["errors", provider.name]), str(streams), played


def _recorded_counts() -> Counter[tuple[str, str]]:
    counts: Counter[tuple[str, str]] = Counter()
    for kind in ("errors", "streams"):
        for line in (RECORDED / f"{kind}.jsonl").read_text(encoding="utf-8").rstrip("\n").split("\n"):
            counts[kind, json.loads(line)["provider"]] += 1
    for name in NATIVE_REPLIES:
        counts["native", name] = len((RECORDED / f"{name}.jsonl").read_text(encoding="utf-8").rstrip("\n").split("\n"))
    return counts


def _per_provider(cells: Callable[[Provider], Row]) -> list[Row]:
    return [(code(provider.name), *cells(provider)) for provider in PROVIDERS]


TABLES: dict[str, Callable[[], Iterable[Row]]] = {
    "overview": lambda: _per_provider(overview_row),
    "names": lambda: _per_provider(name_row),
    "thinking": lambda: _per_provider(thinking_row),
    "requests": lambda: _per_provider(request_row),
    "limits": lambda: _per_provider(limit_row),
    "errors": lambda: _per_provider(error_row),
    "apis": api_rows,
    "tests": lambda: _per_provider(test_row),
    "benchmarks": benchmark_rows,
    "crosscheck": crosscheck_rows,
}
"""Name in the marker of a table -> its rows, without the header."""


def table_lines(name: str) -> str:
    """Return the rows of a table as Markdown."""
    return "".join(f"| {' | '.join(row)} |\n" for row in TABLES[name]())
