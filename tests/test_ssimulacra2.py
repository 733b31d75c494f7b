"""The metric and the loss: against libjxl's values, its formulas as written, each other."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
from pictures import PAIRS, alike, certain, planes, read

from diffquant import metrics
from diffquant.color import LINEAR_OF_CODE
from diffquant.losses import Ssimulacra2
from diffquant.signal.ssimulacra2 import KERNEL, WEIGHTS, points, scale_weights

ROUNDED = {
    "05_ref.png": 0.25
}  # libjxl's float32 recursion; the same in float32 with fused multiply-adds is within 0.03
TAPS = [0.0, 0.0094144, 0.0360111, 0.1093354, 0.2129286, 0.2646211]  # of libjxl's filter for a unit impulse
LOSS = Ssimulacra2()


def judge(image, target):
    return LOSS(certain(image), target)


judged = jax.jit(judge)
judged_with_gradient = jax.jit(jax.value_and_grad(judge))


def score_of_loss(reference, decoded):
    return LOSS.score(float(judged(planes(decoded), planes(reference))))


def libjxl_xyb(linear):
    """Float64 [h w 3] to the three planes that are compared."""
    matrix = np.array([[0.3, 0.622, 0.078], [0.23, 0.692, 0.078], [0.24342268924547819, 0.20476744424496821, 0]])
    matrix[2, 2] = 1 - matrix[2].sum()
    bias = 0.0037930732552754493
    cones = np.cbrt(linear @ matrix.T + bias) - np.cbrt(bias)
    x, y, b = (cones[..., 0] - cones[..., 1]) / 2, (cones[..., 0] + cones[..., 1]) / 2, cones[..., 2]
    return 14 * x + 0.42, y + 0.01, b - y + 0.55


def libjxl_score(reference, decoded):
    """libjxl's formulas as written, in float64, with SciPy's direct filter."""

    def blur(plane):
        rows = scipy.ndimage.correlate1d(plane, TAPS + TAPS[-2::-1], axis=0, mode="constant")
        return scipy.ndimage.correlate1d(rows, TAPS + TAPS[-2::-1], axis=1, mode="constant")

    def halved(linear):
        h, w = linear.shape[:2]
        rows, columns = np.arange((h + 1) // 2) * 2, np.arange((w + 1) // 2) * 2
        corners = [(np.minimum(rows + i, h - 1), np.minimum(columns + j, w - 1)) for i in (0, 1) for j in (0, 1)]
        return sum(linear[np.ix_(*corner)] for corner in corners) / 4

    images = [LINEAR_OF_CODE[picture] for picture in (reference, decoded)]
    norms = []  # [scale][channel][6]
    for scale in range(6):
        if min(images[0].shape[:2]) < 8:
            break
        if scale:
            images = [halved(image) for image in images]
        norms.append([])
        for a, b in zip(*map(libjxl_xyb, images), strict=True):
            m1, m2, s11, s22, s12 = blur(a), blur(b), blur(a * a), blur(b * b), blur(a * b)
            structure = (1 - (m1 - m2) ** 2) * (2 * (s12 - m1 * m2) + 9e-4) / (s11 - m1**2 + s22 - m2**2 + 9e-4)
            edge = (1 + abs(b - m2)) / (1 + abs(a - m1)) - 1
            maps = [np.maximum(plane, 0) for plane in (1 - structure, edge, -edge)]
            norms[-1].append([m.mean() for m in maps] + [(m**4).mean() ** 0.25 for m in maps])
    weights = iter(np.ravel(WEIGHTS))
    total = sum(next(weights) * norm for c in range(3) for scale in norms for norm in scale[c]) * 0.9562382616834844
    curve = 2.326765642916932 * total - 0.020884521182843837 * total**2 + 6.248496625763138e-05 * total**3
    return 100 - 10 * curve**0.6276336467831387


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair["distortion"])
def test_metric_and_loss_give_libjxls_scores(pair):
    reference, decoded = read(pair["ref"]), read(pair["dis"])
    expected = pytest.approx(float(pair["values"]["ssimulacra2"]), abs=ROUNDED.get(pair["ref"], 0.05))
    assert metrics.ssimulacra2(reference, decoded) == expected
    assert score_of_loss(reference, decoded) == expected


# At and around the sizes where a scale is added, odd sizes among them, also on the way down.
@pytest.mark.parametrize(("h", "w"), [(8, 8), (14, 40), (15, 9), (29, 31), (57, 66), (112, 150), (131, 113)])
def test_metric_is_libjxls_formulas_at_every_size(h, w):
    reference, decoded = alike(h, h, w)
    expected = libjxl_score(reference, decoded)
    assert 0 < expected < 95
    assert metrics.ssimulacra2(reference, decoded) == pytest.approx(expected, abs=2e-3)


@pytest.mark.parametrize(("h", "w"), [(8, 9), (37, 50), (131, 113)])
def test_loss_is_the_metric(h, w):
    reference, decoded = alike(h, h, w)
    expected = metrics.ssimulacra2(reference, decoded)
    assert score_of_loss(reference, decoded) == pytest.approx(expected, abs=2e-3)


def test_loss_is_the_metric_of_unlike_pictures():
    reference, decoded = (np.random.default_rng(seed).integers(0, 256, (37, 50, 3), np.uint8) for seed in (0, 1))
    expected = metrics.ssimulacra2(reference, decoded)
    assert expected < 0
    assert score_of_loss(reference, decoded) == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize(("side", "scales"), [(8, 2), (14, 2), (15, 3), (29, 4), (57, 5), (112, 5), (113, 6), (512, 6)])
def test_each_scale_needs_eight_pixels_at_the_one_before(side, scales):
    assert scale_weights(side, 600).shape == scale_weights(600, side).shape == (scales, 3, 6)


def test_below_eight_pixels_there_is_a_loss_but_no_score():
    reference, decoded = alike(0, 7, 30)
    assert math.isnan(metrics.ssimulacra2(reference, decoded))
    value, gradient = judged_with_gradient(planes(decoded), planes(reference))
    assert float(value) > 0
    assert np.isfinite(gradient).all()


def test_the_kernel_is_a_mean():
    assert sum(KERNEL) == pytest.approx(1, abs=1e-9)


def test_points_are_those_that_the_loss_promises():
    assert LOSS.score(0.0) == 100
    assert LOSS.score(0.3) == pytest.approx(50, abs=1)
    assert LOSS.score(1.0) == pytest.approx(0, abs=4)
    totals = np.linspace(0, 300, 1001)
    scores = np.array([points(total) for total in totals])
    assert (np.diff(scores) < 0).all()
    assert scores[np.argmax(np.diff(scores))] == pytest.approx(-64, abs=0.5)  # where the slope is least


def test_identical_pictures_lose_nothing():
    picture = alike(0, 37, 50)[0]
    assert metrics.ssimulacra2(picture, picture.copy()) == 100
    value, gradient = judged_with_gradient(planes(picture), planes(picture))
    assert float(value) == pytest.approx(0, abs=1e-6)
    assert LOSS.score(float(value)) == pytest.approx(100, abs=0.03)
    assert np.isfinite(gradient).all()


def test_gradients_are_finite_at_black_at_white_and_near_the_target():
    target = planes(alike(0, 37, 50)[0])
    images = [jnp.zeros_like(target), jnp.ones_like(target), target + 1e-7, target.at[1, 2, 3].add(1e-4)]
    for pair in [(image, target) for image in images] + [(target, images[0]), (images[0], images[1])]:
        value, gradient = judged_with_gradient(*pair)
        assert np.isfinite(value)
        assert np.isfinite(gradient).all()


def test_gradient_is_the_slope_along_any_direction():
    reference, decoded = alike(2, 37, 50)
    image, target = 0.1 + 0.8 * planes(decoded), 0.1 + 0.8 * planes(reference)
    _, gradient = judged_with_gradient(image, target)
    directions = [np.random.default_rng(seed).normal(size=image.shape).astype(np.float32) for seed in range(4)]
    for direction in (*directions, 30 * (target - image)):
        ahead, behind = (float(judged(image + step * direction, target)) for step in (2e-4, -2e-4))
        slope = float(jnp.vdot(gradient, direction))
        assert (ahead - behind) / 4e-4 == pytest.approx(slope, rel=1e-2, abs=2e-3)


def test_following_the_gradient_raises_the_score():
    reference, decoded = alike(3, 37, 50)
    image, target = planes(decoded), planes(reference)
    for _ in range(20):
        _, gradient = judged_with_gradient(image, target)
        image = jnp.clip(image - 1e-3 * jnp.sign(gradient), 0, 1)
    better = LOSS.score(float(judged(image, target)))
    assert better > metrics.ssimulacra2(reference, decoded) + 5


def test_transposition_does_not_matter_nor_mirroring_where_all_sizes_are_even():
    reference, decoded = alike(4, 64, 96)
    expected = pytest.approx(metrics.ssimulacra2(reference, decoded), abs=1e-3)
    assert metrics.ssimulacra2(np.swapaxes(reference, 0, 1), np.swapaxes(decoded, 0, 1)) == expected
    assert metrics.ssimulacra2(reference[::-1], decoded[::-1]) == expected
    assert metrics.ssimulacra2(reference[:, ::-1], decoded[:, ::-1]) == expected


def test_edges_that_are_added_cost_other_than_edges_that_are_lost():
    reference, decoded = alike(5, 64, 96)
    assert abs(metrics.ssimulacra2(reference, decoded) - metrics.ssimulacra2(decoded, reference)) > 0.1
