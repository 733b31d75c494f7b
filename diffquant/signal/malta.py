"""Butteraugli's Malta filter: a difference counts the more, the longer the line that it lies on.

libjxl 0.11, lib/jxl/butteraugli/butteraugli.cc: sums along sixteen short lines through each pixel, squared and added. A
line is symmetric about the pixel, so summing along it is its own adjoint.
"""

import functools
from collections.abc import Iterable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Tap = tuple[int, int]  # rows and columns from the pixel
Line = tuple[Tap, ...]  # all but the pixel itself

RADIUS = 4  # of the longest line


def _turned(*half: Tap) -> list[Line]:
    """The line through these taps, their opposites and the pixel, in every direction that it can have: two or four."""
    lines: list[Line] = []
    for turn in (lambda y, x: (y, x), lambda y, x: (y, -x), lambda y, x: (x, y), lambda y, x: (-x, y)):
        taps = {turn(y, x) for y, x in half}
        line = tuple(sorted(taps | {(-y, -x) for y, x in taps}))
        if line not in lines:
            lines.append(line)
    return lines


# Every pixel of a line, for the finest band; every other one for the rest.
DENSE = (
    *_turned((0, 1), (0, 2), (0, 3), (0, 4)),
    *_turned((1, 1), (2, 2), (3, 3)),
    *_turned((0, 1), (1, 2), (1, 3), (1, 4)),
    *_turned((0, 1), (1, 2), (1, 3), (1, 4)),  # these four count twice
    *_turned((1, 1), (1, 2), (2, 3)),
)
SPARSE = (
    *_turned((0, 2), (0, 4)),
    *_turned((2, 2), (3, 3)),
    *_turned((1, 2), (1, 4)),
    *_turned((1, 2), (2, 3)),
    *_turned((1, 2), (2, 4)),
)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def line_energy(planes: Float[Array, "n h w"], lines: tuple[Line, ...]) -> Float[Array, "h w"]:
    """At each pixel the squares of the sums along the `lines` through it, added over lines and planes; 0 outside."""
    return _energy(planes, lines)


@functools.partial(jax.jit, static_argnums=1)
def _energy(planes: Array, lines: tuple[Line, ...]) -> Array:
    _, h, w = planes.shape

    def add(total: Array, plane: Array) -> tuple[Array, None]:
        padded = jnp.pad(plane, RADIUS)

        def along(line: Line) -> Array:
            starts = ((RADIUS + y, RADIUS + x) for y, x in line)
            return _sum([plane, *(jax.lax.slice(padded, (y, x), (y + h, x + w)) for y, x in starts)])

        return jax.lax.add(total, _sum(jax.lax.square(along(line)) for line in lines)), None

    return jax.lax.scan(add, jnp.zeros((h, w), planes.dtype), planes)[0]


def _forward(planes: Array, lines: tuple[Line, ...]) -> tuple[Array, Array]:
    return _energy(planes, lines), planes


@functools.partial(jax.jit, static_argnums=0)
def _backward(lines: tuple[Line, ...], planes: Array, gradient: Array) -> tuple[Array]:
    """Twice the sums along each line, weighted by the gradient, and summed along the same line again.

    Lines are a loop, and what is weighted goes through a buffer: fused, it would be computed anew for each tap.
    """
    _, h, w = planes.shape
    middle = (RADIUS, RADIUS)
    margins = jnp.zeros((h + 2 * RADIUS, w + 2 * RADIUS), planes.dtype)

    def pull(plane: Array) -> Array:
        padded = jax.lax.dynamic_update_slice(margins, plane, middle)

        def add(starts: Array, totals: tuple[Array, Array]) -> tuple[Array, Array]:
            total, buffer = totals

            def along(source: Array) -> Array:
                return _sum(jax.lax.dynamic_slice(source, start, (h, w)) for start in starts)

            buffer = jax.lax.dynamic_update_slice(buffer, along(padded) * gradient, middle)
            return total + along(buffer), buffer

        totals = (jnp.zeros_like(plane), margins)
        for taps in sorted({len(line) for line in lines}):
            table = jnp.array([((0, 0), *line) for line in lines if len(line) == taps], jnp.int32) + RADIUS
            totals = jax.lax.fori_loop(0, len(table), lambda i, t, table=table: add(table[i], t), totals)
        return 2 * totals[0]

    return (jax.lax.map(pull, planes),)


def _sum(terms: Iterable[Array]) -> Array:
    return functools.reduce(jax.lax.add, terms)


line_energy.defvjp(_forward, _backward)
