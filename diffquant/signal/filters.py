"""Separable blurs of planar images, with half-sample symmetric borders (SciPy's "reflect") or zeros outside.

With either border and a symmetric kernel the blur is its own adjoint, so its gradient is a blur. With symmetric borders
a constant image stays constant.
"""

import functools
from collections.abc import Iterable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float32, Int

from diffquant.signal.mesh import whole_columns, whole_rows

Kernel = tuple[float, ...]  # symmetric, odd length, sums to 1
Border = Literal["symmetric", "zero"]


class Extent(NamedTuple):
    """The true size of a picture that stands at the top left of a larger array: one program serves many sizes."""

    rows: Int[Array, ""]
    columns: Int[Array, ""]

    def mask(self, h: int, w: int) -> Bool[Array, "h w"]:
        """Which places of an array of `h` x `w` belong to the picture."""
        return (jnp.arange(h)[:, None] < self.rows) & (jnp.arange(w)[None, :] < self.columns)


@functools.cache
def gaussian_kernel(sigma: float, truncate: float = 4.0) -> Kernel:
    """Sampled Gaussian of standard deviation `sigma` pixels, cut at `truncate` sigmas as SciPy does; 0 is identity."""
    if sigma < 0:
        raise ValueError(f"sigma: found {sigma}, expected at least 0")
    radius = int(truncate * sigma + 0.5)
    if radius == 0:
        return (1.0,)
    taps = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    return tuple(float(tap) for tap in taps / taps.sum())


def noise_gain(kernel: Kernel) -> float:
    """Sum of squares of the separable 2-D kernel: the share of independent noise's variance that the blur lets pass."""
    return sum(tap * tap for tap in kernel) ** 2


def _pad(plane: Float[Array, "h w"], radius: int, axis: int, border: Border) -> Array:
    if border == "zero":
        margin = jnp.zeros([radius if a == axis else n for a, n in enumerate(plane.shape)], plane.dtype)
        return jnp.concatenate([margin, plane, margin], axis)
    if radius > plane.shape[axis]:  # several reflections
        return jnp.pad(plane, [(radius, radius) if a == axis else (0, 0) for a in (0, 1)], mode="symmetric")
    take = functools.partial(jax.lax.slice_in_dim, plane, axis=axis)
    size = plane.shape[axis]
    head, tail = jnp.flip(take(0, radius), axis), jnp.flip(take(size - radius, size), axis)
    return jnp.concatenate([head, plane, tail], axis)


def weighted_sum(terms: Iterable[tuple[Array, Array | np.ndarray | float]]) -> Array:
    """Sum of array * weight; weights broadcast. In `lax` operations: sums of many taps trace three times faster."""
    total: Array | None = None
    for array, weight in terms:
        if isinstance(weight, float):
            factor = jax.lax.full_like(array, weight)
        else:
            factor = jax.lax.broadcast_in_dim(weight, array.shape, range(array.ndim))
        term = jax.lax.mul(array, factor)
        total = term if total is None else jax.lax.add(total, term)
    assert total is not None  # kernels have at least one tap
    return total


def _along(plane: Float[Array, "h w"], kernel: Kernel, axis: int, border: Border) -> Float[Array, "h w"]:
    size, radius = plane.shape[axis], len(kernel) // 2
    padded = _pad(plane, radius, axis, border)
    return weighted_sum((jax.lax.slice_in_dim(padded, i, i + size, axis=axis), tap) for i, tap in enumerate(kernel))


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def blur(planes: Float[Array, "c h w"], kernel: Kernel, border: Border = "symmetric") -> Float[Array, "c h w"]:
    """Convolve every plane with the separable `kernel`; its own adjoint.

    The loops over planes are deliberate: XLA would otherwise fuse the taps into whatever reads the result, and rows
    into columns, and compute them again for each reader (measured on a CPU: 190 ms instead of 40 for the gradient of a
    three-scale loss, 28 ms instead of 7 for a blur of 33 taps).
    """
    return planes if kernel == (1.0,) else _blur(planes, kernel, border)


@functools.partial(jax.jit, static_argnums=(1, 2))  # traced and lowered once for each shape, however often used
def _blur(planes: Array, kernel: Kernel, border: Border) -> Array:
    rows = jax.lax.map(lambda plane: _along(plane, kernel, 0, border), whole_columns(planes))
    return jax.lax.map(lambda plane: _along(plane, kernel, 1, border), whole_rows(rows))


