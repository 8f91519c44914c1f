"""Settings of a training run as people give them: presets, TOML files, and single values by name."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import tomli_w

from stylize.errors import StylizeError, UsageError
from stylize.files import atomic_path

Settings = TypeVar("Settings", bound=Any)

PRESETS: dict[str, dict[str, Any]] = {
    "paint": {"weights": {"style": 7.0, "tv": 7.0, "edge": 1.5}},
    "ink": {"weights": {"tone": 10.0, "tv": 18.0, "edge": 1.5}},
    "print": {"weights": {"tv": 20.0, "edge": 3.0, "content": 3.5}},
}
"""Brushwork and loud colour; voids, washes and few tones; flat colours and clear outlines."""

_LAMBDAS = ("λ_", "lambda_")


def preset(name: str, settings: Settings) -> Settings:
    """Settings with those of a preset. UsageError for a name that there is not."""
    if name not in PRESETS:
        raise UsageError(f"There is no preset {name!r}; there are {', '.join(PRESETS)} and quick.")
    return changed(settings, PRESETS[name], f"the preset {name}")


def changed(settings: Settings, values: Mapping[str, Any], source: str) -> Settings:
    """Settings with some of them changed; those inside `weights` may be nested or stand on their own.

    UsageError, naming `source`, for a setting that there is not or a value of the wrong type.
    """
    for key, value in values.items():
        settings = _with(settings, key, value, source)
    return settings


def laid_over(
    settings: Settings, table: str, file: Path | None, options: Mapping[str, Any], texts: Sequence[str]
) -> Settings:
    """Settings of a run with those of a file's table, of options and of --set over them, in this order.

    Options that are None were not given. UsageError for what there is not, or is too little to learn from.
    """
    if file:
        settings = changed(settings, read_settings(file, table), str(file))
    settings = changed(settings, {k: v for k, v in options.items() if v is not None}, "the options")
    settings = changed(settings, assignments(texts), "--set")
    if settings.size < 64 or settings.batch < 1 or settings.steps < 1 or settings.accumulate < 1:
        raise UsageError("Crops of at least 64 pixels, and one step, batch and picture, are the least.")
    return replace(settings, size=settings.size // 16 * 16)


def _with(settings: Settings, key: str, value: Any, source: str) -> Settings:
    known = {field.name: getattr(settings, field.name) for field in fields(settings)}
    if key in known:
        now = known[key]
        if is_dataclass(now):
            if not isinstance(value, Mapping):
                raise UsageError(f"In {source}, {key} is a table of settings; write for instance style = 8.")
            return replace(settings, **{key: changed(now, value, source)})
        return replace(settings, **{key: _typed(value, now, key, source)})
    inner = next((k for k, v in known.items() if is_dataclass(v) and hasattr(v, key)), None)
    if inner is None:
        names = [f.name for v in (settings, *filter(is_dataclass, known.values())) for f in fields(v)]
        raise UsageError(f"There is no setting {key!r} ({source}); there are {', '.join(sorted(names))}.")
    return replace(settings, **{inner: changed(known[inner], {key: value}, source)})


def _typed(value: Any, now: Any, key: str, source: str) -> Any:
    """`value` as the type of the setting's value `now`."""
    if isinstance(now, bool):
        fits = isinstance(value, bool)
    elif isinstance(now, float):
        fits = isinstance(value, (int, float)) and not isinstance(value, bool)
    elif isinstance(now, tuple):
        fits = isinstance(value, Sequence) and (not now or len(value) == len(now))
    else:
        fits = isinstance(value, type(now)) and not isinstance(value, bool)
    if not fits:
        example = list(now) if isinstance(now, tuple) else now
        raise UsageError(f"{value!r} is no value for {key} ({source}); write for instance {key}={example}.")
    kind: Any = type(now)
    return kind(value)


def assignments(texts: Sequence[str]) -> dict[str, Any]:
    """What --set was given: "style=8" or "λ_style=8" -> {"style": 8}. UsageError for anything else."""
    values: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        for prefix in _LAMBDAS:
            key = key.strip().removeprefix(prefix)
        if not equals or not key:
            raise UsageError(f"--set takes NAME=VALUE, such as style=8, not {text!r}.")
        try:
            values |= tomllib.loads(f"{key} = {value}")
        except tomllib.TOMLDecodeError:
            values[key] = value.strip()  # a word, such as lsgan
    return values


def read_settings(path: Path, table: str) -> dict[str, Any]:
    """The settings in a TOML file, from its table of that name if it has one (as `config.toml` has)."""
    values = read_tables(path)
    found = values.get(table, {k: v for k, v in values.items() if not isinstance(v, dict) or k == "weights"})
    if not isinstance(found, dict):
        raise UsageError(f"In {path}, {table} is no table of settings; write [{table}] above them.")
    return found


def read_tables(path: Path) -> dict[str, Any]:
    """All that a TOML file says. UsageError if it is not there, StylizeError if it is damaged."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"Cannot read the settings in {path}: {error.strerror}; check the path.") from error
    except (ValueError, RecursionError) as error:
        raise StylizeError(
            f"Cannot read the settings in {path}: {_why(error)}; mend or remove it."
        ) from error


def _why(error: Exception) -> str:
    """What is wrong with a TOML file."""
    return str(error).rstrip(".") if isinstance(error, tomllib.TOMLDecodeError) else "it is no TOML file"


def write_settings(path: Path, tables: Mapping[str, Any]) -> None:
    """Write dataclasses and dictionaries as the tables of a TOML file, atomically."""
    plain = {
        name: asdict(t) if is_dataclass(t) and not isinstance(t, type) else t for name, t in tables.items()
    }
    with atomic_path(path) as temporary:
        temporary.write_text(tomli_w.dumps(plain), encoding="utf-8", errors="replace")
