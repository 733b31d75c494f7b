"""Losses that declare a reach: pixels farther apart than twice that do not know of each other."""

import typing

import jax.numpy as jnp
import numpy as np
import pytest

from diffquant.interfaces import Rendered
from diffquant.losses import AnyLoss, BlurError

H, W = 34, 91
LOCAL = [kind() for kind in typing.get_args(AnyLoss) if kind().reach() is not None]
LOCAL += [BlurError(sigmas=(0.0, 0.75, 1.9), weights=(0.1, 0.5, 1.0), masking=(0.03, 0.0, 0.0))]


def rendered(*moved):
    """A picture in which some pixels were changed, in colour, variance and entropy."""
    random = np.random.default_rng(0)
    image, entropy = random.uniform(0.2, 0.6, (3, H, W)), random.uniform(0, 1, (H, W))
    covariance = np.zeros((6, H, W))
    covariance[[0, 3, 5]] = random.uniform(0.01, 0.02, (3, H, W))
    for y, x in moved:
        image[:, y, x] += 0.3
        covariance[[0, 3, 5], y, x] += 0.05
        entropy[y, x] += 0.5
    planes = [jnp.asarray(planes, jnp.float32) for planes in (image, covariance, entropy)]
    return Rendered(image=planes[0], covariance=planes[1], entropy=planes[2], bits=jnp.float32(0))


@pytest.mark.parametrize("loss", LOCAL, ids=lambda loss: type(loss).__name__)
def test_changes_far_apart_add_up(loss):
    target = jnp.asarray(np.random.default_rng(1).uniform(0.2, 0.6, (3, H, W)), jnp.float32)
    a, b = (15, 20), (15, 20 + 2 * loss.reach() + 1)
    none, one, other, both = (float(loss(rendered(*moved), target)) for moved in ((), (a,), (b,), (a, b)))
    assert one != none
    assert both - one == pytest.approx(other - none, abs=2e-6 * abs(none))


@pytest.mark.parametrize("loss", LOCAL, ids=lambda loss: type(loss).__name__)
def test_a_window_is_judged_as_in_the_whole_picture(loss):
    target = jnp.asarray(np.random.default_rng(1).uniform(0.2, 0.6, (3, H, W)), jnp.float32)
    whole, reach = rendered(), loss.reach()
    window = Rendered(
        image=whole.image[:, :, 10:],
        covariance=whole.covariance[:, :, 10:],
        entropy=whole.entropy[:, 10:],
        bits=whole.bits,
    )
    found, expected = loss.map(window, target[:, :, 10:]), loss.map(whole, target)[:, 10:]
    np.testing.assert_allclose(found[:, reach:], expected[:, reach:], rtol=1e-4, atol=1e-6)


def test_a_smaller_reach_would_be_wrong():
    """The test above would see it."""
    loss = BlurError()
    target = jnp.asarray(np.random.default_rng(1).uniform(0.2, 0.6, (3, H, W)), jnp.float32)
    a, b = (15, 20), (15, 21)
    none, one, other, both = (float(loss(rendered(*moved), target)) for moved in ((), (a,), (b,), (a, b)))
    assert abs(both - one - other + none) > 1e-4 * abs(none)
