"""Griffe extension for the Python reference: docstrings as they are at run time, one line for each parameter.

`document_run_options` replaces the line "(run options)" of a docstring when the module is imported. The reference is
made from the source text, so the extension takes the docstring and the defaults from the imported function.
"""

import importlib
import inspect
import re
from operator import attrgetter
from typing import Any

import griffe

from manycall.run.options import DOCS_MARKER

_SHARED_LINE = re.compile(r"^( +)(\w+(?:, \w+)+): (.+(?:\n\1 {4}.*)*)", re.M)
"""Several parameters with one description: `data, fewshot_data: the input files`."""


class DocstringExtension(griffe.Extension):
    """Complete the docstrings, so that the parser finds every parameter."""

    def on_class(self, *, cls: griffe.Class, **_: Any) -> None:
        """Separate the attributes that share a description."""
        _separate_names(cls)

    def on_function(self, *, func: griffe.Function, **_: Any) -> None:
        """Replace the docstring if it contains the marker line, and named constants by their values."""
        if func.docstring and DOCS_MARKER in func.docstring.value:
            module = func.module.path
            function = attrgetter(func.path.removeprefix(f"{module}."))(importlib.import_module(module))
            func.docstring.value = inspect.getdoc(function) or ""
            for name, parameter in inspect.signature(function).parameters.items():
                if isinstance(func.parameters[name].default, griffe.ExprName):
                    func.parameters[name].default = repr(parameter.default)
        _separate_names(func)


def _separate_names(value: griffe.Class | griffe.Function) -> None:
    """Give each name of a shared line its own line."""
    if value.docstring:
        value.docstring.value = _SHARED_LINE.sub(
            lambda line: "\n".join(f"{line[1]}{name}: {line[3]}" for name in line[2].split(", ")), value.docstring.value
        )
