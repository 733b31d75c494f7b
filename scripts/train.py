"""Run an experiment on a picture: `python scripts/train.py configs/photo16.py photo.png`.

Any number in the config can be set on the command line: `--steps 200 --losses.eye.weight 2`; the kind of a codec, of a
loss or of a dither is the config file's to choose. Written to runs/<config>-<picture>/: the result, metrics.json, and
config.py, which repeats the run.
"""

import dataclasses
import os
import pprint
import runpy
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

from tyro.conf import AvoidSubcommands, FlagCreatePairsOff, Positional, arg
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from diffquant.console import INTERRUPTED, UsageError, complain, parse, run, table, use_compilation_cache
from diffquant.decoding import format_of
from diffquant.export.files import write_atomically
from diffquant.image import ImageError, parse_color, read

if TYPE_CHECKING:
    from diffquant.config import Config

PROG = "train.py"
USAGE = f"usage: {PROG} CONFIG IMAGE [--out FOLDER] [overrides]; to list the overrides: {PROG} CONFIG --help"
EXPECTED = "expected a Python file that ends with `config = Config(...)`"
SUFFIXES = {"JPEG": ".jpg", "TIFF": ".tif"}  # the others are named by their format


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


def main(arguments: list[str]) -> int:
    """0 if all went well, 2 after one clear line if not, 130 if interrupted; then the best so far is written."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(USAGE, file=sys.stdout if arguments else sys.stderr)
        return 0 if arguments else 2
    try:
        return train(Path(arguments[0]), arguments[1:])
    except (UsageError, ImageError, OSError, FloatingPointError) as error:
        complain(error, prog=PROG)
        return 2
    except KeyboardInterrupt:
        print(f"{PROG}: interrupted; nothing written", file=sys.stderr)
        return INTERRUPTED


def train(path: Path, arguments: list[str]) -> int:
    """Run the config at `path` as the other `arguments` say."""
    default = load(path)
    from diffquant.config import Config
    from diffquant.pipelines.goals import UnreachableError
    from diffquant.report import to_json

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Run:
        image: Positional[Path]
        """The picture: PNG, JPEG, WebP, TIFF, GIF or BMP."""
        out: Path | None = None
        """Folder to write to; by default runs/<config>-<picture>."""
        background: str = "white"
        """What transparent pixels are laid on."""
        config: Annotated[Config, arg(name="")] = default

    asked = parse(Run, arguments, prog=PROG, config=(AvoidSubcommands, FlagCreatePairsOff), registry=constructors())
    try:
        background = parse_color(asked.background)
    except ValueError as error:
        raise UsageError(f"--background: {error}") from None
    started = time.perf_counter()
    picture = read(asked.image, background=background)
    for notice in picture.notices:
        print(f"{PROG}: {notice}", file=sys.stderr)
    folder = asked.out or Path("runs") / f"{path.stem}-{asked.image.stem}"
    there = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
    if not (there.is_dir() and os.access(there, os.W_OK)):
        raise UsageError(f"--out: found {there}, expected a folder that can be written to")
    use_compilation_cache()
    try:
        result, interrupted = run(picture, asked.config, started=started)
    except UnreachableError as error:
        raise UsageError(f"--pipeline.goal: {error}") from None
    kind = format_of(result.data)
    target = folder / f"result{SUFFIXES.get(str(kind), f'.{kind}'.lower())}"
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(target, result.data)
    write_atomically(folder / "config.py", source_of(asked.config).encode())
    write_atomically(folder / "metrics.json", (to_json(result.report.as_dict()) + "\n").encode())
    table(target, result.report)
    if interrupted:
        print(f"{PROG}: interrupted; {target} is the best so far", file=sys.stderr)
    return INTERRUPTED if interrupted else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
