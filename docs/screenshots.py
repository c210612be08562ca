"""Write the screenshots of docs/view.md: `.venv/bin/python docs/screenshots.py [NAME ...]`.

Needs the extra `browser` and Chromium. The pages show the fixtures of the tests at a fixed time, so the same code gives
the same pictures.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "assets" / "view"
SIZE = {"width": 1120, "height": 700}
SETTLE_MS = 400
"""Histograms and charts are drawn after the rows."""


def main(names: list[str]) -> None:
    """Write the pictures of these pages, in light and dark."""
    sys.path.insert(0, str(ROOT / "tests"))
    from test_view_pages import PAGES, READY
    from view_browser import Tab, browser

    pages = {
        **PAGES,
        "runs": "/?at=1",
        "rows": f"{PAGES['rows']}?where=score.strict-match+%3C+1",
        "row": f"{PAGES['row']}&where=score.strict-match+%3C+1",
    }
    FOLDER.mkdir(parents=True, exist_ok=True)
    with browser() as chromium:
        for scheme in ("light", "dark"):
            for name in names or list(pages):
                tab = Tab(chromium, color_scheme=scheme, viewport=SIZE)
                page = tab.open(pages[name])
                page.locator(READY[name]).first.wait_for()
                if name == "compare":
                    page.locator(".grid").focus()
                    page.keyboard.press("Enter")
                    page.locator(".both").wait_for()
                page.wait_for_timeout(SETTLE_MS)
                page.screenshot(path=FOLDER / f"{name}-{scheme}.png", animations="disabled")
                tab.close()


if __name__ == "__main__":
    main(sys.argv[1:])
