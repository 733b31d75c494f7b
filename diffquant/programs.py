"""Programs that stay traced: a command that has met a picture's size before does not trace and lower them again.

JAX keeps what XLA compiled, but finds it by the lowered program, so each new process writes that anew: a fifth of the
time of a short run. `traced_once` stands for `jax.jit` around functions that are long to trace. Once `keep_in` has
named a folder, what JAX exports of them stays there (https://docs.jax.dev/en/latest/export/export.html).

A program is found again by all that it can depend on: its name, its arguments' shapes, types and tree, the static
arguments, JAX's settings, and by the folder of its version: the sources of this package, JAX and NumPy. Static
arguments that are not plain values or dataclasses of this package could change unseen (a loss in a user's own file), so
with these a function is traced as usual; and so it is with several devices or processes, or any other kind than CPUs.
"""

import contextlib
import dataclasses
import functools
import hashlib
import inspect
import io
import pickle
import shutil
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any, NamedTuple, ParamSpec, TypeVar

import jax
import jax.export
import numpy as np

from diffquant.files import write_atomically

PACKAGE = __name__.partition(".")[0]
VERSIONS = 4  # whose programs stay

P, R = ParamSpec("P"), TypeVar("R")


class _ForeignError(Exception):
    """A static argument that is not known by its value alone."""


class _Exported(NamedTuple):
    """A program from arrays to arrays, and the tree of its results with a number at each leaf's place."""

    run: Callable[..., list[jax.Array]]
    results: Any


_folder: Path | None = None


def keep_in(folder: Path | None) -> None:
    """Keep programs in this folder from now on, and of other versions' those lately used; with None, keep none."""
    global _folder
    if folder is None or jax.default_backend() != "cpu" or jax.device_count() > 1:
        _folder = None
        return
    own = folder / _version()
    if own != _folder and not own.is_dir():
        with contextlib.suppress(OSError):  # then no program is kept, which is slower and no more
            own.mkdir(parents=True)
            for other in sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime)[:-VERSIONS]:
                shutil.rmtree(other, ignore_errors=True)
    _folder = own


@functools.cache
def _version() -> str:
    """Of all that programs are made of."""
    seen = hashlib.sha256(f"{jax.__version__} {np.__version__}".encode())
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        seen.update(path.read_bytes())
    return seen.hexdigest()


def traced_once(*, static: tuple[str, ...] = ()) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """`jax.jit` with the arguments named in `static` being so, for functions of a module that are long to trace.

    Not for closures: what they hold is not among what a program is found by.
    """

    def wrap(function: Callable[P, R]) -> Callable[P, R]:
        program = _Program(function, static)

        @functools.wraps(function)
        def call(*arguments: P.args, **named: P.kwargs) -> R:
            return program(*arguments, **named)

        return call

    return wrap


class _Program:
    """A function's exported programs, one for each kind of arguments."""

    def __init__(self, function: Callable[..., Any], static: tuple[str, ...]) -> None:
        self._function, self._static = function, static
        self._plain = jax.jit(function, static_argnames=static)
        self._signature = inspect.signature(function)
        self._known: dict[Hashable, _Exported | None] = {}

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        if _folder is None:
            return self._plain(*arguments, **named)
        bound = self._signature.bind(*arguments, **named)
        bound.apply_defaults()
        dynamic = {name: value for name, value in bound.arguments.items() if name not in self._static}
        static = {name: bound.arguments[name] for name in self._static}
        leaves, tree = jax.tree.flatten(dynamic)
        if any(isinstance(leaf, jax.core.Tracer) for leaf in leaves):
            return self._plain(*arguments, **named)
        kinds = tuple((aval.shape, str(aval.dtype), aval.weak_type) for aval in map(jax.typeof, leaves))
        key = (_folder, tuple(static.values()), tree, kinds)
        if key not in self._known:
            self._known[key] = self._found(_folder, static, tree, kinds, leaves)
        found = self._known[key]
        if found is None:
            return self._plain(*arguments, **named)
        return jax.tree.map(found.run(*leaves).__getitem__, found.results)

    def _found(
        self, folder: Path, static: dict[str, Any], tree: Any, kinds: Hashable, leaves: list[Any]
    ) -> _Exported | None:
        """The program that was kept, or is now. None: it cannot be."""
        try:
            values = {name: described(value) for name, value in static.items()}
        except _ForeignError:
            return None
        name = f"{self._function.__module__}.{self._function.__qualname__}"
        settings = sorted(jax.config.values.items())
        digest = hashlib.sha256(f"{name} {values} {tree} {kinds} {settings}".encode()).hexdigest()
        path = folder / f"{name}-{digest[:32]}"
        exported, results = _read(path) or self._exported(path, static, tree, leaves)

        def run(*leaves: Any) -> list[jax.Array]:
            return exported.call(*leaves)

        run.__name__ = self._function.__name__
        # Compiled here: a jitted function would be once more for results of its own, which JAX holds to be placed.
        return _Exported(jax.jit(run).lower(*leaves).compile(), results)

    def _exported(self, path: Path, static: dict[str, Any], tree: Any, leaves: list[Any]) -> tuple[Any, Any]:
        """What is then kept, if the folder lets it be and its results are of kinds that are read back."""
        results = None

        def run(*leaves: Any) -> list[Any]:
            nonlocal results
            arrays, shape = jax.tree.flatten(self._function(**jax.tree.unflatten(tree, leaves), **static))
            results = jax.tree.unflatten(shape, range(len(arrays)))
            return arrays

        exported = jax.export.export(jax.jit(run))(*leaves)
        with contextlib.suppress(OSError, pickle.PickleError, AttributeError):
            shape = pickle.dumps(results)
            _Trees(io.BytesIO(shape)).load()
            content = pickle.dumps((bytes(exported.serialize()), shape))
            write_atomically(path, hashlib.sha256(content).digest() + content)
        return exported, results


def described(value: Any) -> str:
    """A text that two values share only if programs made with them are the same.

    Raises:
        _ForeignError: there may be more to the value than its text.
    """
    kind = type(value)
    if value is None or kind in (bool, int, float, str):
        return repr(value)
    own = kind.__module__.partition(".")[0] == PACKAGE
    if kind is tuple or (own and isinstance(value, tuple)):
        return f"{kind.__module__}.{kind.__qualname__}({', '.join(map(described, value))})"
    if own and dataclasses.is_dataclass(value):
        fields = [f"{field.name}={described(getattr(value, field.name))}" for field in dataclasses.fields(value)]
        return f"{kind.__module__}.{kind.__qualname__}({', '.join(fields)})"
    raise _ForeignError(f"found a {kind.__name__}, expected plain values and dataclasses of {PACKAGE}")


class _Trees(pickle.Unpickler):
    """Reads bytes, and trees of this package's own kinds."""

    def find_class(self, module: str, name: str) -> Any:
        if module.partition(".")[0] != PACKAGE:
            raise pickle.UnpicklingError(f"found {module}.{name}, expected a class of {PACKAGE}")
        return super().find_class(module, name)


def _read(path: Path) -> tuple[Any, Any] | None:
    """A program that was kept, and its results' tree; None if there is none, or not all of it."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    digest, content = data[:32], data[32:]
    if hashlib.sha256(content).digest() != digest:
        return None
    program, shape = _Trees(io.BytesIO(content)).load()
    return jax.export.deserialize(bytearray(program)), _Trees(io.BytesIO(shape)).load()
