"""Differentiable judgements. To add one: a class in a file of its own, and its name in `AnyLoss`."""

from diffquant.losses.base import Loss
from diffquant.losses.blur import BlurError
from diffquant.losses.reconstruction import Entropy, ExpectedImageError, ExpectedSquaredError, Rate, Variance
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
)

__all__ = [
    "AnyLoss",
    "BlurError",
    "Entropy",
    "ExpectedImageError",
    "ExpectedSquaredError",
    "Loss",
    "MultiScaleSsim",
    "Rate",
    "Ssim",
    "Ssimulacra2",
    "Variance",
]
