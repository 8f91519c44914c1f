"""Damaged files of every format are read or refused in a sentence; benchmarks/fuzz_pictures.py tries more."""

import io
import random
import time

import pytest
from damaging import damaged, samples
from hostile import hostile

from stylize.cards import StyleCard
from stylize.errors import PictureError
from stylize.images import encode_picture, read_picture
from stylize.painting import marked

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


@pytest.mark.parametrize("first", range(0, 60, 6))
def test_hostile_files(first: int) -> None:
    faults = []
    for number in range(first, first + 6):
        name, content = hostile(number, seed=2)
        began = time.process_time()
        try:
            picture = read_picture(content, name)
            format_name = ("JPEG", "PNG", "TIFF")[number % 3]
            encode_picture(marked(picture, [StyleCard("x")], "all"), io.BytesIO(), format_name, 90)
        except PictureError as fault:
            faults.append(str(fault))
        assert time.process_time() - began < 5, (number, name)
    assert not [fault for fault in faults if "\n" in fault or len(fault) >= 300]
