"""A small network that makes each pixel's logits: no parameters of a pixel's own."""

import dataclasses
import itertools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from diffquant import color
from diffquant.assignment.features import AnyFeatures, Fourier
from diffquant.assignment.relaxation import AnyRelaxation, Expectation
from diffquant.interfaces import Scalar

STRIP = 16  # rows worked on at once
LAST = 0.01  # of the usual deviation: the last layer starts near 0, but all layers have a slope
CENTER, SPREAD = (0.5, 0.0, 0.0), (0.25, 0.1, 0.1)  # typical of OkLab: brings the network's inputs to about unit size


@dataclasses.dataclass(frozen=True, kw_only=True)
class Network:
    """Logits by a multilayer perceptron of `depth` hidden layers of `width`, from the `features` of the pixel's place.

    The number of parameters does not grow with the picture. Rows are worked on in strips, whose logits are made anew
    for the gradient: those of the whole picture are never there at once.

    With `local` the network also sees the pixel's OkLab colour and its 3x3 neighbourhood's mean, and adds to logits
    -d^2 / (sharpness * m) by distance to the first palette, as `PixelSoftmax` starts. Without, it knows nothing but the
    place: it starts all but uniform and has to learn the picture itself. `rate` is that of all its parameters.
    """

    features: AnyFeatures = Fourier()
    width: int = 64
    depth: int = 2
    local: bool = True
    rate: float = 2e-2
    sharpness: float = 4.0
    relaxation: AnyRelaxation = Expectation()
    seed: int = 0

    def __post_init__(self) -> None:
        if self.width < 1 or self.depth < 0:
            found = f"width {self.width} and depth {self.depth}"
            raise ValueError(f"Network: found {found}, expected a width of at least 1 and a depth of at least 0")

    def build(self, target: Float[Array, "3 h w"], palette: Float[Array, "k 3"]) -> "NetworkAssignment":
        """A network for a `target` in linear light and a `palette` in OkLab; weights are drawn with `seed`."""
        h, w = target.shape[1:]
        random = np.random.default_rng(self.seed)
        features = self.features.build(random, self.rate)
        prior = Prior(target, palette, self.sharpness) if self.local else None
        sizes = [features.size + (6 if self.local else 0), *[self.width] * self.depth, len(palette)]
        layers = []
        for number, (size, out) in enumerate(itertools.pairwise(sizes)):
            deviation = math.sqrt(2 / size) * (LAST if number == self.depth else 1)
            weights = jnp.asarray(deviation * random.normal(size=(size, out)), jnp.float32)
            layers.append(Layer(nnx.Param(weights, rate=self.rate), nnx.Param(jnp.zeros(out), rate=self.rate)))
        x, y = (np.arange(n, dtype=np.float32) + np.float32(0.5) for n in (w, h))
        places = Places(x / np.float32(max(h, w)), y / np.float32(max(h, w)))
        return NetworkAssignment(places, features, prior, layers, self.relaxation)


class Layer(nnx.Module):
    """Params: weights [i o], biases [o]."""

    def __init__(self, weights: nnx.Param, biases: nnx.Param) -> None:
        self.weights = weights
        self.biases = biases

    def __call__(self, inputs: Float[Array, "w i"]) -> Float[Array, "w o"]:
        """Affine."""
        return inputs @ self.weights[...] + self.biases[...][None]


class Places(nnx.Module):
    """Buffers: x [w], y [h], of the pixels' centres; the picture's longer side is 1."""

    def __init__(self, x: Float[np.ndarray, " w"], y: Float[np.ndarray, " h"]) -> None:
        self.x = nnx.Variable(jnp.asarray(x), columns=0)
        self.y = nnx.Variable(jnp.asarray(y), rows=0)


class Prior(nnx.Module):
    """What colour says. Buffers: planes [6 h w], palette [k 3], spread: OkLab; the last three planes are means."""

    def __init__(self, target: Float[Array, "3 h w"], palette: Float[Array, "k 3"], sharpness: float) -> None:
        planes, spread = _planes_and_spread(target, palette, sharpness)
        self.planes = nnx.Variable(planes, rows=1, columns=2)
        self.palette = nnx.Variable(palette)
        self.spread = nnx.Variable(spread)

    def inputs(self, row: Float[Array, "6 w"]) -> Float[Array, "w 6"]:
        """For the network."""
        return (row.T - jnp.asarray(CENTER * 2)[None]) / jnp.asarray(SPREAD * 2)[None]

    def logits(self, row: Float[Array, "6 w"]) -> Float[Array, "w k"]:
        """By distance."""
        return -_distances(row[:3], self.palette[...]) / self.spread[...]


