import dataclasses
import io
import typing

import jax
import jax.numpy as jnp
import numpy as np
import optax
import PIL.Image
import pytest
from flax import nnx

from diffquant.config import Config
from diffquant.image import read
from diffquant.interfaces import Rendered
from diffquant.losses import ExpectedImageError, Loss, Rate
from diffquant.runner import finish, stages
from diffquant.schedules import Cosine, Exponential, Linear, value
from diffquant.training import Plan, fit

SHAPE = (3, 5)
KEY = jax.random.key(0)
ERROR = ExpectedImageError(space="linear")


def certain(image, bits=0.0):
    h, w = image.shape[1:]
    zero = jnp.zeros((h, w))
    return Rendered(image=image, covariance=jnp.zeros((6, h, w)), entropy=zero, bits=jnp.asarray(bits, jnp.float32))


class Gain(nnx.Module):
    """A toy codec: the picture times a learned gain for each channel, plus a learned offset.

    Its "bits" show the temperature that it was given.
    """

    def __init__(self, picture, rates=(0.1, 0.1), noise=0.0):
        self.gain = nnx.Param(jnp.ones(3), rate=rates[0])
        self.offset = nnx.Param(jnp.zeros(3), rate=rates[1])
        self.picture = nnx.Variable(picture)
        self.noise = noise

    def render(self, temperature, *, key):
        image = self.picture[...] * self.gain[...][:, None, None] + self.offset[...][:, None, None]
        if self.noise:
            image = image + self.noise * jax.random.normal(key, image.shape)
        return certain(image, bits=temperature)

    def harden(self, target, losses, *, key):
        rendered = self.render(jnp.float32(0), key=key)
        yield (
            1.0,
            RawFile(np.rint(255 * np.clip(np.moveaxis(np.asarray(rendered.image), 0, -1), 0, 1)).astype(np.uint8)),
        )


@dataclasses.dataclass(frozen=True)
class RawFile:
    """Codes as they are, in a bitmap."""

    pixels: np.ndarray

    def decode(self):
        return self.pixels

    def to_bytes(self):
        file = io.BytesIO()
        PIL.Image.fromarray(self.pixels).save(file, "BMP")
        return file.getvalue()


@dataclasses.dataclass(frozen=True, kw_only=True)
class GainCodec:
    """Settings of the toy: it starts from half the picture."""

    def exact(self, pixels):
        return None

    def build(self, pixels, target):
        return Gain(target / 2)


def plan(**changes):
    settings = {
        "losses": (("error", ERROR),),
        "steps": 6,
        "every": 3,
        "temperature": 1.0,
        "rate": 1.0,
        "b1": 0.9,
        "b2": 0.999,
        "tolerance": None,
    }
    return Plan(**settings | changes)


def picture(seed=0):
    return jnp.asarray(np.random.default_rng(seed).uniform(0.2, 0.8, (3, *SHAPE)), jnp.float32)


def parameters(pipeline):
    return {name: np.asarray(getattr(pipeline, name)[...]) for name in ("gain", "offset")}


def test_the_loss_falls():
    target = picture()
    losses = [snapshot.loss for snapshot in fit(Gain(target / 2), target, plan(steps=60, every=20), key=KEY)]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.02 * float(ERROR(certain(target / 2), target))


def test_steps_are_those_of_adam():
    # The oracle: optax.adam, one step at a time, with gradients by hand.
    target, start = np.asarray(picture(), float), np.asarray(picture(1), float)
    values = {"gain": np.ones(3), "offset": np.zeros(3)}
    adam = optax.adam(0.1)
    state = adam.init(values)
    for _ in range(6):
        error = 2 * (start * values["gain"][:, None, None] + values["offset"][:, None, None] - target) / np.prod(SHAPE)
        gradient = {"gain": (error * start).sum(axis=(1, 2)), "offset": error.sum(axis=(1, 2))}
        updates, state = adam.update(gradient, state)
        values = {name: values[name] + np.asarray(updates[name]) for name in values}
    *_, last = fit(Gain(picture(1)), picture(), plan(), key=KEY)
    for name, expected in values.items():
        np.testing.assert_allclose(parameters(last.pipeline)[name], expected, rtol=1e-4, atol=1e-5)


def test_a_snapshot_follows_every_chunk_also_a_shorter_last_one():
    target = picture()
    snapshots = list(fit(Gain(target / 2), target, plan(steps=7), key=KEY))
    assert [snapshot.step for snapshot in snapshots] == [3, 6, 7]
    assert {snapshot.steps for snapshot in snapshots} == {7}
    assert all(snapshot.parts == {"error": snapshot.loss} for snapshot in snapshots)


def test_chunks_change_nothing():
    target = picture()
    ends = [list(fit(Gain(target / 2, noise=0.1), target, plan(every=every), key=KEY))[-1] for every in (2, 3)]
    assert ends[0].loss == pytest.approx(ends[1].loss, rel=1e-5)
    np.testing.assert_allclose(ends[0].pipeline.gain[...], ends[1].pipeline.gain[...], rtol=1e-5)


def test_no_steps_give_no_snapshots():
    assert list(fit(Gain(picture()), picture(), plan(steps=0), key=KEY)) == []


