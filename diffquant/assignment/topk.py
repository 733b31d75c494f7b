"""Free logits at every pixel, but for the nearest entries only."""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int, Integer

from diffquant import color
from diffquant.assignment.relaxation import AnyRelaxation, Expectation
from diffquant.interfaces import Scalar
from diffquant.signal.mesh import by_rows

STRIP = 4  # rows searched at once: what is kept of them fits a CPU's cache


@dataclasses.dataclass(frozen=True, kw_only=True)
class TopK:
    """A softmax over the `n` palette entries that are nearest in OkLab to the pixel's own colour.

    Memory and time grow with `n`, hardly with the palette: with 256 entries and 8 candidates logits and Adam's moments
    take a 32nd of `PixelSoftmax`. `rate` and `sharpness` are as there.

    With `refresh` the candidates follow the palette: between chunks of training those that are nearest by then replace
    the others. That has brought nothing: who is replaced has often become useful, and newcomers begin anew.
    """

    n: int = 8
    rate: float = 1.0
    sharpness: float = 4.0
    relaxation: AnyRelaxation = Expectation()
    refresh: bool = False

    def __post_init__(self) -> None:
        if self.n < 1:
            raise ValueError(f"TopK: found n = {self.n}, expected at least 1")

    def build(self, target: Float[Array, "3 h w"], palette: Float[Array, "k 3"]) -> "TopKAssignment":
        """Candidates and logits by the OkLab distances of `target`, in linear light, to `palette`, in OkLab."""
        candidates = nearest_entries(target, palette, min(self.n, len(palette)))
        logits = _logits_by_distance(target, palette, candidates, self.sharpness)
        return _assignment(logits, candidates, len(palette), self)


@functools.partial(jax.jit, static_argnums=2)
def nearest_entries(target: Float[Array, "3 h w"], palette: Float[Array, "k 3"], n: int) -> Integer[Array, "h w n"]:
    """Indices of the `n` entries of `palette`, in OkLab, that are nearest to each pixel of `target`, in linear light.

    The nearest first; which of two that are 1 / 2^15 of their squared distance apart is the nearer is left to chance.
    One entry after another is held against the best so far: never are all distances there at once.
    """
    k, w = len(palette), target.shape[2]
    low = (1 << (k - 1).bit_length()) - 1  # bits of a key that hold the index, below those of the distance

    def row(planes: Float[Array, "3 w"], palette: Float[Array, "k 3"]) -> Int[Array, "n w"]:
        distance = sum(
            (plane - entries[:, None]) ** 2 for plane, entries in zip(planes[:, None], palette.T, strict=True)
        )
        keys = jax.lax.bitcast_convert_type(distance, jnp.int32) & ~low | jnp.arange(k)[:, None]  # in the same order

        def insert(best: Int[Array, "n w"], key: Int[Array, " w"]) -> tuple[Int[Array, "n w"], None]:
            nearer = jnp.concatenate([jnp.full((1, w), -1), best[:-1]])
            return jnp.minimum(best, jnp.maximum(nearer, key[None])), None

        return jax.lax.scan(insert, jnp.full((n, w), np.iinfo(np.int32).max), keys)[0] & low

    rows = jnp.stack(color.oklab_planes(target), axis=1)
    found = by_rows(row, rows, palette, batch_size=STRIP)
    return jnp.moveaxis(found, 1, -1).astype(np.min_scalar_type(k - 1))


def _at(values: Float[Array, "k *d"], candidates: Integer[Array, "*n"]) -> Float[Array, "..."]:
    return values.at[candidates].get(mode="promise_in_bounds")