def _distances(row: Float[Array, "3 w"], palette: Float[Array, "k 3"]) -> Float[Array, "w k"]:
    return sum((plane[:, None] - entries[None]) ** 2 for plane, entries in zip(row, palette.T, strict=True))


@jax.jit
def _planes_and_spread(
    target: Float[Array, "3 h w"], palette: Float[Array, "k 3"], sharpness: Scalar | float
) -> tuple[Float[Array, "6 h w"], Scalar]:
    """Colours and means of 3x3 pixels, edges repeated; what squared distances are divided by."""
    oklab = color.oklab_from_linear(target)
    padded = jnp.pad(oklab, ((0, 0), (1, 1), (1, 1)), mode="edge")
    rows = padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]
    mean = (rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]) / 9
    nearest = jax.lax.map(lambda row: jnp.min(_distances(row, palette), axis=-1), jnp.moveaxis(oklab, 1, 0))
    return jnp.concatenate([oklab, mean]), jnp.maximum(sharpness * jnp.mean(nearest), 1e-8)


class NetworkAssignment(nnx.Module):
    """Modules: places, features, prior or None, layers. A distribution over the palette at each pixel."""

    def __init__(
        self, places: Places, features: Any, prior: Any, layers: list[Layer], relaxation: AnyRelaxation
    ) -> None:
        self.places = places
        self.features = features
        self.prior = prior
        self.layers = nnx.List(layers)
        self.relaxation = relaxation

    def _logits(self, y: Scalar, row: Float[Array, "6 w"] | None) -> Float[Array, "w k"]:
        """Of a row, from its height and what colour says of it."""
        inputs = self.features(self.places.x[...], y)
        if row is None:
            return self._perceptron(inputs)
        return self._perceptron(jnp.concatenate([inputs, self.prior.inputs(row)], axis=1)) + self.prior.logits(row)

    def _perceptron(self, inputs: Float[Array, "w i"]) -> Float[Array, "w k"]:
        *hidden, last = self.layers
        for layer in hidden:
            inputs = jax.nn.relu(layer(inputs))
        return last(inputs)

    def _by_rows(self, each: Callable[..., Any], *more: Any) -> Any:
        """What `each` makes of the logits [w k] of every row, and of that row of `more`; by strips."""

        @jax.checkpoint
        def row(inputs: Any) -> Any:
            y, planes, more = inputs
            return each(self._logits(y, planes), *more)

        planes = None if self.prior is None else jnp.moveaxis(self.prior.planes[...], 1, 0)
        return jax.lax.map(row, (self.places.y[...], planes, more), batch_size=STRIP)

    def expect(
        self, values: Float[Array, "k d"], temperature: Scalar, *, key: jax.Array
    ) -> tuple[Float[Array, "d h w"], Float[Array, "h w"], Float[Array, " k"]]:
        """Expected `values` at each pixel; entropy at each pixel, in bits; share of each entry in the whole image."""

        def row(logits: Float[Array, "w k"], key: jax.Array) -> tuple[Array, Array, Array]:
            weights = self.relaxation(logits[None], temperature, key=key)[0]
            entropy = -jnp.sum(weights * jnp.log2(jnp.maximum(weights, 1e-12)), axis=-1)
            return (weights @ values).T, entropy, jnp.mean(weights, axis=0)

        moments, entropy, usage = self._by_rows(row, jax.random.split(key, len(self.places.y)))
        return jnp.moveaxis(moments, 1, 0), entropy, jnp.mean(usage, axis=0)

    def mode(self) -> Int[Array, "h w"]:
        """The likeliest entry: the cold limit."""
        return self._by_rows(lambda logits: jnp.argmax(logits, axis=-1))

    def sample(self, temperature: Scalar, *, key: jax.Array) -> Int[Array, "h w"]:
        """One independent draw at each pixel."""
        keys = jax.random.split(key, len(self.places.y))
        return self._by_rows(lambda logits, key: jax.random.categorical(key, logits / temperature, axis=-1), keys)

    def threshold(self, temperature: Scalar, mask: Float[Array, "h w"]) -> Int[Array, "h w"]:
        """The entry at which the cumulative distribution passes the `mask`'s threshold in (0, 1)."""

        def row(logits: Float[Array, "w k"], mask: Float[Array, " w"]) -> Int[Array, " w"]:
            cumulative = jnp.cumsum(jax.nn.softmax(logits / temperature, axis=-1), axis=-1)
            return jnp.minimum(jnp.sum(cumulative < mask[:, None], axis=-1), logits.shape[-1] - 1)

        return self._by_rows(row, mask)
