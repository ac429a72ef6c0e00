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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The file that runs the demo goes first, since everything else fits beside it; what needs it as well goes last."""
    items.sort(key=lambda item: _TURN.get(item.path.name, 1))


_TURN = {"test_demo.py": 0, "test_demo_branches.py": 2}