@jax.jit
def _logits_by_distance(
    target: Float[Array, "3 h w"],
    palette: Float[Array, "k 3"],
    candidates: Integer[Array, "h w n"],
    sharpness: Scalar | float,
) -> Float[Array, "h w n"]:
    """`target` is linear light, `palette` OkLab."""
    planes = color.oklab_planes(target)
    distance = sum((plane[..., None] - _at(palette[:, i], candidates)) ** 2 for i, plane in enumerate(planes))
    return -distance / jnp.maximum(sharpness * jnp.mean(jnp.min(distance, axis=-1)), 1e-8)


@jax.custom_vjp
def sparse_expectation(
    weights: Float[Array, "h w n"], candidates: Integer[Array, "h w n"], values: Float[Array, "k d"]
) -> Float[Array, "d h w"]:
    """Weighted sums of the candidates' rows of `values`, as planes."""

    def row(own: tuple[Float[Array, "w n"], Integer[Array, "w n"]], values: Float[Array, "k d"]) -> Float[Array, "d w"]:
        weights, candidates = own
        return sum(w * _at(values, c).T for w, c in zip(weights.T[:, None], candidates.T, strict=True))

    return jnp.moveaxis(by_rows(row, (weights, candidates), values), 1, 0)


def _forward(weights: Array, candidates: Array, values: Array) -> tuple[Array, tuple[Array, Array, Array]]:
    return sparse_expectation(weights, candidates, values), (weights, candidates, values)


def _backward(saved: tuple[Array, Array, Array], gradient: Array) -> tuple[Array, None, Array]:
    weights, candidates, values = saved

    def row(own: tuple[Float[Array, "d w"], Integer[Array, "w n"]], values: Float[Array, "k d"]) -> Float[Array, "w n"]:
        planes, candidates = own
        return sum(plane[:, None] * _at(values[:, i], candidates) for i, plane in enumerate(planes))

    # Row by row, or XLA would gather once more, number by number, in the sums of the softmax's gradient: on a CPU 17 ms
    # against 105. Plane by plane: it adds up numbers ten times faster than rows of `values`, and never holds [h w n d].
    of_weights = by_rows(row, (jnp.moveaxis(gradient, 1, 0), candidates), values)
    of_values = jax.lax.map(lambda plane: _totals(weights * plane[..., None], candidates, len(values)), gradient)
    return of_weights, None, of_values.T


sparse_expectation.defvjp(_forward, _backward)


def _totals(weights: Float[Array, "h w n"], candidates: Integer[Array, "h w n"], k: int) -> Float[Array, " k"]:
    """Sum of the weights of each entry."""
    return jnp.zeros(k).at[candidates.reshape(-1)].add(weights.reshape(-1), mode="promise_in_bounds")


@jax.jit
def _refreshed(
    logits: Float[Array, "h w n"],
    old: Integer[Array, "h w n"],
    target: Float[Array, "3 h w"],
    palette: Float[Array, "k 3"],
    sharpness: Scalar | float,
) -> tuple[Float[Array, "h w n"], Integer[Array, "h w n"]]:
    """New logits and candidates."""
    new = nearest_entries(target, palette, logits.shape[-1])
    start = _logits_by_distance(target, palette, new, sharpness)
    kept = functools.reduce(jnp.logical_or, (new == each for each in _places(old)))
    carried = _carried(logits, old, new)

    def total(x: Array) -> Array:
        return jax.nn.logsumexp(x, axis=-1, keepdims=True, where=kept)

    # Logits drift together, which changes nothing: a newcomer keeps its start's share against all that stay.
    drift = jnp.where(jnp.any(kept, axis=-1, keepdims=True), total(carried) - total(start), 0)
    return jnp.where(kept, carried, start + drift), new


def _places(values: Array) -> list[Array]:
    """The values [h w 1] at each place among the candidates."""
    return jnp.split(values, values.shape[-1], axis=-1)


@jax.jit
def _carried(
    values: Float[Array, "h w n"], old: Integer[Array, "h w n"], new: Integer[Array, "h w n"]
) -> Float[Array, "h w n"]:
    """The values of the old candidates at the new ones; 0 for those that were not among them."""
    result = jnp.zeros_like(values)
    for candidate, value in zip(_places(old), _places(values), strict=True):
        result = jnp.where(new == candidate, value, result)
    return result


