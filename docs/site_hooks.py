"""Hooks of the documentation site (mkdocs.yml): pages from outside of docs/, links to files, and the Chinese pages.

The pages are written for the repository, where `../src/manycall/evals/tasks` and `../README.md` are links to files. On
the site, a link to a page of the site stays inside it, and a link to any other file leads to the repository.
"""

import posixpath
import re
import tomllib
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.nav import Navigation
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
ROOT_PAGES = {  # page of the site -> file of the repository
    "index.md": "README.md",
    "architecture.md": "ARCHITECTURE.md",
    "changelog.md": "CHANGELOG.md",
    "contributing.md": "CONTRIBUTING.md",
    "security.md": "SECURITY.md",
    "zh/index.md": "README.zh-CN.md",
}
CHINESE_TITLES = {
    "Guides": "中文",
    "Synthesise data": "合成数据",
    "Evaluate models": "评测模型",
    "Run your own code": "运行自己的代码",
    "Endpoints and limits": "端点与限额",
    "Reliability": "可靠性",
}
LINK = re.compile(r"(?<=\]\()(?!\w+:|#)([^)\s#]+)")
EXTERNAL_PART = re.compile(
    r"<(?:script|img|iframe|link rel=\"(?:stylesheet|preconnect|preload)\")[^>]*(?:src|href)=\"(?:https?:)?//"
)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add the decisions and the Chinese pages to the navigation, ordered like their index and the English pages."""
    decisions = ROOT / "docs" / "decisions" / "README.md"
    linked = [target for target in LINK.findall(decisions.read_text(encoding="utf-8")) if "/" not in target]
    assert config.nav is not None
    (chinese,) = _chinese(config.nav[:1])
    listed = _paths([chinese])
    chinese["中文"] += sorted(page for page in _chinese_pages() if page not in listed)
    config.nav += [{"Decisions": ["decisions/README.md", *(f"decisions/{page}" for page in linked)]}, chinese]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are outside of docs/."""
    for page, name in ROOT_PAGES.items():
        if files.get_file_from_path(page) is None:
            files.append(File.generated(config, page, abs_src_path=str(ROOT / name)))
    return files


def on_page_markdown(markdown: str, page: Page, files: Files, **_: Any) -> str:
    """Rewrite links between files of the repository as links of the site."""
    source = page.file.src_uri
    pages = {_repository_path(file.src_uri): file.src_uri for file in files}
    repository = _repository()

    def link(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(_repository_path(source)), match[1]))
        if target in pages:
            return posixpath.relpath(pages[target], posixpath.dirname(source) or ".")
        if (ROOT / target).exists():
            return f"{repository}/{'tree' if (ROOT / target).is_dir() else 'blob'}/main/{target}"
        return match[1]  # mkdocs reports it

    return LINK.sub(link, markdown)


def on_page_context(context: dict[str, Any], page: Page, config: MkDocsConfig, nav: Navigation) -> dict[str, Any]:
    """Set the language of the page, and let the language switch lead to the same page in the other language."""
    is_chinese = page.file.src_uri.startswith("zh/")
    config.theme["language"] = "zh" if is_chinese else "en"
    english = page.file.src_uri.removeprefix("zh/")
    urls = {each.file.src_uri: each.url for each in nav.pages}
    config.extra["alternate"] = [
        {"name": "English", "lang": "en", "link": urls.get(english, urls["index.md"])},
        {"name": "中文", "lang": "zh", "link": urls.get(f"zh/{english}", urls["zh/index.md"])},
    ]
    return context


def on_post_page(output: str, page: Page, **_: Any) -> str:
    """Refuse a page that loads something from another host."""
    if found := EXTERNAL_PART.search(output):
        raise PluginError(f"{page.file.src_uri} loads from another host: {found[0]}")
    return output


def _chinese(nav: list[Any]) -> list[Any]:
    """Return the part of a navigation for which Chinese pages exist."""
    pages = _chinese_pages()
    entries: list[Any] = []
    for each in nav:
        if isinstance(each, str):
            entries += [f"zh/{each}"] if f"zh/{each}" in pages else []
        else:
            sections = {CHINESE_TITLES[title]: _chinese(content) for title, content in each.items()}
            entries += [{title: content} for title, content in sections.items() if content]
    return entries


def _chinese_pages() -> set[str]:
    return {"zh/index.md", *(f"zh/{path.name}" for path in (ROOT / "docs" / "zh").glob("*.md"))}


def _paths(nav: Any) -> list[str]:
    """Return the pages of a navigation in its order."""
    if isinstance(nav, str):
        return [nav]
    return [path for each in (nav.values() if isinstance(nav, dict) else nav) for path in _paths(each)]


def _repository_path(page: str) -> str:
    return ROOT_PAGES.get(page, f"docs/{page}")


def _repository() -> str:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    repository: str = project["tool"]["hatch"]["metadata"]["hooks"]["custom"]["repository"]
    return repository
