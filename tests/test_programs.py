"""Programs that stay traced: the same values as `jax.jit`, traced once, and never those of another function."""

import dataclasses
import os
import subprocess
import sys
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pictures import save_ramps

from diffquant import programs
from diffquant.losses.blur import BlurError
from diffquant.programs import traced_once


class Grown(NamedTuple):
    plane: jax.Array
    steps: tuple[jax.Array, None]


@dataclasses.dataclass(frozen=True)
class Foreign:
    """Of no package whose sources are known."""

    factor: float


@pytest.fixture(autouse=True)
def folder(tmp_path):
    yield tmp_path / "traced"
    programs.keep_in(None)


def scaled(counted, static=("factor",)):
    """The same function as if in a new process, and how often it was traced."""

    def function(plane, *, factor=2.0, offset=None):
        counted.append(factor)
        size = factor.factor if isinstance(factor, Foreign) else factor
        return {"out": plane * size, "sum": (plane.sum(), offset)}

    return traced_once(static=static)(function)


def test_another_process_finds_the_program_and_the_same_values(folder):
    plane = np.random.default_rng(0).random((3, 5), np.float32)
    counted = []
    plain = scaled(counted)(plane, factor=1.5, offset=jnp.ones(2))
    programs.keep_in(folder)
    first = scaled(counted)(plane, factor=1.5, offset=jnp.ones(2))
    traced = len(counted)
    second = scaled(counted)(plane, offset=jnp.ones(2), factor=1.5)
    assert traced == 2
    assert len(counted) == traced
    for found in (first, second):
        jax.tree.map(np.testing.assert_array_equal, found, plain)


@pytest.mark.parametrize(
    "changed",
    [
        {"factor": 3.0},
        {"plane": jnp.ones((5, 3))},
        {"plane": jnp.ones((3, 5), jnp.int32)},
        {"offset": jnp.ones(2)},
        {"offset": 1.0},
    ],
    ids=lambda changed: "-".join(f"{name}={value}" for name, value in changed.items())[:20],
)
def test_other_arguments_are_another_program(folder, changed):
    arguments = {"plane": jnp.ones((3, 5)), "factor": 2.0, "offset": None}
    programs.keep_in(folder)
    counted = []
    scaled(counted)(**arguments)
    found = scaled(counted)(**arguments | changed)
    assert len(counted) == 2
    jax.tree.map(np.testing.assert_array_equal, found, scaled([])(**arguments | changed))


def test_a_weak_type_stays_weak(folder):
    programs.keep_in(folder)
    for value in (jnp.float32(2), 2.0, jnp.float32(2)):
        found = scaled([])(jnp.ones(3, jnp.bfloat16), offset=value)["sum"][1]
        assert found.dtype == jnp.float32
        assert (jnp.ones(3, jnp.bfloat16) * found).dtype == (jnp.ones(3, jnp.bfloat16) * value).dtype


def test_trees_of_the_package_and_keys_are_handed_through(folder):
    counted = []

    def function(key, old):
        counted.append(None)
        return jax.random.fold_in(key, 3), old.__class__(*(2 * leaf for leaf in old))

    from diffquant.export.lattice import Grid

    programs.keep_in(folder)
    for key in (jax.random.key(1), jax.random.PRNGKey(1)):
        expected = jax.random.uniform(jax.random.fold_in(key, 3))
        for _ in range(2):
            new, grid = traced_once()(function)(key, Grid(jnp.ones(3), jnp.zeros(2), jnp.arange(4)))
            assert jax.random.uniform(new) == expected
            assert isinstance(grid, Grid)
            assert grid.margin.tolist() == [0, 2, 4, 6]
    assert len(counted) == 2


def test_what_is_static_but_may_change_unseen_is_traced_as_usual(folder):
    programs.keep_in(folder)
    counted = []
    for _ in range(2):
        assert scaled(counted)(jnp.ones(2), factor=Foreign(3.0))["out"].tolist() == [3, 3]
    assert len(counted) == 2
    assert not list(folder.rglob("*scaled*"))


def test_a_loss_of_the_package_is_known_by_its_fields():
    texts = {programs.described(loss) for loss in (BlurError(), BlurError(variance=0.5), BlurError())}
    assert len(texts) == 2


