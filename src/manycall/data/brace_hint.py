"""Recognise fields in the braces of other template languages, for messages about templates without a field."""

import re
from collections.abc import Iterable


def brace_hint(text: str, fields: Iterable[str]) -> str:
    """Return a sentence about a field in single braces, as in Python's `str.format`, or in full-width ones.

    Args:
        text: the template.
        fields: the names of the row's fields.

    Returns:
        "" if there is no such field.
    """
    for name in fields:
        if (found := re.search(rf"[{{\uff5b]+\s*{re.escape(name)}\s*[}}\uff5d]+", text)) is not None:
            return f" It contains {found[0]}: write {{{{ {name} }}}} instead."
    return ""
