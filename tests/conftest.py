"""What every test starts from: no key, no endpoint, a folder of its own."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("here", deadline=None)  # a busy machine is not a failed test
settings.load_profile("here")

GSM8K = Path(__file__).parents[2] / "shared" / "data" / "gsm8k"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A user's own keys and endpoints must not leak into a test, nor a test's cache into theirs."""
    for name in os.environ.keys() & {"OPENAI_API_KEY", "OPENAI_BASE_URL", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"}:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def gsm8k() -> Path:
    """The folder with the real GSM8K, where there is one."""
    if not GSM8K.exists():
        pytest.skip(f"the real GSM8K is not at {GSM8K}")
    return GSM8K
