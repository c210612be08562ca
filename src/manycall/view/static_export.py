"""`manycall view --export`: the page and its data in one HTML file that opens from disk, or in a folder for a web host.

The file cannot send any request: its content security policy permits none. Its modules become blob URLs, in
an order in which each finds those that it imports. Data and modules are JSON, in which no `<` is left.
"""

import re
from base64 import b64encode
from collections.abc import Mapping
from gzip import compress
from hashlib import sha256
from pathlib import Path

import msgspec

from manycall.errors import UsageError
from manycall.option_flags import option
from manycall.store.atomic_write import replace_file, storage_errors
from manycall.store.paths import check_writable
from manycall.view.exported_data import exported_data
from manycall.view.routes import ViewRoutes
from manycall.view.run_list import RunList
from manycall.view.static_files import page_files

MAX_PAGE_BYTES = 20 << 20
"""Above this, a folder is asked for."""
COMPRESSED_FROM_BYTES = 2 << 20
ENTRY = "main.js"
REPLACED = {"api.js": "api_export.js"}
"""Modules that need a server → those that take their place."""
_IMPORT = re.compile(r'\b(?:from\s*|import\s*|import\()"(\.[^"]+)"')
LOADER = """\
const modules = JSON.parse(document.getElementById("manycall-modules").textContent);
const urls = {};
for (const [name, source, imports] of modules) {
  let text = source;
  for (const [spelled, imported] of imports) text = text.replaceAll(`"${spelled}"`, `"${urls[imported]}"`);
  urls[name] = URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
}
import(urls["main.js"]);
"""


def export_page(paths: list[Path], target: Path, *, rows: int = 1000, where: str = "") -> str:
    """Write a static page of some runs. Return a sentence that says what it contains.

    Args:
        paths: files and folders, as for `view_runs`.
        target: an HTML file, or a folder if the name does not end in .html.
        rows: most rows of each file; of a longer one, a sample.
        where: only the rows that this filter selects.

    Raises:
        UsageError: a path does not exist, the filter is not valid, or the page would be too large for one file.
        StorageError: the page cannot be written.
    """
    runs = RunList(paths)
    found = runs.scan()
    out = check_writable(target if target.suffix == ".html" else target / "index.html", [run.path for run in found])
    routes = ViewRoutes(runs)
    try:
        data = msgspec.json.encode(exported_data(routes, found, rows, where))
    finally:
        routes.close()
    files = _exported_files(page_files())
    if target.suffix == ".html":
        written = {out: _single_page(files, data)}
        if len(written[out]) > MAX_PAGE_BYTES:
            raise UsageError(
                f"{target} would have {len(written[out]):,} bytes, more than {MAX_PAGE_BYTES:,}. "
                f"Choose fewer rows with {option('rows')} or {option('where')}, or a folder: a name that does not end "
                "in .html."
            )
    else:
        written = _folder(out, files, data)
    for path, content in written.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        with storage_errors(path):
            replace_file(path, [content])
    size = sum(map(len, written.values()))
    number = "1 run" if len(found) == 1 else f"{len(found)} runs"
    return f"{target}: {number}, {size:,} bytes. It contains your rows and the answers of models."


def _exported_files(files: Mapping[str, bytes]) -> dict[str, str]:
    """Return the files of the page as text, without those that need a server."""
    texts = {name: content.decode() for name, content in files.items()}
    for name, other in REPLACED.items():
        if other in texts:
            texts[name] = texts.pop(other)
    return texts


def _folder(page: Path, files: Mapping[str, str], data: bytes) -> dict[Path, bytes]:
    """Return the content of a folder: the start page with the data, the modules, and a wish to search engines."""
    index = files["index.html"].replace("</body>", f"{_data_block(data)}\n</body>")
    written = {page: index.encode(), page.with_name("robots.txt"): b"User-agent: *\nDisallow: /\n"}
    others = {name: text for name, text in files.items() if name != "index.html"}
    return written | {page.parent / "static" / name: text.encode() for name, text in others.items()}


def _single_page(files: Mapping[str, str], data: bytes) -> bytes:
    style = "\n".join(text for name, text in sorted(files.items(), reverse=True) if name.endswith(".css"))
    modules = [[name, files[name], _imports(files, name)] for name in _in_order(files)]
    policy = (
        f"default-src 'none'; script-src '{_hash(LOADER)}' blob:; style-src '{_hash(style)}'; img-src data:; "
        "connect-src 'none'; base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; "
        "trusted-types 'none'"
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<meta name="robots" content="noindex">
<title>manycall view</title>
<link rel="icon" href="data:,">
<style>{style}</style>
</head>
<body>
<div id="app"></div>
<script type="application/json" id="manycall-modules">{_escaped(msgspec.json.encode(modules))}</script>
{_data_block(data)}
<script>{LOADER}</script>
</body>
</html>
""".encode()


def _data_block(data: bytes) -> str:
    if len(data) < COMPRESSED_FROM_BYTES:
        return f'<script type="application/json" id="manycall-data">{_escaped(data)}</script>'
    encoded = b64encode(compress(data, 6, mtime=0)).decode()
    return f'<script type="text/plain" id="manycall-data" data-encoding="gzip">{encoded}</script>'


def _escaped(json: bytes) -> str:
    """Return JSON that cannot end the element that contains it."""
    return json.decode().replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _hash(text: str) -> str:
    return "sha256-" + b64encode(sha256(text.encode()).digest()).decode()


def _imports(files: Mapping[str, str], name: str) -> list[tuple[str, str]]:
    """Return (specifier, name of the file) of each module that a module imports."""
    folder = Path(name).parent
    found = dict.fromkeys(match[1] for match in _IMPORT.finditer(files[name]))
    return [(each, _normal(folder / each)) for each in found]


def _normal(path: Path) -> str:
    parts: list[str] = []
    for part in path.parts:
        if part == "..":
            parts.pop()
        elif part != ".":
            parts.append(part)
    return "/".join(parts)


def _in_order(files: Mapping[str, str]) -> list[str]:
    """Return the modules that the entry needs, each after those that it imports."""
    order: dict[str, None] = {}

    def visit(name: str) -> None:
        if name in order or name not in files:
            return
        for _, imported in _imports(files, name):
            visit(imported)
        order[name] = None

    visit(ENTRY)
    return list(order)