def test_a_tree_of_a_foreign_class_is_traced_as_usual(folder):
    def function(plane):
        return Grown(plane, (plane.sum(), None))

    programs.keep_in(folder)
    for _ in range(2):
        found = traced_once()(function)(jnp.ones(3))
        assert isinstance(found, Grown)
        assert found.steps == (3.0, None)
    assert not [path for path in folder.rglob("*") if path.is_file()]


def test_transformations_go_through(folder):
    programs.keep_in(folder)
    function = scaled([])
    assert jax.grad(lambda x: function(x)["out"].sum())(jnp.ones(3)).tolist() == [2, 2, 2]
    assert jax.vmap(lambda x: function(x)["out"])(jnp.ones((2, 3))).tolist() == [[2, 2, 2]] * 2
    assert jax.jit(lambda x: function(x)["out"])(jnp.ones(3)).tolist() == [2, 2, 2]


@pytest.mark.parametrize("spoilt", [b"", b"x" * 20, None], ids=["empty", "short", "a byte changed"])
def test_a_spoilt_file_is_written_again(folder, spoilt):
    programs.keep_in(folder)
    counted = []
    scaled(counted)(jnp.ones(3))
    [path] = [path for path in folder.rglob("*") if path.is_file()]
    whole = path.read_bytes()
    path.write_bytes(whole[:100] + bytes([whole[100] ^ 1]) + whole[101:] if spoilt is None else spoilt)
    for _ in range(2):
        assert scaled(counted)(jnp.ones(3))["out"].tolist() == [2, 2, 2]
    assert len(counted) == 2
    assert programs._read(path) is not None


def test_a_folder_that_cannot_be_written_costs_time_only(tmp_path):
    (tmp_path / "file").write_text("here")
    programs.keep_in(tmp_path / "file" / "traced")
    assert scaled([])(jnp.ones(3))["out"].tolist() == [2, 2, 2]


def test_another_version_of_the_sources_is_traced_anew_and_few_stay(folder, monkeypatch):
    counted = []
    for number, expected in [*((n, n + 1) for n in range(programs.VERSIONS + 3)), (0, programs.VERSIONS + 4)]:
        monkeypatch.setattr(programs, "_version", lambda number=number: f"version{number}")
        programs.keep_in(folder)
        scaled(counted)(jnp.ones(3))
        assert len(counted) == expected
    assert len(list(folder.iterdir())) <= programs.VERSIONS + 1


def test_settings_of_jax_are_part_of_the_key(folder):
    programs.keep_in(folder)
    counted = []
    before = jax.config.jax_default_matmul_precision
    try:
        for precision in (before, "highest", before):
            jax.config.update("jax_default_matmul_precision", precision)
            scaled(counted)(jnp.ones(3))
    finally:
        jax.config.update("jax_default_matmul_precision", before)
    assert len(counted) == 2


def test_several_devices_keep_nothing(folder, monkeypatch):
    monkeypatch.setattr(jax, "device_count", lambda: 2)
    programs.keep_in(folder)
    assert scaled([])(jnp.ones(3))["out"].tolist() == [2, 2, 2]
    assert not folder.exists()


def test_a_second_run_of_the_command_finds_all_that_the_first_kept(tmp_path):
    save_ramps(tmp_path / "photo.png", seed=0)
    cache = {"JAX_ENABLE_COMPILATION_CACHE": "true", "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "cache")}
    command = [sys.executable, "-m", "diffquant", "quantize", "photo.png", "-n", "4", "--preset", "fast", "-o"]
    kept = []
    for name in ("first.png", "second.png"):
        subprocess.run([*command, name], cwd=tmp_path, env=os.environ | cache, check=True, capture_output=True)
        found = (path for path in (tmp_path / "cache" / "traced").rglob("*") if path.is_file())
        kept.append({path.name: path.stat().st_mtime_ns for path in found})
    assert any("_sweep" in name for name in kept[0])
    assert kept[0] == kept[1]  # none is missing, and none was written again
    assert (tmp_path / "first.png").read_bytes() == (tmp_path / "second.png").read_bytes()