class TopKAssignment(nnx.Module):
    """Params: logits [h w n]. Buffers: candidates [h w n]. A distribution over some of the `entries` at each pixel."""

    def __init__(self, logits: nnx.Param, candidates: nnx.Variable, entries: int, spec: TopK) -> None:
        self.logits = logits
        self.candidates = candidates
        self.entries = entries
        self.spec = spec

    def refreshed(
        self, target: Float[Array, "3 h w"], palette: Float[Array, "k 3"]
    ) -> tuple["TopKAssignment", Callable[[Array], Array]] | None:
        """With the candidates nearest to `target`, in linear light, in `palette`, in OkLab; None if they are fixed.

        Those that stay keep their logits. Newcomers get them by distance, against all that stay as at the start. Also
        returned is what carries moments [h w n] over: those of newcomers are 0.
        """
        if not self.spec.refresh:
            return None
        old = self.candidates[...]
        logits, new = _refreshed(self.logits[...], old, target, palette, self.spec.sharpness)
        return _assignment(logits, new, self.entries, self.spec), lambda moments: _carried(moments, old, new)

    def weights(self, temperature: Scalar, *, key: jax.Array) -> Float[Array, "h w n"]:
        """What the relaxation makes of the logits."""
        return self.spec.relaxation(self.logits[...], temperature, key=key)

    def expect(
        self, values: Float[Array, "k d"], temperature: Scalar, *, key: jax.Array
    ) -> tuple[Float[Array, "d h w"], Float[Array, "h w"], Float[Array, " k"]]:
        """Expected `values` at each pixel; entropy at each pixel, in bits; share of each entry in the whole image."""
        weights, candidates = self.weights(temperature, key=key), self.candidates[...]
        entropy = -jnp.sum(weights * jnp.log2(jnp.maximum(weights, 1e-12)), axis=-1)
        usage = _totals(weights, candidates, self.entries) / entropy.size
        return sparse_expectation(weights, candidates, values), entropy, usage

    def mode(self) -> Int[Array, "h w"]:
        """The likeliest candidate: the cold limit."""
        return self._entry(jnp.argmax(self.logits[...], axis=-1))

    def sample(self, temperature: Scalar, *, key: jax.Array) -> Int[Array, "h w"]:
        """One independent draw at each pixel."""
        return self._entry(jax.random.categorical(key, self.logits[...] / temperature, axis=-1))

    def threshold(self, temperature: Scalar, mask: Float[Array, "h w"]) -> Int[Array, "h w"]:
        """The entry at which the cumulative distribution, in the palette's order, passes the `mask`'s threshold."""
        order = jnp.argsort(self.candidates[...], axis=-1)
        weights = jax.nn.softmax(self.logits[...] / temperature, axis=-1)
        cumulative = jnp.cumsum(jnp.take_along_axis(weights, order, axis=-1), axis=-1)
        place = jnp.minimum(jnp.sum(cumulative < mask[..., None], axis=-1), order.shape[-1] - 1)
        return self._entry(jnp.take_along_axis(order, place[..., None], axis=-1)[..., 0])

    def _entry(self, place: Int[Array, "h w"]) -> Int[Array, "h w"]:
        """The palette's index of the candidate at a place among the others."""
        chosen = jnp.take_along_axis(self.candidates[...], place[..., None], axis=-1)
        return chosen[..., 0].astype(jnp.int32)


def _assignment(
    logits: Float[Array, "h w n"], candidates: Integer[Array, "h w n"], entries: int, spec: TopK
) -> TopKAssignment:
    param = nnx.Param(logits, rate=spec.rate, rows=0, columns=1)
    return TopKAssignment(param, nnx.Variable(candidates, rows=0, columns=1), entries, spec)
