"""Many pictures in one program against each by itself."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffquant import color
from diffquant.assignment import Network, PixelSoftmax, TopK
from diffquant.config import Config
from diffquant.losses import BlurError, Flip, Rate, Scielab, Ssim, Ssimulacra2
from diffquant.pipelines.palette import Palette
from diffquant.training import PlanError, Tiles, fit, fit_batch

EYE = BlurError(sigmas=(1.0,), weights=(1.0,), masking=(0.03,))
SHAPES = [(21, 30), (30, 17), (9, 26)]
KEYS = [jax.random.key(n) for n in range(3)]


def photo(seed, shape):
    h, w = shape
    y, x = np.mgrid[:h, :w] / 30
    smooth = np.stack([60 + 80 * x, 200 * y, 128 + 60 * np.sin(9 * x + 7 * y + seed)], -1)
    return (smooth + np.random.default_rng(seed).normal(0, 6, (h, w, 3))).clip(0, 255).astype(np.uint8)


def begun(settings, shapes):
    """Pipelines and targets."""
    pictures = [photo(seed, shape) for seed, shape in enumerate(shapes)]
    targets = [jnp.asarray(color.linear_from_srgb8(np.ascontiguousarray(np.moveaxis(p, -1, 0)))) for p in pictures]
    return [settings.pipeline.build(p, target) for p, target in zip(pictures, targets, strict=True)], targets


def config(assignment=PixelSoftmax(), losses=None, **more):
    codec = Palette(colors=5, assignment=assignment)
    return Config(pipeline=codec, losses=losses or {"eye": EYE}, steps=4, every=2, **more)


def values(snapshot):
    found = {"palette": np.array(snapshot.pipeline.palette.linear())}
    if hasattr(snapshot.pipeline.assignment, "logits"):
        found["logits"] = np.array(snapshot.pipeline.assignment.logits[...])
    return found


def alone(settings, shapes):
    """The last snapshot of each by itself."""
    for pipeline, target, key in zip(*begun(settings, shapes), KEYS, strict=False):
        *_, last = fit(pipeline, target, settings.plan(), key=key)
        yield last.loss, last.parts, values(last)


def together(settings, shapes, **more):
    *_, last = fit_batch(*begun(settings, shapes), settings.plan(), keys=KEYS[: len(shapes)], **more)
    return last


def assert_equal(snapshot, expected):
    loss, parts, arrays = expected
    assert snapshot.loss == pytest.approx(loss, rel=1e-4)
    assert snapshot.parts == pytest.approx(parts, rel=1e-4)
    for name, found in values(snapshot).items():
        assert found.shape == arrays[name].shape
        # Adam's first steps divide slopes by themselves: a few that are all but 0 take another way.
        assert np.quantile(np.abs(found - arrays[name]), 0.99) < 5e-3, name


@pytest.mark.parametrize(
    ("assignment", "losses"),
    [
        (PixelSoftmax(), {"eye": EYE, "structure": Ssim(weight=0.1)}),
        (TopK(n=3), None),
        (Network(width=8, depth=1), None),
    ],
    ids=["dense", "top-k", "network"],
)
def test_pictures_of_several_sizes_take_the_steps_that_each_takes_alone(assignment, losses):
    settings = config(assignment, losses)
    found = together(settings, SHAPES[:2], size=(32, 48))
    for snapshot, expected in zip(found, alone(settings, SHAPES[:2]), strict=True):
        assert_equal(snapshot, expected)


def test_pictures_of_one_size_may_be_judged_as_a_whole():
    settings = config(losses={"eye": EYE, "rate": Rate(weight=1e-3)})
    shapes = [(19, 26)] * 2
    for snapshot, expected in zip(together(settings, shapes), alone(settings, shapes), strict=True):
        assert_equal(snapshot, expected)


def test_a_picture_does_not_depend_on_its_companions():
    settings = config()
    first, _ = together(settings, SHAPES[:2], size=(32, 32))
    (pipeline, _), (target, _) = begun(settings, SHAPES[:2])
    others, targets = begun(settings, [SHAPES[2]])
    pairs = [pipeline, *others], [target, *targets]
    *_, (again, _) = fit_batch(*pairs, settings.plan(), keys=[KEYS[0], KEYS[2]], size=(32, 32))
    assert again.loss == first.loss
    for name, array in values(first).items():
        np.testing.assert_array_equal(values(again)[name], array)


def test_one_of_many_goes_on_alone():
    settings = config()
    snapshots = fit_batch(*begun(settings, SHAPES[:2]), settings.plan(), keys=KEYS[:2])
    half, _ = next(snapshots)
    *_, (whole, _) = snapshots
    (pipeline, _), (target, _) = begun(settings, SHAPES[:2])
    *_, resumed = fit(pipeline, target, settings.plan(), key=KEYS[0], start=half.state)
    assert_equal(resumed, (whole.loss, whole.parts, values(whole)))


@pytest.mark.parametrize("loss", [Ssimulacra2(), Scielab(), Flip()], ids=lambda loss: type(loss).__name__)
def test_losses_that_look_at_whole_arrays_are_refused_for_several_sizes(loss):
    with pytest.raises(PlanError, match=f"the loss 'judge', {type(loss).__name__}, which looks at whole arrays"):
        together(config(losses={"judge": loss}), SHAPES[:2])


@pytest.mark.parametrize("more", [{"tiles": Tiles()}, {"tolerance": 0.1}], ids=["tiles", "tolerance"])
def test_what_pictures_would_have_to_do_each_for_itself_is_refused(more):
    with pytest.raises(PlanError, match="tiles, tolerance: found one, expected none"):
        together(config(**more), SHAPES[:2])


def test_pipelines_of_several_kinds_are_refused():
    pipelines, targets = begun(config(), SHAPES[:1])
    others, more = begun(config(TopK(n=2)), SHAPES[:1])
    with pytest.raises(ValueError, match="found several kinds, expected one"):
        next(fit_batch(pipelines + others, targets + more, config().plan(), keys=KEYS[:2]))
