import ast
import subprocess
import sys
from pathlib import Path

import manycall

EXPORTED = """
    Calls Client Comparison Completion Embeddings Evaluation Evolve CallFailed Generate Interrupted Judge Judgement
    Keep ManycallError Options Prompt Refused Rejected Report Row Rows RunStopped Set StoreError TASKS Task
    TransportError UsageError __version__ batch card compare evaluate export generate judge map quality score steps
    write_report
""".split()


def test_the_public_names_are_these_and_all_can_be_had() -> None:
    assert sorted(manycall.__all__) == sorted(EXPORTED)
    for name in manycall.__all__:
        assert getattr(manycall, name) is not None
    assert set(dir(manycall)) == set(EXPORTED)


def test_type_checkers_are_told_of_the_same_names() -> None:
    tree = ast.parse(Path(manycall.__file__).read_text())
    guarded = next(node for node in tree.body if isinstance(node, ast.If))
    names = {alias.name for node in guarded.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert names | {"__version__"} == set(EXPORTED)


def test_help_loads_nothing_heavy() -> None:
    code = "import sys, manycall.cli.main; print(*(m for m in sys.argv[1:] if m in sys.modules))"
    heavy = ["pyreqwest", "jinja2", "asyncio", "uvicorn", "rich", "msgspec", "manycall.engine"]
    done = subprocess.run([sys.executable, "-c", code, *heavy], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