def _forward(planes: Array, kernel: Kernel, border: Border) -> tuple[Array, None]:
    return blur(planes, kernel, border), None


def _backward(kernel: Kernel, border: Border, _: None, gradient: Array) -> tuple[Array]:
    return (blur(gradient, kernel, border),)


blur.defvjp(_forward, _backward)


@functools.lru_cache(maxsize=64)
def band(size: int, kernel: Kernel) -> Float32[np.ndarray, "size taps"]:
    """The 1-D blur as a banded matrix: row i holds the weights of samples i - radius to i + radius.

    The symmetric border is folded in, so weights of samples outside are 0. The matrix is symmetric.
    """
    radius = len(kernel) // 2
    offsets = np.arange(-radius, radius + 1)
    source = np.arange(size)[:, None] + offsets
    folded = source % (2 * size)
    folded = np.where(folded >= size, 2 * size - 1 - folded, folded)
    weights = np.zeros((size, len(kernel)))
    rows = np.broadcast_to(np.arange(size)[:, None], source.shape)
    np.add.at(weights, (rows, folded - rows + radius), np.broadcast_to(kernel, source.shape))
    return weights.astype(np.float32)


def band_within(size: int, kernel: Kernel, length: Int[Array, ""]) -> Float[Array, "size taps"]:
    """`band` of the first `length` of `size` samples, a traced number; the rows of the others are 0.

    No sample of the picture looks outside of it, so whatever finite values stand there make no difference.
    """
    radius = len(kernel) // 2
    rows = np.arange(size)[:, None]
    source = rows + np.arange(-radius, radius + 1)
    wrapped = jnp.asarray(source) % (2 * length)
    folded = jnp.where(wrapped >= length, 2 * length - 1 - wrapped, wrapped)
    place = (folded - rows + radius)[:, :, None] == np.arange(len(kernel))[None, None]
    weights = jnp.sum(jnp.where(place, jnp.asarray(kernel, jnp.float32)[None, :, None], 0.0), axis=1)
    return jnp.where(rows < length, weights, 0.0)


def _banded(plane: Float[Array, "h w"], weights: Array | np.ndarray, axis: int) -> Float[Array, "h w"]:
    """Sample i is the sum over taps of weights[i, tap] times the sample that lies there, along one axis."""
    size, taps = weights.shape
    shape = (-1, 1) if axis == 0 else (1, -1)
    padded = _pad(plane, taps // 2, axis, "zero")
    return weighted_sum(
        (jax.lax.slice_in_dim(padded, i, i + size, axis=axis), weights[:, i].reshape(shape)) for i in range(taps)
    )


def blur_within(planes: Float[Array, "c h w"], kernel: Kernel, extent: Extent | None) -> Float[Array, "c h w"]:
    """`blur` of the picture of that `extent`, with symmetric borders where it ends; 0 beyond. All of it without one.

    As a map from array to array it is its own adjoint too. The bands of a traced size take no gather, and what they
    meet beyond the picture is weighed by 0.
    """
    if extent is None or kernel == (1.0,):
        return blur(planes, kernel)
    _, h, w = planes.shape
    down, across = band_within(h, kernel, extent.rows), band_within(w, kernel, extent.columns)
    rows = jax.lax.map(lambda plane: _banded(plane, down, 0), planes)
    return jax.lax.map(lambda plane: _banded(plane, across, 1), rows)


def energy(planes: Float[Array, "c h w"], kernel: Kernel, extent: Extent | None = None) -> Float[Array, "c h w"]:
    """At each pixel i, sum over j of B[j, i]^2 planes[j], B being the blur: exact up to the border.

    What a unit impulse at i costs under the weights `planes` once blurred. With an `extent` B is that of `blur_within`.
    """
    _, h, w = planes.shape
    down: Array | np.ndarray = band(h, kernel) if extent is None else band_within(h, kernel, extent.rows)
    across: Array | np.ndarray = band(w, kernel) if extent is None else band_within(w, kernel, extent.columns)
    down, across = down**2, across**2
    return jax.lax.map(
        lambda plane: _banded(whole_rows(_banded(whole_columns(plane), down, 0)), across, 1),
        planes,
    )
