"""Seeds, devices and what scripts share."""

import errno
import json
import subprocess
import sys
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

from histoweave import steps
from histoweave.device import pick_device, torch_generator
from histoweave.errors import InputError
from histoweave.rng import derive_seed, generator


def test_a_task_has_its_own_numbers():
    assert derive_seed(1, "a", 2) == derive_seed(1, "a", "2")
    assert derive_seed(1, "a", "b") != derive_seed(1, "ab")
    assert derive_seed(1, "a") != derive_seed(2, "a")
    assert 0 <= derive_seed(1, "a") < 2**63


def test_generators_repeat():
    assert np.array_equal(generator(3, "x").random(5), generator(3, "x").random(5))
    assert torch_generator(3, "x").initial_seed() == derive_seed(3, "x")


def test_device_cpu_and_missing_gpu():
    import torch

    assert pick_device("cpu").type == "cpu"
    if not torch.cuda.is_available():
        assert pick_device("auto").type == "cpu"
        with pytest.raises(InputError, match="Set device to 'auto' or 'cpu'"):
            pick_device("cuda")


@dataclass(frozen=True)
class Inner:
    section: ClassVar[str] = "a.inner"
    x: float


@dataclass(frozen=True)
class Outer:
    section: ClassVar[str] = "a"
    names: tuple[str, ...]
    inner: Inner
    other: Inner | None


def test_settings_are_filled_through_all_levels():
    made = steps.settings_of(Outer, {"names": ["p", "q"], "inner": {"x": 1.5}, "other": None})
    assert made == Outer(("p", "q"), Inner(1.5), None)
    assert steps.settings_of(Outer, {"names": [], "inner": {"x": 1}, "other": {"x": 2}}).other == Inner(2)


def test_settings_refuse_unknown_and_missing_keys():
    with pytest.raises(InputError, match="settings of a.inner: unknown: 'y'; missing: 'x'"):
        steps.settings_of(Inner, {"y": 1})


def test_provenance_holds_content_not_places(tmp_path):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "f").write_text("same")
    first, second = (
        steps.provenance("s", settings=Inner(1.0), seed=1, inputs={"f": tmp_path / f / "f"}) for f in ("one", "two")
    )
    assert first == second
    assert first["settings"] == {"x": 1.0}


def test_progress_yields_everything_and_says_so(caplog):
    with caplog.at_level("INFO", logger="histoweave"):
        assert list(steps.progress(range(3), what="slides", every=0)) == [0, 1, 2]
    assert "slides: 1 of 3" in caplog.text
    assert "slides: done" in caplog.text


SCRIPT = """
import sys
from histoweave import steps
from histoweave.errors import InputError
def main(argv):
    {body}
steps.run(main)
"""


@pytest.mark.parametrize(
    ("body", "code", "said"),
    [
        ("raise InputError('12 of 940 cells have no counts.')", 2, "error: 12 of 940 cells have no counts."),
        (f"raise OSError({errno.ENOSPC}, 'full', 'x.parquet')", 2, "error: the disk is full while writing x.parquet"),
        ("raise KeyError('fault')", 1, "Traceback"),
        ("print('fine')", 0, ""),
    ],
)
def test_scripts_end_with_their_code(root, body, code, said):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(body=body)],
        env={"PYTHONPATH": str(root / "workflow/src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code
    assert said in done.stderr
    assert ("Traceback" in done.stderr) == (code == 1)


def test_arguments_shared_by_all_scripts():
    args = steps.parser("x").parse_args(["--settings", json.dumps({"a": 1}), "--seed", "4"])
    assert (args.settings, args.seed, args.threads) == ({"a": 1}, 4, 1)
    with pytest.raises(SystemExit):
        steps.parser("x").parse_args(["--settings", "{broken"])
