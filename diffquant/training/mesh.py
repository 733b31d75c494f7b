"""One picture on many devices: each holds the same number of its rows, and the parameters that belong to them."""

import functools
import io
from collections.abc import Callable, Sequence
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

PIECE = 1 << 26  # bytes of an array that are on their way to the first process at a time


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
    return shared_rows(lambda rows: image[:, rows], image.shape, mesh)


def shared_rows(rows: Callable[[slice], Any], shape: tuple[int, ...], mesh: Mesh) -> Image:
    """An image of such a `shape` [3 h w], of which each process makes the rows of its own devices, and no others."""
    sharding = NamedSharding(mesh, PartitionSpec(None, AXIS, None))

    def own(part: Any) -> np.ndarray:
        return np.asarray(rows(part[1]))

    return jax.make_array_from_callback(shape, sharding, own)


def shared(tree: Any, mesh: Mesh) -> Any:
    """A tree of variables and arrays, those that belong to rows shared out, and the others on every device."""

    def share(leaf: Any) -> Any:
        if is_variable(leaf):
            return leaf.replace(_put(leaf[...], mesh, leaf.get_metadata().get("rows")))
        return _put(leaf, mesh, None)

    return jax.tree.map(share, tree, is_leaf=is_variable)


def placed(tree: Any, mesh: Mesh) -> Any:
    """The shardings that `shared` gives to a tree of variables and arrays, or of their shapes."""

    def place(leaf: Any) -> Any:
        if is_variable(leaf):
            return leaf.replace(_sharding(leaf.get_raw_value().ndim, mesh, leaf.get_metadata().get("rows")))
        return _sharding(leaf.ndim, mesh, None)

    return jax.tree.map(place, tree, is_leaf=is_variable)


def _sharding(ndim: int, mesh: Mesh, rows: int | None) -> NamedSharding:
    """With the axis `rows` shared out."""
    return NamedSharding(mesh, PartitionSpec(*(AXIS if axis == rows else None for axis in range(ndim))))


def _put(array: Any, mesh: Mesh, rows: int | None) -> jax.Array:
    """With the axis `rows` shared out."""
    sharding = _sharding(array.ndim, mesh, rows)
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
    """The pipeline with all of it on the first process's first device: its choices are made there.

    Each of several processes has to ask; all but the first get None.
    """
    graph, variables = nnx.split(pipeline)
    device = jax.local_devices()[0]

    def gather(array: Any) -> Any:
        shares = isinstance(array, jax.Array) and len(array.sharding.device_set) > 1
        whole = on_host(array) if shares else array
        return None if whole is None else jax.device_put(whole, device)

    whole = jax.tree.map(gather, variables)
    return nnx.merge(graph, whole) if jax.process_index() == 0 else None


def on_host(array: Any) -> np.ndarray | None:
    """All of an array. If processes share it, each of them has to ask, and all but the first get None."""
    if not isinstance(array, jax.Array) or array.is_fully_addressable:
        return np.asarray(array)
    first = jax.process_index() == 0
    if array.is_fully_replicated:
        return np.asarray(array.addressable_data(0)) if first else None
    sharding: Any = array.sharding
    axis, count = tuple(sharding.spec).index(AXIS), sharding.mesh.size
    own = array.shape[axis] // count
    size = min(own, max(1, PIECE * own // array.nbytes))
    whole = np.empty(array.shape, array.dtype) if first else None
    for start in (min(start, own - size) for start in range(0, own, size)):
        pieces = _pieces(array, start, axis=axis, size=size, mesh=sharding.mesh).addressable_data(0)
        if whole is not None:
            for number, piece in enumerate(np.asarray(pieces)):
                top = number * own + start
                whole[(slice(None),) * axis + (slice(top, top + size),)] = piece
    return whole


@functools.partial(jax.jit, static_argnames=("axis", "size", "mesh"))
def _pieces(array: jax.Array, start: Any, *, axis: int, size: int, mesh: Mesh) -> jax.Array:
    """So many of each device's rows, from its row `start` on, on all of them [devices ...]."""

    def of_all(own: jax.Array) -> jax.Array:
        return jax.lax.all_gather(jax.lax.dynamic_slice_in_dim(own, start, size, axis), AXIS)

    spec = _sharding(array.ndim, mesh, axis).spec
    return jax.shard_map(of_all, mesh=mesh, in_specs=spec, out_specs=PartitionSpec(), check_vma=False)(array)


def of_first(array: np.ndarray | None) -> np.ndarray:
    """The first process's array, to the last bit; the others need not have it. Each has to ask."""
    if jax.process_count() == 1:
        assert array is not None
        return array
    file = io.BytesIO()
    if array is not None:
        np.save(file, array)
    size = int(multihost_utils.broadcast_one_to_all(np.uint32(file.tell())))
    data = np.zeros(size, np.uint8) if array is None else np.frombuffer(file.getvalue(), np.uint8)
    return np.load(io.BytesIO(np.asarray(multihost_utils.broadcast_one_to_all(data)).tobytes()))
