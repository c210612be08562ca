"""Reports of runs, evaluations and comparisons, as one HTML file or as Markdown.

`batch/` and all packages above it may import it. Start with `write_report.py`; `page.py` renders the sections.
"""
