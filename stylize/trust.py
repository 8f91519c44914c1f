"""What a safetensors file claims, checked against its size before any of it is used. No torch.

A weights file may come from anywhere. Its header is a JSON object behind an 8-byte length; here it is
read within limits, and every claim in it must agree with the others and with the file's size. What the
tensors should be is for `stylize.model` to know.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stylize.errors import WeightsError

PICKLES = {".pth", ".pt", ".ckpt", ".bin", ".pkl", ".pickle"}
"""Suffixes of formats that can run code when they are loaded."""

LARGEST_STYLE = 256 << 20
"""Bytes; the bundled base has 5 MB."""

_LARGEST_HEADER = 1 << 20
_MOST_TENSORS = 1000
_MOST_DIMENSIONS = 8
_LONGEST_NAME = 200
_ITEM_SIZES = {"F16": 2, "BF16": 2, "F32": 4, "F64": 8}


@dataclass(frozen=True)
class Claim:
    """What a header says of one tensor."""

    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Header:
    """A header that agrees with itself and with the size of its file."""

    metadata: dict[str, str]
    tensors: dict[str, Claim]


def refuse_pickle(path: Path) -> None:
    """Raise WeightsError, with the way to convert it, for a name that ends like a pickle's."""
    if path.suffix.lower() in PICKLES:
        raise WeightsError(
            f"Cannot use {path}: it is a pickle, which can run code; if you trust it, convert it with python "
            f'-c "import torch, safetensors.torch as s; s.save_file(torch.load({path.name!r}, '
            f'weights_only=True), {path.stem + ".safetensors"!r})" and use that file.'
        )


def read_header(path: Path, largest: int = LARGEST_STYLE) -> Header:
    """The header of a safetensors file of at most `largest` bytes.

    Raises WeightsError for a pickle, a missing file, and any claim that cannot be true.
    """
    refuse_pickle(path)
    try:
        text, data_size = _header_bytes(path, largest)
        return _parse(text, data_size)
    except FileNotFoundError:
        raise WeightsError(f"There is no file {path}; check the path.") from None
    except OSError as error:
        raise WeightsError(f"Cannot read {path}: {error.strerror}.") from error
    except ValueError as error:
        reason = f"it is no safetensors file, or it is damaged ({error}); fetch it again"
        raise WeightsError(f"Cannot use {path}: {reason}.") from error


def parse_json(text: str | bytes) -> Any:
    """JSON that was written by others. Raises ValueError for whatever is wrong, deep nesting included."""
    try:
        return json.loads(text, object_pairs_hook=_without_doubles, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ValueError("its JSON is damaged") from error


def _header_bytes(path: Path, largest: int) -> tuple[bytes, int]:
    """The JSON text and the number of bytes of tensors behind it."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        if size > largest:
            raise WeightsError(
                f"Cannot use {path}: it has {size >> 20} MiB, more than the {largest >> 20} that are taken; "
                "give a smaller file."
            )
        file.seek(0)
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > size - 8:
            raise ValueError("it is cut off")
        if length > _LARGEST_HEADER:
            raise ValueError("its header is too large")
        return file.read(length), size - 8 - length


def _parse(text: bytes, data_size: int) -> Header:
    """A header whose tensors fill the data without gaps. Raises ValueError."""
    values = parse_json(text)
    if not isinstance(values, dict):
        raise ValueError("its header is no object")
    metadata = values.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise ValueError("its metadata is not made of texts")
    if len(values) > _MOST_TENSORS:
        raise ValueError("it has too many tensors")
    for word in (*metadata, *metadata.values(), *values):
        if any("\ud800" <= character <= "\udfff" for character in word):
            raise ValueError("a text in it cannot be shown")
    claims, places = {}, []
    for name, entry in values.items():
        if len(name) > _LONGEST_NAME or not name.isprintable():
            raise ValueError("a tensor has an impossible name")
        claims[name], place = _claim(entry)
        places.append(place)
    end = 0
    for begin, following in sorted(places):
        if begin != end:
            raise ValueError("its tensors overlap or leave gaps")
        end = following
    if end != data_size:
        raise ValueError("its size is not that of its tensors")
    return Header(metadata, claims)


def _claim(entry: Any) -> tuple[Claim, tuple[int, int]]:
    """One tensor's entry, and where its bytes begin and end. Raises ValueError."""
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise ValueError("a tensor is not described by dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _ITEM_SIZES:
        raise ValueError("a tensor is not of floating-point numbers")
    if not _are_sizes(shape) or len(shape) > _MOST_DIMENSIONS:
        raise ValueError("a tensor has an impossible shape")
    if not _are_sizes(offsets) or len(offsets) != 2:
        raise ValueError("a tensor lies at an impossible place")
    begin, end = offsets
    if end - begin != math.prod(shape) * _ITEM_SIZES[dtype]:
        raise ValueError("a tensor's shape is not that of its bytes")
    return Claim(dtype, tuple(shape)), (begin, end)


def _are_sizes(values: Any) -> bool:
    """A list of integers from 0 up, each small enough for arithmetic to stay cheap."""
    return isinstance(values, list) and all(type(value) is int and 0 <= value < 1 << 48 for value in values)


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Two readers may disagree about which of two equal keys counts."""
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError("a key stands there twice")
    return values


def _refuse_constant(name: str) -> None:
    raise ValueError(f"there is no {name} in JSON")
