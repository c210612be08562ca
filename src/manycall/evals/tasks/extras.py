"""Optional dependencies of benchmarks."""

from importlib.util import find_spec

from manycall.errors import UsageError

EXTRA_MODULES: dict[str, tuple[str, ...]] = {
    "math": ("math_verify", "sympy", "antlr4"),
    "ifeval": ("langdetect", "punkt", "regex"),
}
"""Extra of the package -> modules that it installs and that the scoring of answers imports."""


def require_extra(extra: str, what: str) -> None:
    """Check that an extra is installed, without importing it. "" needs nothing.

    Raises:
        UsageError: a module is missing. The message names the extra.
    """
    if any(find_spec(module) is None for module in EXTRA_MODULES.get(extra, ())):
        raise UsageError(f"{what} needs the {extra} extra. Run: pip install 'manycall[{extra}]'.")
