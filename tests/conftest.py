"""Places that tests refer to."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real slides, datasets and cohorts; tests that need it are skipped without it."""
    folder = os.environ.get("HISTOWEAVE_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("HISTOWEAVE_DATA names no folder of real data")
    return Path(folder)


@pytest.hookimpl(tryfirst=True)  # before the workers read the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The finished demo is made once, in one worker, and first, since everything else fits beside it."""
    for item in items:
        if "demo" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("demo"))
    items.sort(key=lambda item: "demo" not in getattr(item, "fixturenames", ()))
