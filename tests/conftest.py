"""JAX as the tests want it: on a CPU unless told otherwise, strict, and compiling afresh; and how to run scripts.

Shapes and types in signatures are checked at every call (while JAX traces: once for each compilation), but for the
modules that users talk to, which answer wrong arguments themselves.
"""

import importlib
import os
import types
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# In the environment, so that commands which tests start obey too.
os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "false"
os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "true"  # pictures are tiny: most of the time is the compiler's

import jaxlib.version

if jaxlib.version.__version_info__ < (0, 11):  # XLA ends a process that gives it a flag which it no longer knows
    # Each fusion by the older emitter and all in one module: a quarter of the compiler's time is left.
    faster = "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
    os.environ["XLA_FLAGS"] = f"{faster} {os.environ.get('XLA_FLAGS', '')}"

import jax
import jaxtyping
import pytest
from beartype import BeartypeConf, beartype

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_debug_nans", True)

typechecked = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an int is a float, as type checkers have it
CHECKED = [
    *("assignment", "color", "config", "export", "interfaces", "losses", "metrics", "palette", "pipelines", "report"),
    *("runner", "schedules", "signal", "training"),
    *(f"animation.{name}" for name in ("animate", "clip", "gif", "report", "steady", "survey", "video")),
    *(f"jpeg.{name}" for name in ("blocks", "curvature", "decoder", "descent", "encoder", "file", "geometry")),
    *(
        f"jpeg.{name}"
        for name in ("judge", "markers", "prices", "profile", "rate", "sampling", "search", "size", "tables")
    ),
]  # of jpeg and animation not what numba compiles: it could not keep it between runs
jaxtyping.install_import_hook([f"diffquant.{module}" for module in CHECKED], f"{__name__}.typechecked")

SCRIPTS = Path(__file__).parents[1] / "scripts"


@pytest.fixture
def load_script(monkeypatch):
    """A script, or one of its helpers, as a module, by name."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return importlib.import_module


@pytest.fixture
def outcome(capsys):
    """Runs the `main` of a script with arguments of any type: exit status, stdout, stderr."""

    def run(main, *arguments):
        with pytest.raises(SystemExit) as stop:
            main([*map(str, arguments)])
        return stop.value.code, *capsys.readouterr()

    return run


@pytest.fixture
def answer(capsys):
    """Runs the command `diffquant` in this process; the answer is as of `subprocess.run`."""
    from diffquant.cli import command

    def run(*arguments):
        status = command(arguments)
        output = capsys.readouterr()
        return types.SimpleNamespace(returncode=status, stdout=output.out, stderr=output.err)

    return run
