"""Colour spaces: sRGB codes, linear light, OkLab, XYB.

Axis 0 is the channel (planar), so `[3 h w]` images and `[3 k]` palettes alike. Every function takes a NumPy array (and
computes in its precision) or a JAX array (and is differentiable).
"""

import functools
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, UInt8

Planes = Any  # Float[np.ndarray | jax.Array, "3 ..."]: what goes in comes out

# Ottosson, "A perceptual color space for image processing" (2020): linear sRGB -> LMS, and cube-rooted LMS -> OkLab.
LMS_FROM_LINEAR = (
    (0.4122214708, 0.5363325363, 0.0514459929),
    (0.2119034982, 0.6806995451, 0.1073969566),
    (0.0883024619, 0.2817188376, 0.6299787005),
)
OKLAB_FROM_ROOTS = (
    (0.2104542553, 0.7936177850, -0.0040720468),
    (1.9779984951, -2.4285922050, 0.4505937099),
    (0.0259040371, 0.7827717662, -0.8086757660),
)
# libjxl, lib/jxl/cms/opsin_params.h: linear sRGB -> cone responses, and what each is raised by before its root.
OPSIN_FROM_LINEAR = (
    (0.30, 0.622, 0.078),
    (0.23, 0.692, 0.078),
    (0.24342268924547819, 0.20476744424496821, 0.55180986650955360),
)
OPSIN_BIAS = 0.0037930732552754493
# libjxl, tools/ssimulacra2.cc: 14 X + 0.42, Y + 0.01 and B - Y + 0.55, where X and Y are half the difference and half
# the sum of the first two roots, B is the third, and each root is less that of the bias.
XYB_FROM_ROOTS = ((7.0, -7.0, 0.0), (0.5, 0.5, 0.0), (-0.5, -0.5, 1.0))
XYB_OFFSETS = (0.42, 0.01 - OPSIN_BIAS ** (1 / 3), 0.55)
LINEAR_FROM_LMS = np.linalg.inv(LMS_FROM_LINEAR)
ROOTS_FROM_OKLAB = np.linalg.inv(OKLAB_FROM_ROOTS)
UPPER = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))  # order of a symmetric matrix's six entries
ROWS_OF_UPPER = tuple(  # where in that order the entries of each row stand
    tuple(UPPER.index((min(i, j), max(i, j))) for j in range(3)) for i in range(3)
)
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, of gamma-encoded R'G'B'


@functools.lru_cache(maxsize=16)
def _metric_matrix(chroma: float) -> Float[np.ndarray, "6 6"]:
    """The OkLab metric's six entries from the six products of the cube roots' slopes."""
    roots_metric = np.transpose(OKLAB_FROM_ROOTS) @ np.diag([1, chroma, chroma]) @ np.asarray(OKLAB_FROM_ROOTS)
    lms = np.asarray(LMS_FROM_LINEAR)
    full = [[roots_metric * np.outer(lms[:, i], lms[:, j])] for i, j in UPPER]
    return np.array([[block[m, n] + (block[n, m] if m != n else 0) for m, n in UPPER] for (block,) in full])


# The cube root has no derivative at 0: below this it is continued by the straight line through the origin. Every
# non-black 8-bit colour has larger cone responses (the least is blue 1 at 1.56e-5), so OkLab is exact on all of them.
TOE = 1e-5


def _namespace(x: Planes) -> ModuleType:
    return jnp if isinstance(x, jax.Array) else np


def _mix(matrix: Any, planes: Planes) -> list[Any]:
    return [sum(float(m) * plane for m, plane in zip(row, planes, strict=True)) for row in matrix]


def mix(matrix: Any, planes: Planes) -> Planes:
    """The 3x3 matrix times the channel vector at every position."""
    return _namespace(planes).stack(_mix(matrix, planes))


@jax.custom_jvp
def _root(x: jax.Array) -> jax.Array:
    """Cube root with a straight toe. A bit-level guess and Newton: five times faster on a CPU than `jnp.cbrt`."""
    safe = jnp.maximum(x, TOE)
    bits = jax.lax.bitcast_convert_type(safe, jnp.int32).astype(jnp.float32) * (1 / 3)
    y = jax.lax.bitcast_convert_type(bits.astype(jnp.int32) + 709921077, jnp.float32)
    for _ in range(3):
        y = y - (y - safe / (y * y)) * (1 / 3)
    return jnp.where(x < TOE, x * TOE ** (-2 / 3), y)


@_root.defjvp
def _root_jvp(primals: tuple[jax.Array], tangents: tuple[jax.Array]) -> tuple[jax.Array, jax.Array]:
    y = _root(primals[0])
    slope = jnp.where(primals[0] < TOE, TOE ** (-2 / 3), 1 / (3 * jnp.maximum(y * y, TOE ** (2 / 3))))
    return y, tangents[0] * slope


def cube_root(x: Planes) -> Planes:
    """Real cube root; below `TOE` a straight line through 0, so that the derivative is finite everywhere."""
    if isinstance(x, jax.Array):
        return _root(x)
    return np.where(x < TOE, x * x.dtype.type(TOE ** (-2 / 3)), np.cbrt(x))


def oklab_planes(linear: Planes) -> list[Any]:
    """`oklab_from_linear` as three separate planes: XLA fuses what follows better than through a stack.

    Measured on a CPU, the gradient of a three-scale blurred error: 20 ms against 103 ms stacked (768x512).
    """
    return _mix(OKLAB_FROM_ROOTS, [cube_root(cone) for cone in _mix(LMS_FROM_LINEAR, linear)])


