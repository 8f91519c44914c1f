"""Damaged files of every format are read or refused in a sentence; benchmarks/fuzz_pictures.py tries more."""

import random

import pytest
from damaging import damaged, samples

from stylize.errors import PictureError
from stylize.images import read_picture

WHOLE = samples()


@pytest.mark.parametrize("name", sorted(WHOLE))
def test_damaged_files(name: str) -> None:
    chance = random.Random(name)
    read_picture(WHOLE[name], name)  # the undamaged one is fine
    faults = []
    for _ in range(12):
        other = WHOLE[chance.choice(sorted(WHOLE))]
        try:
            read_picture(damaged(WHOLE[name], other, chance), name)
        except PictureError as fault:
            faults.append(str(fault))
    assert faults
    assert not [fault for fault in faults if "\n" in fault or len(fault) >= 300]
