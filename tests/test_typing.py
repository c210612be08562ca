"""The Python API is typed for its users: pyright in strict mode has nothing to say about a program that uses it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import manycall

SCRIPT = Path(__file__).with_name("typed_script.py")
PYRIGHT = Path(sys.executable).with_name("pyright")


@pytest.mark.skipif(not PYRIGHT.exists() or shutil.which("node") is None, reason="pyright needs Node.js")
def test_pyright_in_strict_mode_accepts_a_users_program(tmp_path: Path) -> None:
    shutil.copy(SCRIPT, tmp_path)
    settings = {"include": [SCRIPT.name], "typeCheckingMode": "strict"}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    command = [str(PYRIGHT), "--project", str(tmp_path), "--pythonpath", sys.executable]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_program_uses_every_public_name() -> None:
    program = SCRIPT.read_text()
    assert [name for name in manycall.__all__ if f"manycall.{name}" not in program] == []
    assert [name for name in manycall.steps.__all__ if f"{name}(" not in program] == []
