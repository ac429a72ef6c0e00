import pytest
from unit.report import fake_run

from histoweave.formats.ledger import LEDGER
from histoweave.formats.report import join_ledgers


@pytest.fixture(scope="session")
def results(tmp_path_factory):
    """A finished run with its joined ledger; tests must not change it."""
    root = fake_run.make(tmp_path_factory.mktemp("results"))
    rows, counts = join_ledgers(sorted((root / "ledger").rglob("*.parquet")))
    LEDGER.write(rows, root / "ledger.parquet", provenance=fake_run.FROM, counts=counts)
    return root
