"""Items in = items out + ledger, or the step fails."""

import pandas as pd
import pytest

from histoweave.errors import InputError
from histoweave.formats.ledger import LEDGER, Account, check_counts


def test_a_balanced_account_is_written(tmp_path):
    account = Account("slides")
    account.items("slide", "", n_in=3, n_out=2)
    account.leave_out("slide", "", ["S3"], "no tissue")
    account.write(tmp_path / "l.parquet", provenance={})
    assert LEDGER.read(tmp_path / "l.parquet").to_numpy().tolist() == [["slides", "slide", "", "S3", "no tissue"]]
    counts = LEDGER.metadata(tmp_path / "l.parquet")["counts"]
    assert counts == [{"kind": "slide", "context": "", "n_in": 3, "n_out": 2}]


def test_an_account_without_losses_is_written(tmp_path):
    account = Account("slides")
    account.items("slide", "", n_in=3, n_out=3)
    account.write(tmp_path / "l.parquet", provenance={})
    assert len(LEDGER.read(tmp_path / "l.parquet")) == 0


def test_a_silent_loss_fails(tmp_path):
    account = Account("slides")
    account.items("slide", "x", n_in=3, n_out=2)
    with pytest.raises(InputError, match="3 went in, 2 came out and 0 stand in the ledger"):
        account.write(tmp_path / "l.parquet", provenance={})
    assert list(tmp_path.iterdir()) == []


def test_contexts_are_counted_apart():
    frame = pd.DataFrame({"kind": ["cell", "cell"], "context": ["a", "b"]})
    check_counts(frame, [{"kind": "cell", "context": c, "n_in": 2, "n_out": 1} for c in "ab"])
    with pytest.raises(InputError, match="cells of 'b'"):
        check_counts(frame[:1], [{"kind": "cell", "context": "b", "n_in": 2, "n_out": 1}])
