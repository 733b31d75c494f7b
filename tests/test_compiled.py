"""What numba compiles and keeps between runs: its sources in one file, its results those of NumPy.

numba compiles anew when the file of a function has changed. What that function calls, and the constants it names, are
compiled in with it wherever they are from, and not looked at again.
"""

import ast
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import diffquant
from diffquant import color
from diffquant.export.matching import cube_root

ROOT = Path(diffquant.__file__).parent
FILES = {path.relative_to(ROOT).as_posix(): path for path in sorted(ROOT.rglob("*.py"))}


def is_compiled(function):
    """By one of numba's decorators, with or without arguments."""
    decorators = [d.func if isinstance(d, ast.Call) else d for d in function.decorator_list]
    return any(ast.unparse(d).split(".")[-1] in ("njit", "jit", "vectorize", "guvectorize") for d in decorators)


def compiled_in(tree):
    if not any(isinstance(node, ast.Import | ast.ImportFrom) and "numba" in ast.unparse(node) for node in tree.body):
        return []  # other decorators are called jit too
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and is_compiled(node)]


def names(node, context):
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, context)}


def foreign_names(tree):
    """What a module takes from others of the package, and what it computes of that before any call."""
    foreign = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.level or node.module.split(".")[0] == "diffquant"):
            foreign |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            foreign |= {a.asname or "diffquant" for a in node.names if a.name.split(".")[0] == "diffquant"}
    for node in tree.body:  # in order, so that what is computed of what was computed counts too
        if isinstance(node, ast.Assign | ast.AnnAssign) and names(node, ast.Load) & foreign:
            foreign |= names(node, ast.Store)
    return foreign


def borrowed(tree):
    """Function and name, for everything from other modules that is compiled into a function."""
    foreign = foreign_names(tree)
    for function in compiled_in(tree):
        own = names(function, ast.Store) | {arg.arg for arg in ast.walk(function.args) if isinstance(arg, ast.arg)}
        used = set().union(*(names(statement, ast.Load) for statement in function.body))
        yield from sorted((function.name, name) for name in used & foreign - own)


@pytest.mark.parametrize("name", FILES)
def test_nothing_compiled_holds_code_or_constants_of_another_module(name):
    assert list(borrowed(ast.parse(FILES[name].read_text("utf-8")))) == []


def test_what_is_borrowed_is_found():
    source = """
import numba
import numpy as np
import diffquant.color
from diffquant.jpeg.symbols import LONGEST, size_of as size
from diffquant.color import TOE

STEEP = TOE ** (-2 / 3)
A, B = STEEP, 1
C = 2

@numba.njit
def called(x): return size(x) + np.abs(x)
@numba.njit(cache=True)
def constant(x):
    return A * x if x < LONGEST else called(x)
@njit(cache=True)
def module(x): return diffquant.color.TOE
@numba.njit
def shadowed(size):
    LONGEST = size + C
    return LONGEST
def plain(x): return size(x)
"""
    found = [("called", "size"), ("constant", "A"), ("constant", "LONGEST"), ("module", "diffquant")]
    assert list(borrowed(ast.parse(source))) == found


def test_compiled_functions_are_where_one_looks_for_them():
    counts = {name: len(compiled_in(ast.parse(path.read_text("utf-8")))) for name, path in FILES.items()}
    holding = {name for name, count in counts.items() if count}
    assert {"animation/lzw.py", "export/matching.py", "jpeg/huffman.py", "jpeg/trellis.py"} <= holding
    assert counts["export/matching.py"] >= 6
    assert holding >= {name for name, path in FILES.items() if "@numba" in path.read_text("utf-8")}


def test_the_cube_root_has_the_precision_of_doubles_and_a_straight_toe():
    x = np.concatenate([np.geomspace(color.TOE, 1.01, 4001), np.linspace(0, color.TOE, 31)[:-1]])
    found = np.array([cube_root(value, color.TOE) for value in x])
    np.testing.assert_allclose(found, color.cube_root(x), rtol=1e-15)
    np.testing.assert_allclose(found[:4001], np.cbrt(x[:4001]), rtol=1e-15)


def test_several_threads_may_dither_where_numba_has_only_its_own_pool():
    script = """
import concurrent.futures, numba, numpy as np
from diffquant.export.ordered import bayer_mask, dither_ordered
light, palette = np.random.default_rng(0).random((2, 90, 140, 3)).astype(np.float32)
dither = lambda _: dither_ordered(light, palette[0, :5], bayer_mask(8))
with concurrent.futures.ThreadPoolExecutor(4) as pool:
    first, *others = pool.map(dither, range(12))
assert numba.threading_layer() == "workqueue"
assert all((other == first).all() for other in others)
"""
    environment = os.environ | {"NUMBA_THREADING_LAYER": "workqueue"}
    command = [sys.executable, "-W", "error", "-c", script]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