def test_a_rate_of_zero_holds_one_parameter_while_the_other_moves():
    target = picture()
    *_, last = fit(Gain(target / 2, rates=(0.0, 0.2)), target, plan(), key=KEY)
    np.testing.assert_array_equal(last.pipeline.gain[...], 1)
    assert np.abs(last.pipeline.offset[...]).min() > 0.05


def test_the_rate_of_the_plan_multiplies_those_of_the_parameters():
    # Adam's first step is the rate itself, against the gradient.
    target = picture()
    *_, last = fit(Gain(target / 2, rates=(0.2, 0.03)), target, plan(steps=1, rate=0.5), key=KEY)
    np.testing.assert_allclose(last.pipeline.gain[...], 1 + 0.1, rtol=1e-4)
    np.testing.assert_allclose(last.pipeline.offset[...], 0.015, rtol=1e-4)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cliff(Loss):
    """The mean of the picture, NaN below `edge`."""

    edge: float = 0.65

    def __call__(self, rendered, target):
        mean = jnp.mean(rendered.image)
        return jnp.where(mean < self.edge, jnp.nan, mean)


@pytest.mark.parametrize("every", [2, 3])
def test_a_loss_that_is_not_a_number_names_its_step(every):
    # A constant gradient: Adam moves the mean from 1 down by its rate, 0.1 a step. Step 4 is the first to see 0.6.
    falling = Gain(jnp.ones((3, *SHAPE)), rates=(0.1, 0.0))
    run = fit(falling, picture(), plan(losses=(("cliff", Cliff()),), every=every), key=KEY)
    with jax.debug_nans(False), pytest.raises(FloatingPointError, match=r"the loss is nan at step 4: cliff = nan"):
        list(run)


def test_tolerance_stops_when_a_chunk_brings_little():
    target = picture()
    still = fit(Gain(target / 2, rates=(0.0, 0.0)), target, plan(steps=30, tolerance=0.01), key=KEY)
    assert [snapshot.step for snapshot in still] == [3, 6]
    moving = fit(Gain(target / 2), target, plan(steps=9, tolerance=0.01), key=KEY)
    assert [snapshot.step for snapshot in moving] == [3, 6, 9]


def test_schedules_of_temperature_and_weight_run_from_start_to_end():
    target = picture()
    losses = (("error", dataclasses.replace(ERROR, weight=Linear(1.0, 0.0))), ("heat", Rate(weight=Linear(0.0, 2.0))))
    still = Gain(target / 2, rates=(0.0, 0.0))
    settings = plan(losses=losses, steps=5, every=1, temperature=Exponential(8.0, 0.5))
    snapshots = list(fit(still, target, settings, key=KEY))
    heats = np.array([snapshot.parts["heat"] for snapshot in snapshots]) * np.prod(SHAPE)
    np.testing.assert_allclose(heats, [8, 4, 2, 1, 0.5], rtol=1e-5)
    error, heat = (np.array([snapshot.parts[name] for snapshot in snapshots]) for name in ("error", "heat"))
    expected = np.linspace(1, 0, 5) * error + np.linspace(0, 2, 5) * heat
    np.testing.assert_allclose([snapshot.loss for snapshot in snapshots], expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("schedule", "values"),
    [
        (3, (3, 3, 3)),
        (Linear(2.0, 4.0), (2, 3, 4)),
        (Exponential(4.0, 1.0), (4, 2, 1)),
        (Cosine(4.0, 2.0), (4, 3, 2)),
    ],
    ids=repr,
)
def test_schedules_take_their_values_at_the_start_in_the_middle_and_at_the_end(schedule, values):
    assert [float(value(schedule, jnp.float32(at))) for at in (0, 0.5, 1)] == pytest.approx(values, rel=1e-6)


def test_a_cosine_is_slow_at_both_ends():
    quarter = float(Cosine(1.0, 0.0)(jnp.float32(0.25)))
    assert quarter == pytest.approx((1 + np.sqrt(0.5)) / 2, rel=1e-6)


def test_exponential_schedules_are_positive():
    with pytest.raises(ValueError, match=r"found 1.0 to 0.0, expected positive"):
        Exponential(1.0, 0.0)


def test_the_key_decides_all_chance_and_every_step_has_its_own():
    target = picture()

    def run(key):
        snapshots = list(fit(Gain(target, noise=0.1, rates=(0.0, 0.0)), target, plan(steps=4, every=1), key=key))
        return [snapshot.loss for snapshot in snapshots]

    first = run(KEY)
    assert first == run(KEY)
    assert len(set(first)) == 4
    assert set(first).isdisjoint(run(jax.random.key(1)))


def test_a_codec_without_a_palette_is_trained_and_hardened_all_the_same():
    pixels = np.random.default_rng(0).integers(0, 256, (*SHAPE, 3), np.uint8)

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class ToyConfig(Config):
        pipeline: typing.Any = GainCodec()

    config = ToyConfig(losses={"error": ERROR}, steps=30, every=10)
    seen = list(stages(read(pixels), config))
    assert [(stage.name, round(stage.share, 2)) for stage in seen] == [
        *(("relax", 0.0), ("relax", 0.33), ("relax", 0.67), ("relax", 1.0)),
        ("harden", 1.0),
    ]
    assert seen[3].loss < 0.5 * seen[1].loss
    result = finish(read(pixels), seen[-1].artifact, started=0.0, names=())
    np.testing.assert_array_equal(result.image, seen[-1].artifact.decode())
