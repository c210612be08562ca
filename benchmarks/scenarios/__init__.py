"""Parts of `benchmarks/limits.py`: tables of scenarios, rules, measurements and the text of the page."""
