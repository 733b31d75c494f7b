"""Differentiable judgements. To add one: a class in a file of its own, and its name in `AnyLoss`."""

from diffquant.losses.base import Loss
from diffquant.losses.blur import BlurError
from diffquant.losses.butteraugli import Butteraugli
from diffquant.losses.flip import Flip
from diffquant.losses.reconstruction import Entropy, ExpectedImageError, ExpectedSquaredError, Rate, Variance
from diffquant.losses.scielab import Scielab
from diffquant.losses.ssimulacra2 import Ssimulacra2
from diffquant.losses.structure import MultiScaleSsim, Ssim

AnyLoss = (
    BlurError
    | ExpectedImageError
    | ExpectedSquaredError
    | Variance
    | Entropy
    | Rate
    | Ssim
    | MultiScaleSsim
    | Ssimulacra2
    | Butteraugli
    | Scielab
    | Flip
)

__all__ = [
    "AnyLoss",
    "BlurError",
    "Butteraugli",
    "Entropy",
    "ExpectedImageError",
    "ExpectedSquaredError",
    "Flip",
    "Loss",
    "MultiScaleSsim",
    "Rate",
    "Scielab",
    "Ssim",
    "Ssimulacra2",
    "Variance",
]
