"""JAX as the tests want it: on a CPU unless told otherwise, strict, and compiling afresh.

Shapes and types in signatures are checked at every call (while JAX traces: once for each compilation), but for the
modules that users talk to, which answer wrong arguments themselves.
"""

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "false"  # in the environment: commands that tests start obey too

import jax
import jaxtyping
from beartype import BeartypeConf, beartype

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_debug_nans", True)

typechecked = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an int is a float, as type checkers have it
CHECKED = [
    *("assignment", "color", "config", "export", "interfaces", "losses", "metrics", "palette", "pipelines", "report"),
    *("runner", "schedules", "signal", "training"),
]
jaxtyping.install_import_hook([f"diffquant.{module}" for module in CHECKED], f"{__name__}.typechecked")
