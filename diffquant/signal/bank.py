"""Separable filters with any taps, several planes in and several out, differentiable.

`diffquant.signal.filters.blur` is the simpler choice for one symmetric kernel.
"""

import functools
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32

from diffquant.signal.filters import Kernel, weighted_sum

Plane = Float[Array, "h w"]
Outside = Literal["symmetric", "edge"]  # NumPy's names: mirrored, border pixels twice; or border pixels repeated

_product = functools.partial(jnp.matmul, precision="highest")  # accelerators would round to fewer bits


class Separable(NamedTuple):
    """Correlate plane `source` with `column` along the height and `row` along the width; add that to plane `sink`."""

    source: int
    sink: int
    column: Kernel
    row: Kernel


Bank = tuple[Separable, ...]  # columns of one odd length, rows too; each plane in and out is some filter's


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 2))
def filter_bank(bank: Bank, planes: tuple[Plane, ...], outside: Outside) -> tuple[Plane, ...]:
    """All filters' results, added up for each sink.

    One loop over the filters, whose taps are data: XLA compiles one body for them all, computes each result once, and
    cannot fuse the taps into what reads them. Planes are separate arrays, as the gradients of a stack's members would
    be fused into one slow loop (measured on a CPU: 210 ms instead of 35 for the CIELAB difference of 768x512 pixels).

    Raises:
        ValueError: "symmetric" with other than symmetric taps.
    """
    if outside == "symmetric" and any(taps != taps[::-1] for f in bank for taps in (f.column, f.row)):
        raise ValueError('bank: found asymmetric taps, expected symmetric ones with outside="symmetric"')
    return _run(bank, planes, outside)


@functools.partial(jax.jit, static_argnums=(0, 2))  # traced and lowered once for each shape, however often used
def _run(bank: Bank, planes: tuple[Array, ...], outside: Outside) -> tuple[Array, ...]:
    def one(item: tuple[Array, Array, Array]) -> Array:
        source, column, row = item
        plane = _correlate(_pad(_chosen(planes, source), len(column) // 2, 0, outside), column, 0)
        return _correlate(_pad(plane, len(row) // 2, 1, outside), row, 1)

    results = jax.lax.map(one, (jnp.array([f.source for f in bank]), *_taps(bank)))
    return _added([f.sink for f in bank], results)


@functools.partial(jax.jit, static_argnums=0)
def _adjoint_with_edges(bank: Bank, gradients: tuple[Array, ...]) -> tuple[Array, ...]:
    """The adjoint if all outside were zero, and at the border what the pixels outside, copies of it, were read for."""
    h, w = gradients[0].shape
    beyond_h = np.array([_beyond(f.column, h) for f in bank])
    beyond_w = np.array([_beyond(f.row, w) for f in bank])

    def one(item: tuple[Array, Array, Array, Array, Array]) -> Array:
        sink, column, row, beyond_h, beyond_w = item
        plane = _chosen(gradients, sink)
        inner = _correlate(_pad(plane, len(row) // 2, 1, "constant"), row[::-1], 1)
        plane = inner + _product(_product(plane, beyond_w.T), _ends(w))
        inner = _correlate(_pad(plane, len(column) // 2, 0, "constant"), column[::-1], 0)
        return inner + _product(_ends(h).T, _product(beyond_h, plane))

    results = jax.lax.map(one, (jnp.array([f.sink for f in bank]), *_taps(bank), beyond_h, beyond_w))
    return _added([f.source for f in bank], results)


def _taps(bank: Bank) -> tuple[Array, Array]:
    return jnp.array([f.column for f in bank], jnp.float32), jnp.array([f.row for f in bank], jnp.float32)


def _beyond(taps: Kernel, size: int) -> Float32[np.ndarray, "2 size"]:
    """With what weight each output reads from before the first sample, and from after the last."""
    distance = np.maximum(len(taps) // 2 - np.arange(size), 0)
    before, after = (np.cumsum([0.0, *side])[distance] for side in (taps, taps[::-1]))
    return np.array([before, after[::-1]], np.float32)


def _ends(size: int) -> Float32[np.ndarray, "2 size"]:
    return np.eye(size, dtype=np.float32)[[0, -1]]


def _chosen(planes: tuple[Array, ...], which: Array) -> Array:
    return jax.lax.select_n(which, *planes) if len(planes) > 1 else planes[0]


def _added(sinks: list[int], results: Array) -> tuple[Array, ...]:
    sums = []
    for sink in range(max(sinks) + 1):
        first, *others = (results[i] for i, other in enumerate(sinks) if other == sink)
        sums.append(sum(others, first))
    return tuple(sums)


def _correlate(plane: Array, taps: Array, axis: int) -> Array:
    """Where the taps lie wholly inside."""
    size, weights = plane.shape[axis] - len(taps) + 1, taps.reshape(-1, 1, 1)
    return weighted_sum((jax.lax.slice_in_dim(plane, i, i + size, axis=axis), weights[i]) for i in range(len(taps)))


def _pad(plane: Array, margin: int, axis: int, outside: str) -> Array:
    return jnp.pad(plane, [(margin, margin) if a == axis else (0, 0) for a in (0, 1)], mode=outside)


def _forward(bank: Bank, planes: tuple[Array, ...], outside: Outside) -> tuple[tuple[Array, ...], None]:
    return filter_bank(bank, planes, outside), None


def _backward(bank: Bank, outside: Outside, _: None, gradients: tuple[Array, ...]) -> tuple[tuple[Array, ...]]:
    if outside == "edge":
        return (_adjoint_with_edges(bank, gradients),)
    swapped = tuple(f._replace(source=f.sink, sink=f.source) for f in bank)  # each filter is its own adjoint
    return (_run(swapped, gradients, outside),)


filter_bank.defvjp(_forward, _backward)
