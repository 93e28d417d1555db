"""Where the shared data lies, and the shipped models."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session", autouse=True)
def _nothing_pulled(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What somebody pulled on this machine changes no test."""
    os.environ["EDGE_FER_MODELS"] = str(tmp_path_factory.mktemp("pulled"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data and models that is never committed."""
    folder = (ROOT / os.environ.get("EDGE_FER_SHARED", "../shared")).resolve()
    if not folder.is_dir():
        pytest.skip(f"no shared data at {folder}; set EDGE_FER_SHARED")
    return folder


@pytest.fixture(scope="session")
def fer2013(shared: Path) -> Path:
    """FER2013 Training and PublicTest rows with FER+ votes."""
    path = shared / "data" / "fer2013_train_public.npz"
    if not path.exists():
        pytest.skip(f"no {path}")
    return path