def oklab_from_linear(linear: Planes) -> Planes:
    """Linear-light sRGB in [0, 1] to OkLab: L in [0, 1], a and b in about [-0.3, 0.3]."""
    return _namespace(linear).stack(oklab_planes(linear))


def xyb_planes(linear: Planes) -> list[Any]:
    """Linear-light sRGB in [0, 1] to JPEG XL's X, Y and B - Y, as SSIMULACRA2 scales them: each within [0, 1]."""
    roots = [cube_root(cone + OPSIN_BIAS) for cone in _mix(OPSIN_FROM_LINEAR, linear)]
    return [plane + offset for plane, offset in zip(_mix(XYB_FROM_ROOTS, roots), XYB_OFFSETS, strict=True)]


def oklab_metric(linear: Planes, chroma: float = 1.0, other: Planes | None = None) -> Planes:
    """The local metric W = J^T J, J = d OkLab / d linear: upper triangle RR RG RB GG GB BB, on axis 0.

    `d W d` is the squared OkLab difference that a small change d of linear light makes. Of a and b it counts `chroma`.
    With the chord's slopes from `linear` to `other` instead of the tangent's, it is exactly their squared difference
    for d = other - linear, unless one of them is as good as black.
    """
    slopes = (_slopes if isinstance(linear, np.ndarray) else _traced_slopes)(linear, other)
    products = [slopes[m] * slopes[n] for m, n in UPPER]
    return _namespace(linear).stack(_mix(_metric_matrix(chroma), products))


def _slopes(linear: Planes, other: Planes | None) -> list[Any]:
    """Of the cube roots of the cone responses, along the chord from `linear` to `other` or along the tangent."""
    xp = _namespace(linear)
    floor = TOE ** (1 / 3)
    roots = [cube_root(cone) for cone in _mix(LMS_FROM_LINEAR, linear)]
    ends = roots if other is None else [cube_root(cone) for cone in _mix(LMS_FROM_LINEAR, other)]
    slopes = []
    for root, end in zip(roots, ends, strict=True):
        toe = xp.maximum(root, end) < floor
        root, end = xp.maximum(root, floor), xp.maximum(end, floor)
        slopes.append(xp.where(toe, TOE ** (-2 / 3), 1 / (root * root + root * end + end * end)))
    return slopes


_traced_slopes = jax.jit(_slopes)  # traced once for each shape, however many widths an eye has


def apply_symmetric(triangle: Planes, planes: Planes) -> list[Any]:
    """The symmetric 3x3 matrix given by its upper triangle [6 ...], times the vector [3 ...], as three planes."""
    rr, rg, rb, gg, gb, bb = triangle
    r, g, b = planes
    return [rr * r + rg * g + rb * b, rg * r + gg * g + gb * b, rb * r + gb * g + bb * b]


def symmetric_inner(a: Planes, b: Planes) -> Any:
    """Frobenius inner product of two symmetric 3x3 matrices given by their upper triangles [6 ...]."""
    return a[0] * b[0] + a[3] * b[3] + a[5] * b[5] + 2 * (a[1] * b[1] + a[2] * b[2] + a[4] * b[4])


def linear_from_oklab(oklab: Planes) -> Planes:
    """OkLab to linear-light sRGB; colours outside the gamut come out below 0 or above 1."""
    return mix(LINEAR_FROM_LMS, mix(ROOTS_FROM_OKLAB, oklab) ** 3)


def linear_from_srgb(srgb: Planes) -> Planes:
    """Gamma-encoded sRGB in [0, 1] to linear light in [0, 1] (IEC 61966-2-1)."""
    xp = _namespace(srgb)
    return xp.where(srgb <= 0.04045, srgb / 12.92, ((xp.maximum(srgb, 0.04045) + 0.055) / 1.055) ** 2.4)


def srgb_from_linear(linear: Planes) -> Planes:
    """Linear light to gamma-encoded sRGB, both nominally in [0, 1]; the straight part also serves below 0."""
    xp = _namespace(linear)
    curve = 1.055 * xp.maximum(linear, 0.0031308) ** (1 / 2.4) - 0.055
    return xp.where(linear <= 0.0031308, linear * 12.92, curve)


LINEAR_OF_CODE = linear_from_srgb(np.arange(256) / 255)  # float64 [256]


def linear_from_srgb8(codes: UInt8[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """8-bit sRGB codes to linear light in [0, 1], float32, any layout."""
    return LINEAR_OF_CODE.astype(np.float32)[codes]


def srgb8_from_linear(linear: Float[np.ndarray, "..."]) -> UInt8[np.ndarray, "..."]:
    """Linear light to the nearest 8-bit sRGB code, clipped to the gamut, any layout."""
    return np.rint(255 * np.clip(srgb_from_linear(np.asarray(linear, np.float64)), 0, 1)).astype(np.uint8)


@jax.custom_vjp
def clip_to_gamut(linear: jax.Array) -> jax.Array:
    """Clip to [0, 1]. Gradients that would push further out are dropped; those that lead back in pass, so that a
    colour is never stuck outside."""
    return jnp.clip(linear, 0.0, 1.0)


def _clip_forward(linear: jax.Array) -> tuple[jax.Array, jax.Array]:
    return jnp.clip(linear, 0.0, 1.0), linear


def _clip_backward(linear: jax.Array, gradient: jax.Array) -> tuple[jax.Array]:
    outward = ((linear < 0) & (gradient > 0)) | ((linear > 1) & (gradient < 0))
    return (jnp.where(outward, 0.0, gradient),)


clip_to_gamut.defvjp(_clip_forward, _clip_backward)
