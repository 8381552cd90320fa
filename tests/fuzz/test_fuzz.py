"""A few hundred damaged inputs of each kind; `make fuzz` tries a hundred thousand."""

from pathlib import Path

import numpy as np
import pytest
import seeds
from fuzzing import TARGETS, Failure, fuzz, mutated

NEEDS = {"recipe": "tomli_w", "table": "pyarrow", "groups": "pyarrow", "body": "fastapi"}


@pytest.mark.parametrize("target", TARGETS)
def test_damaged_input_gives_a_result_or_an_error(target: str, tmp_path: Path) -> None:
    pytest.importorskip(NEEDS.get(target, "numpy"), reason="the extra for it is not installed")
    failures, total = fuzz(target, 200, tmp_path, seed=1)
    assert failures == []
    assert total["accepted"] + total["refused"] == 200


def test_a_crash_is_noticed_and_its_input_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Python runs sitecustomize first: here it ends the reader at its third input.
    (tmp_path / "sitecustomize.py").write_text(
        "import happysad.image as image, os, itertools\n"
        "calls, whole = itertools.count(), image.open_image\n"
        "def broken(source, **options):\n"
        "    next(calls) == 2 and os.abort()\n"
        "    return whole(source, **options)\n"
        "image.open_image = broken\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    failures, total = fuzz("image", 5, tmp_path / "kept")
    # Each process ends at its third input: the first at 2, the next one, from 3 on, lasts.
    assert failures == [Failure("image", 2, "the process ended with -6")]
    assert total["accepted"] + total["refused"] == 2
    kept = (tmp_path / "kept" / "image-2").read_bytes()
    assert kept == mutated(seeds.images(), np.random.default_rng((0, 2)))


def test_inputs_differ_and_are_reproducible() -> None:
    originals = seeds.images()
    made = [mutated(originals, np.random.default_rng((0, i))) for i in range(100)]
    assert made == [mutated(originals, np.random.default_rng((0, i))) for i in range(100)]
    assert len(set(made)) > 95
    assert not set(made) & set(originals)
