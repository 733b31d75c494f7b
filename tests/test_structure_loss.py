import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from PIL import Image

from diffquant import metrics
from diffquant.color import linear_from_srgb8
from diffquant.interfaces import Rendered
from diffquant.losses.structure import MultiScaleSsim, Ssim

GOLDEN = Path(__file__).parent / "golden"
PAIRS = json.loads((GOLDEN / "golden.json").read_text())["pairs"]
LOSSES = [Ssim(), MultiScaleSsim()]
METRICS = {Ssim: metrics.ssim, MultiScaleSsim: metrics.ms_ssim}  # the oracle: NumPy and SciPy, by cosine transforms
each_loss = pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)


def read(name):
    return np.asarray(Image.open(GOLDEN / name).convert("RGB"))


def noise(seed, h, w):
    return np.random.default_rng(seed).integers(0, 256, (h, w, 3), np.uint8)


def planes(pixels):
    return jnp.asarray(linear_from_srgb8(np.moveaxis(pixels, 2, 0)))


def judge(loss, image, target):
    h, w = target.shape[1:]
    rendered = Rendered(image=image, covariance=jnp.zeros((6, h, w)), entropy=jnp.zeros((h, w)), bits=jnp.zeros(()))
    return loss(rendered, target)


judged = jax.jit(judge, static_argnums=0)
judged_with_gradient = jax.jit(jax.value_and_grad(judge, argnums=1), static_argnums=0)


@each_loss
@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair["distortion"])
def test_one_minus_the_loss_is_the_metric(loss, pair):
    reference, decoded = read(pair["ref"]), read(pair["dis"])
    expected = METRICS[type(loss)](reference, decoded)
    assert 1 - float(judged(loss, planes(decoded), planes(reference))) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(("h", "w"), [(1, 1), (7, 15), (30, 21)])
def test_one_minus_the_loss_is_ssim_at_every_size(h, w):
    reference, decoded = noise(0, h, w), noise(1, h, w)
    expected = metrics.ssim(reference, decoded)
    assert 1 - float(judged(Ssim(), planes(decoded), planes(reference))) == pytest.approx(expected, abs=1e-4)


def test_one_minus_the_loss_is_ms_ssim_at_odd_sizes():
    reference, decoded = noise(0, 179, 193), np.clip(noise(0, 179, 193) // 2 + noise(1, 179, 193) // 3, 0, 255)
    expected = metrics.ms_ssim(reference, decoded)
    assert 1 - float(judged(MultiScaleSsim(), planes(decoded), planes(reference))) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(("side", "scales"), [(21, 1), (22, 2), (44, 3)])
def test_scales_without_a_whole_window_are_left_out(side, scales):
    reference, decoded = planes(noise(0, side, side + 3)), planes(noise(0, side, side + 3) // 2 + 30)
    weights = MultiScaleSsim().scale_weights
    kept = tuple(weight / sum(weights[:scales]) * sum(weights) for weight in weights[:scales])
    expected = judged(MultiScaleSsim(scale_weights=kept), decoded, reference)
    assert float(judged(MultiScaleSsim(), decoded, reference)) == pytest.approx(float(expected), abs=1e-6)


@each_loss
@pytest.mark.parametrize(("h", "w"), [(1, 1), (24, 29)])
def test_equal_images_lose_nothing_and_have_a_finite_gradient(loss, h, w):
    image = planes(noise(0, h, w))
    value, gradient = judged_with_gradient(loss, image, image)
    assert float(value) == pytest.approx(0, abs=1e-5)
    assert np.isfinite(gradient).all()


@each_loss
def test_flat_and_black_images_have_a_finite_gradient(loss):
    target = planes(noise(0, 25, 33))
    for image in (jnp.zeros_like(target), jnp.ones_like(target), jnp.full_like(target, 0.2)):
        for pair in ((image, target), (target, image), (image, image)):
            value, gradient = judged_with_gradient(loss, *pair)
            assert np.isfinite(value)
            assert np.isfinite(gradient).all()


def test_a_negative_has_a_gradient_that_leads_back():
    target = planes(noise(0, 25, 33))
    negative = planes(255 - noise(0, 25, 33))
    value, gradient = judged_with_gradient(MultiScaleSsim(), negative, target)
    direction = target - negative
    assert 0.9 < float(value) <= 1
    assert float((gradient * direction).sum()) < 0


@each_loss
def test_gradients_match_finite_differences(loss):
    target = planes(noise(0, 24, 29) // 2 + 64)
    image = planes(noise(0, 24, 29) // 3 + noise(1, 24, 29) // 5 + 64)
    function = jax.jit(lambda x: judge(loss, x, target))
    check_grads(function, (image,), order=1, modes=["rev"], eps=2e-3, atol=1e-3, rtol=1e-2)


def test_scale_weights_are_positive():
    with pytest.raises(ValueError, match=r"found scale weights .*, expected positive"):
        MultiScaleSsim(scale_weights=(0.5, -0.1))
