"""Where the tests find what is not in the repository."""

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"


def _folder(name: str) -> Path:
    folder = SHARED / name
    if not folder.is_dir():
        pytest.skip(f"needs ../shared/{name} beside the repository")
    return folder


@pytest.fixture(scope="session")
def original() -> Path:
    """The original project's parity files."""
    return _folder("original")


@pytest.fixture(scope="session")
def real() -> Path:
    """Real patches, logs and proxy masks."""
    return _folder("real")
