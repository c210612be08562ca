"""Optional dependencies of benchmarks."""

from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from manycall.errors import UsageError

EXTRA_MODULES: dict[str, tuple[str, ...]] = {
    "math": ("math_verify", "sympy", "antlr4"),
    "ifeval": ("langdetect", "punkt", "regex"),
}
"""Extra of the package -> modules that it installs and that the scoring of answers imports."""

EXTRA_VERSIONS: dict[str, tuple[str, str]] = {"math": ("antlr4-python3-runtime", "4.11")}
"""Extra -> a package of which only one version works, and that version: sympy parses LaTeX only with antlr 4.11. Other
packages in the same environment may have installed another one."""


def require_extra(extra: str, what: str) -> None:
    """Check that an extra is installed, without importing it. "" needs nothing.

    Raises:
        UsageError: a module is missing, or a package has another version. The message names the extra.
    """
    remedy = f"Run: pip install 'manycall[{extra}]'."
    if any(find_spec(module) is None for module in EXTRA_MODULES.get(extra, ())):
        raise UsageError(f"{what} needs the {extra} extra. {remedy}")
    if extra in EXTRA_VERSIONS:
        package, needed = EXTRA_VERSIONS[extra]
        if (found := _installed_version(package)) != needed and not found.startswith(f"{needed}."):
            raise UsageError(f"{what} needs {package} {needed}, and {found} is installed. {remedy}")


def _installed_version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "no version of it"
