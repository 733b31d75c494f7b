"""JAX as the tests want it: on a CPU unless told otherwise, strict, and compiling afresh.

Shapes and types in signatures are checked at every call (while JAX traces: once for each compilation), but for the
modules that users talk to, which answer wrong arguments themselves.
"""

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# In the environment, so that commands which tests start obey too.
os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "false"
os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "true"  # pictures are tiny: most of the time is the compiler's

import jax
import jaxtyping
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
