"""Configs as `train.py` reads them from files and from words, and as it writes them."""

import dataclasses
import pprint
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from diffquant.console import UsageError

if TYPE_CHECKING:
    from diffquant.config import Config

EXPECTED = "expected a Python file that ends with `config = Config(...)`"


def load(path: Path) -> "Config":
    """The `config` of a file.

    Raises: UsageError if there is no such file, it does not run, or what it defines is not a `Config`.
    """
    if not path.is_file():
        raise UsageError(f"{path}: found {'no file' if path.exists() else 'no such file'}; {EXPECTED}")
    try:
        names = runpy.run_path(str(path))
    except Exception as error:
        raise UsageError(f"{path}: found {type(error).__name__} ({error}); {EXPECTED}") from error
    from diffquant.config import Config

    if "config" not in names:
        raise UsageError(f"{path}: found no name `config`; {EXPECTED}")
    config = names["config"]
    if not isinstance(config, Config):
        raise UsageError(f"{path}: found `config` of type {type(config).__name__}; {EXPECTED}")
    return config


def source_of(config: "Config") -> str:
    """A config file that holds `config`."""
    imports = sorted({f"from {part.__module__} import {part.__name__}" for part in _specs(config)})
    body = pprint.pformat(config, width=100, sort_dicts=False).replace("\n", "\n" + " " * len("config = "))
    return "\n".join(imports) + f"\n\nconfig = {body}\n"


def _specs(value: Any) -> Iterator[type]:
    """The dataclasses of which `value` consists."""
    if dataclasses.is_dataclass(value):
        yield type(value)
        value = [getattr(value, field.name) for field in dataclasses.fields(value)]
    elif isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, tuple):
        return
    for part in value:
        yield from _specs(part)


def constructors() -> ConstructorRegistry:
    """What tyro cannot make of words by itself."""
    registry = ConstructorRegistry()
    _add_schedules(registry)
    _add_bytes(registry)
    return registry


def _add_bytes(registry: ConstructorRegistry) -> None:
    """Leaves bytes as the config has them, unless they are to go: tyro would take those of the words themselves."""

    def none(words: list[str]) -> None:
        if words != ["None"]:
            raise ValueError(f"found {' '.join(words)!r}, expected None; bytes are the config file's to say")

    @registry.primitive_rule
    def rule(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
        if bytes not in get_args(info.type):
            return None
        return PrimitiveConstructorSpec(
            nargs=1,
            metavar="{None}",
            instance_from_str=none,
            is_instance=lambda value: value is None or isinstance(value, bytes),
            str_from_instance=lambda value: ["None" if value is None else f"{len(value)} bytes"],
        )


def _add_schedules(registry: ConstructorRegistry) -> None:
    """Lets schedules be given as `0.5` or `exponential 2 0.1`: tyro has no option for a number or a structure."""
    from diffquant.schedules import Schedule

    kinds: dict[str, Any] = {kind.__name__.lower(): kind for kind in get_args(Schedule) if kind is not float}

    def schedule(words: list[str]) -> Any:
        if len(words) == 1:
            return float(words[0])
        if len(words) != 3 or words[0] not in kinds:
            raise ValueError(
                f"found {' '.join(words)!r}, expected a number, or one of {', '.join(kinds)} and two numbers"
            )
        return kinds[words[0]](*map(float, words[1:]))

    def words(value: Any) -> list[str]:
        if not dataclasses.is_dataclass(value):
            return [str(value)]
        return [type(value).__name__.lower(), *map(str, vars(value).values())]

    @registry.primitive_rule
    def rule(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
        if set(get_args(info.type)) != set(get_args(Schedule)):
            return None
        return PrimitiveConstructorSpec(
            nargs=(1, 3),
            metavar=f"FLOAT | {{{','.join(kinds)}}} START END",
            instance_from_str=schedule,
            is_instance=lambda value: isinstance(value, (*get_args(Schedule), int)),
            str_from_instance=words,
        )
