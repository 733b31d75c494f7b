"""The loss against the metric, the golden values and finite differences; and what it is made of."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import skimage.color
from pictures import PAIRS, alike, certain, planes, read

from diffquant import metrics
from diffquant.losses.scielab import BANK, INVISIBLE, Scielab
from diffquant.signal.bank import Separable, filter_bank
from diffquant.signal.cielab import KNEE, lab_planes


def judge(image, target):
    return Scielab()(certain(image), target)


judged = jax.jit(judge)
judged_with_gradient = jax.jit(jax.value_and_grad(judge))


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair["distortion"])
def test_loss_has_the_golden_values(pair):
    value = float(judged(planes(read(pair["dis"])), planes(read(pair["ref"]))))
    assert value == pytest.approx(float(pair["values"]["scielab"]), rel=1e-5, abs=1e-6)


@pytest.mark.parametrize(("h", "w"), [(1, 1), (7, 4), (37, 50)])
def test_loss_is_the_metric_at_every_size(h, w):
    reference, decoded = alike(h, h, w)
    expected = metrics.scielab(reference, decoded)
    assert expected > 0.1
    assert float(judged(planes(decoded), planes(reference))) == pytest.approx(expected, rel=1e-4)


def test_equal_pictures_lose_nothing_and_pull_nowhere():
    picture = planes(alike(0, 37, 50)[0])
    value, gradient = judged_with_gradient(picture, picture)
    assert float(value) == pytest.approx(0, abs=1e-7)
    np.testing.assert_allclose(gradient, 0, atol=1e-3)


def test_invisible_differences_are_rounded_off():
    # Greys of one colour differ by slope * step in L* alone, as does the blur of them.
    gray, step = jnp.full((3, 37, 50), 0.5, jnp.float32), 1e-4
    slope = 116 / 3 * 0.5 ** (-2 / 3)
    value, _ = judged_with_gradient(gray + step, gray)
    assert slope * step < INVISIBLE
    ratio = slope * step / INVISIBLE
    assert float(value) == pytest.approx(INVISIBLE / 2 * (3 * ratio**2 - ratio**4), rel=1e-2)
    assert float(judged_with_gradient(gray + 10 * step, gray)[0]) == pytest.approx(10 * slope * step, rel=1e-2)


def test_gradients_are_finite_at_black_at_white_and_near_the_target():
    target = planes(alike(0, 37, 50)[0])
    images = [jnp.zeros_like(target), jnp.ones_like(target), target + 1e-7, target.at[1, 2, 3].add(1e-4)]
    for pair in [(image, target) for image in images] + [(target, images[0]), (images[0], images[1])]:
        value, gradient = judged_with_gradient(*pair)
        assert np.isfinite(value)
        assert np.isfinite(gradient).all()
    assert np.abs(judged_with_gradient(images[0], target)[1]).max() > 0


@pytest.mark.parametrize(("h", "w"), [(5, 3), (37, 50)])
def test_gradient_is_the_slope_along_any_direction(h, w):
    reference, decoded = alike(2, h, w)
    image, target = 0.1 + 0.8 * planes(decoded), 0.1 + 0.8 * planes(reference)
    _, gradient = judged_with_gradient(image, target)
    directions = [np.random.default_rng(seed).normal(size=image.shape).astype(np.float32) for seed in range(4)]
    for direction in (*directions, 10 * (target - image)):
        ahead, behind = (float(judged_with_gradient(image + step * direction, target)[0]) for step in (2e-4, -2e-4))
        slope = float(jnp.vdot(gradient, direction))
        assert (ahead - behind) / 4e-4 == pytest.approx(slope, rel=1e-2, abs=2e-2)


def test_following_the_gradient_lowers_the_metric():
    reference, decoded = alike(3, 37, 50)
    image, target = planes(decoded), planes(reference)
    for _ in range(20):
        _, gradient = judged_with_gradient(image, target)
        image = jnp.clip(image - 1e-3 * jnp.sign(gradient), 0, 1)
    assert float(judged_with_gradient(image, target)[0]) < 0.5 * metrics.scielab(reference, decoded)


@pytest.mark.parametrize(("h", "w"), [(3, 4), (37, 70)])
def test_the_blur_of_each_channel_is_a_mean_and_its_own_adjoint(h, w):
    x, y = (tuple(jnp.asarray(p, jnp.float32) for p in np.random.default_rng(i).normal(size=(3, h, w))) for i in (0, 1))
    for plane in filter_bank(BANK, (jnp.ones((h, w)),) * 3, "symmetric"):
        np.testing.assert_allclose(plane, 1, rtol=1e-5)
    there, back = filter_bank(BANK, x, "symmetric"), jax.vjp(lambda p: filter_bank(BANK, p, "symmetric"), y)[1](x)[0]
    for seen, pulled in zip(there, back, strict=True):
        np.testing.assert_allclose(seen, pulled, atol=1e-5)


def test_mirrored_banks_need_symmetric_taps():
    with pytest.raises(ValueError, match="found asymmetric taps"):
        filter_bank((Separable(0, 0, (1.0, 0.0, -1.0), (1.0,)),), (jnp.ones((3, 4)),), "symmetric")


def test_cielab_is_scikit_images():
    xyz = np.random.default_rng(0).uniform(0, 1, (200, 3)) ** 3  # also below the knee
    lab = np.array(lab_planes((xyz / skimage.color.xyz_tristimulus_values(illuminant="D65", observer="2")).T))
    np.testing.assert_allclose(lab, skimage.color.xyz2lab(xyz).T, rtol=1e-4, atol=1e-3)  # its constants are rounded
    np.testing.assert_allclose(lab_planes(jnp.asarray(xyz.T, jnp.float32)), lab_planes(xyz.T), rtol=1e-5, atol=1e-3)


def test_the_slope_of_cielab_is_that_of_its_curve_above_and_below_the_knee():
    lightness = jax.jit(jax.vmap(jax.grad(lambda y: lab_planes((y, y, y))[0])))
    values = jnp.array([-0.1, 0.0, 0.001, 0.999 * KNEE, 1.001 * KNEE, 0.2, 1.0])
    expected = [24389 / 27] * 4 + [116 / 3 * y ** (-2 / 3) for y in values[4:].tolist()]
    np.testing.assert_allclose(lightness(values), expected, rtol=1e-5)
