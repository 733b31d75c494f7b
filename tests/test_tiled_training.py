"""Descent by tiles against descent on the whole picture: the same steps."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffquant import color
from diffquant.assignment import Network, PixelSoftmax, TopK
from diffquant.config import Config
from diffquant.losses import BlurError, Entropy, Rate, Ssim, Ssimulacra2
from diffquant.pipelines.jpeg import Jpeg
from diffquant.pipelines.palette import Palette
from diffquant.signal.windows import windows
from diffquant.training import Tiles, fit

KEY = jax.random.key(3)
H, W, SIDE = 130, 97, 64
EYE = BlurError(sigmas=(1.0,), weights=(1.0,), masking=(0.03,))
OTHERS = {"structure": Ssim(weight=0.1), "choice": Entropy(weight=0.01)}


@pytest.fixture(scope="module")
def photo():
    y, x = np.mgrid[:H, :W] / H
    smooth = np.stack([60 + 80 * x, 200 * y, 128 + 60 * np.sin(9 * x + 7 * y)], -1)
    return (smooth + np.random.default_rng(0).normal(0, 6, (H, W, 3))).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def target(photo):
    return jnp.asarray(color.linear_from_srgb8(np.ascontiguousarray(np.moveaxis(photo, -1, 0))))


def config(assignment, tiles=None, steps=4, **more):
    codec = Palette(colors=6, assignment=assignment)
    return Config(pipeline=codec, losses={"eye": EYE, **more}, steps=steps, every=2, tiles=tiles)


def snapshots(settings, photo, target, start=None):
    pipeline = settings.pipeline.build(photo, target)
    return fit(pipeline, target, settings.plan(), key=KEY, start=start)


def values(snapshot):
    """Loss, palette and, where pixels have their own, logits; copies."""
    found = {"palette": np.array(snapshot.pipeline.palette.linear())}
    if hasattr(snapshot.pipeline.assignment, "logits"):
        found["logits"] = np.array(snapshot.pipeline.assignment.logits[...])
    return found


@pytest.mark.parametrize(
    ("assignment", "more"),
    [(PixelSoftmax(), OTHERS), (TopK(n=3), {}), (Network(width=8, depth=1), {})],
    ids=["dense", "top-k", "network"],
)
def test_steps_over_all_tiles_are_those_of_the_whole_picture(assignment, more, photo, target):
    """Also at the borders of tiles: so there are no seams."""
    *_, whole = snapshots(config(assignment, **more), photo, target)
    *_, tiled = snapshots(config(assignment, Tiles(side=SIDE), **more), photo, target)
    assert tiled.loss == pytest.approx(whole.loss, rel=1e-5)
    assert tiled.parts == pytest.approx(whole.parts, rel=1e-5)
    for name, expected in values(whole).items():
        # Adam's first steps divide slopes by themselves: a few that are all but 0 take another way.
        assert np.quantile(np.abs(values(tiled)[name] - expected), 0.999) < 5e-3, name


def test_tiles_drawn_at_random_move_as_in_the_whole_picture_and_the_others_stay(photo, target):
    settings = config(PixelSoftmax(), steps=1)
    before = np.array(settings.pipeline.build(photo, target).assignment.logits[...])
    *_, whole = snapshots(settings, photo, target)
    *_, tiled = snapshots(dataclasses.replace(settings, tiles=Tiles(side=SIDE, batch=2)), photo, target)
    found, expected = values(tiled)["logits"], values(whole)["logits"]
    moved = 0
    for tile in windows(H, W, SIDE, 0)[1]:
        here = np.s_[tile.top : tile.top + tile.rows[1], tile.left : tile.left + tile.columns[1]]
        own = np.s_[here[0].start + tile.rows[0] : here[0].stop, here[1].start + tile.columns[0] : here[1].stop]
        if (found[own] == before[own]).all():
            continue
        moved += 1
        assert np.quantile(np.abs(found[own] - expected[own]), 0.999) < 5e-3
    assert moved == 2


def test_random_tiles_bring_the_loss_down_too(photo, target):
    settings = config(Network(width=8, depth=1), Tiles(side=SIDE, batch=2), steps=40)
    first, *_, last = snapshots(settings, photo, target)
    assert last.loss < 0.8 * first.loss


def test_a_descent_by_tiles_continues_bit_for_bit(photo, target):
    settings = config(PixelSoftmax(), Tiles(side=SIDE, batch=2), steps=6)
    run = snapshots(settings, photo, target)
    state = next(run).state
    state = dataclasses.replace(state, arrays={name: np.array(array) for name, array in state.arrays.items()})
    *_, unbroken = run
    expected = values(unbroken)
    *_, resumed = snapshots(settings, photo, target, start=state)
    assert resumed.loss == unbroken.loss
    for name, found in values(resumed).items():
        np.testing.assert_array_equal(found, expected[name])


@pytest.mark.parametrize("loss", [Ssimulacra2(), Rate()], ids=lambda loss: type(loss).__name__)
def test_losses_that_look_at_the_whole_picture_are_refused(loss):
    with pytest.raises(ValueError, match=f"the loss 'judge', {type(loss).__name__}, which looks at the whole picture"):
        Config(losses={"judge": loss}, tiles=Tiles())


def test_a_codec_that_has_no_pixels_of_its_own_is_refused(photo, target):
    settings = Config(pipeline=Jpeg(), losses={"eye": EYE}, steps=2, tiles=Tiles(side=SIDE))
    with pytest.raises(ValueError, match="found a pipeline that renders whole pictures only"):
        next(snapshots(settings, photo, target))


def test_candidates_that_change_are_refused(photo, target):
    with pytest.raises(ValueError, match="found candidates that are refreshed, expected fixed ones"):
        list(snapshots(config(TopK(n=3, refresh=True), Tiles(side=SIDE)), photo, target))


@pytest.mark.parametrize("settings", [{"side": 63}, {"batch": 0}])
def test_tiles_of_no_use_are_refused(settings):
    with pytest.raises(ValueError, match=r"Tiles: found a (side of 63 pixels, expected at least 64|batch of 0)"):
        Tiles(**settings)
