import ast
import subprocess
import sys
from pathlib import Path

import manycall

EXPORTED = """
    Client Completion Embeddings Failure LLM Success Task __version__ check_data compare dataset_card embed evaluate
    evaluate_all export export_lm_eval generate judge map rank_models run_batch run_steps score write_report
""".split()
MAX_PUBLIC_NAMES = 25


def test_the_public_names_are_these_and_all_can_be_had() -> None:
    assert sorted(manycall.__all__) == sorted(EXPORTED)
    for name in manycall.__all__:
        assert getattr(manycall, name) is not None
    assert set(dir(manycall)) == set(EXPORTED)
    assert len(EXPORTED) - 1 <= MAX_PUBLIC_NAMES  # the version is not counted


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse(Path(manycall.__file__).read_text())
    guarded = next(node for node in tree.body if isinstance(node, ast.If))
    names = {alias.name for node in guarded.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert names - {"errors", "results", "steps", "testing"} | {"__version__"} == set(EXPORTED)


def test_help_loads_nothing_heavy() -> None:
    code = "import sys, manycall.cli.main; print(*(m for m in sys.argv[1:] if m in sys.modules))"
    heavy = ["pyreqwest", "jinja2", "asyncio", "uvicorn", "rich", "manycall.client", "manycall.run.job"]
    done = subprocess.run([sys.executable, "-c", code, *heavy], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
