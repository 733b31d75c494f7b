"""A module imports only from those above it."""

import ast
import graphlib
from pathlib import Path

import pytest

import diffquant

# From the ground up. Training stands above all that knows of palettes: it works for any codec.
ORDER = [
    *("files", "icc", "exif", "decoding", "color", "image"),
    *("programs", "interfaces", "schedules", "signal", "losses", "training", "jpeg"),
    *("metrics", "report"),
    *("palette", "assignment", "export", "pipelines"),
    *("config", "presets", "memory", "checkpoints", "runner", "batch", "animation", "draw", "api"),
    *("console", "folder", "arguments", "commands", "cli", "__main__"),
]
ROOT = Path(diffquant.__file__).parent
MODULES = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in sorted(ROOT.rglob("*.py"))}
INSIDE = {name: path for name, path in MODULES.items() if name != "__init__"}  # that one only lists names for users


def imported(path):
    """Modules of the package that a file imports, anywhere in it, without the package's own name."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for name in names:
            if name.startswith("diffquant."):
                yield name.removeprefix("diffquant.")


def module_of(name):
    """The module in which an imported name lives: itself, its parent, or a package."""
    parent = name.rpartition(".")[0]
    return next(m for m in (name, f"{name}.__init__", parent, f"{parent}.__init__") if m in INSIDE)


def test_every_module_has_a_place_in_the_order():
    assert sorted({name.split(".")[0] for name in INSIDE}) == sorted(ORDER)


@pytest.mark.parametrize("name", INSIDE)
def test_a_module_imports_only_from_those_above_it(name):
    own = ORDER.index(name.split(".")[0])
    below = [other for other in imported(INSIDE[name]) if ORDER.index(other.split(".")[0]) > own]
    assert below == []


def test_no_imports_go_round_in_a_circle():
    graph = {name: {module_of(other) for other in imported(path)} for name, path in INSIDE.items()}
    order = list(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError
    assert order.index("color") < order.index("pipelines.palette")
