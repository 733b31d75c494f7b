"""One picture on many devices: each holds the same number of its rows, and the parameters that belong to them."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from flax import nnx
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from diffquant.interfaces import Image
from diffquant.signal.mesh import AXIS
from diffquant.training.plan import PlanError
from diffquant.training.state import is_variable


def mesh_for(h: int, devices: Sequence[jax.Device]) -> Mesh:
    """As many of the devices as share out `h` rows equally.

    Raises:
        PlanError: they belong to several processes, and do not share them out equally.
    """
    count = next(n for n in range(len(devices), 0, -1) if h % n == 0)
    if count < len(devices) and jax.process_count() > 1:
        raise PlanError(f"picture: found {h} rows, expected a multiple of the {len(devices)} devices")
    return Mesh(np.array(devices[:count]), (AXIS,), axis_types=(AxisType.Auto,))


def shared_image(image: Any, mesh: Mesh) -> Image:
    """An image [3 h w] that every process has, its rows shared out, if they are not yet: each device gets its own."""
    if isinstance(image, jax.Array) and len(image.sharding.device_set) > 1:
        return image
    sharding = NamedSharding(mesh, PartitionSpec(None, AXIS, None))
    return jax.make_array_from_callback(image.shape, sharding, lambda part: np.asarray(image[part]))


def shared(tree: Any, mesh: Mesh) -> Any:
    """A tree of variables and arrays, those that belong to rows shared out, and the others on every device."""

    def share(leaf: Any) -> Any:
        if is_variable(leaf):
            return leaf.replace(_put(leaf[...], mesh, leaf.get_metadata().get("rows")))
        return _put(leaf, mesh, None)

    return jax.tree.map(share, tree, is_leaf=is_variable)


def _put(array: Any, mesh: Mesh, rows: int | None) -> jax.Array:
    """With the axis `rows` shared out."""
    sharding = NamedSharding(mesh, PartitionSpec(*(AXIS if axis == rows else None for axis in range(array.ndim))))
    if isinstance(array, jax.Array) and jax.dtypes.issubdtype(array.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(_put(jax.random.key_data(array), mesh, None))
    if isinstance(array, jax.Array) and not array.is_fully_addressable:
        return jax.device_put(array, sharding)
    whole = np.asarray(array)
    return jax.make_array_from_callback(whole.shape, sharding, lambda part: whole[part])


def over_pictures(tree: Any, count: int, devices: Sequence[jax.Device]) -> Any:
    """Arrays whose first axis goes over `count` pictures: as many of the devices share them out as can equally."""
    shares = next((n for n in range(len(devices), 0, -1) if count % n == 0), 1)
    if shares == 1:
        return tree
    mesh = Mesh(np.array(devices[:shares]), ("pictures",), axis_types=(AxisType.Auto,))
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec("pictures")))


def gathered(pipeline: Any) -> Any:
    """The pipeline with all of it on the first device that this process has: its choices are made there."""
    graph, variables = nnx.split(pipeline)
    device = jax.local_devices()[0]

    def gather(array: Any) -> Any:
        shares = isinstance(array, jax.Array) and len(array.sharding.device_set) > 1
        return jax.device_put(on_host(array), device) if shares else array

    return nnx.merge(graph, jax.tree.map(gather, variables))


def on_host(array: Any) -> np.ndarray:
    """All of an array that processes may share; then each of them has to ask."""
    if isinstance(array, jax.Array) and not array.is_fully_addressable:
        return np.asarray(multihost_utils.process_allgather(array, tiled=True))
    return np.asarray(array)
