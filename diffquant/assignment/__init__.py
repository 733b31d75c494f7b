"""Distributions over the palette at each pixel. To add one: a file with its spec, and its name in `AnyAssignment`."""

from diffquant.assignment.nearest import Nearest
from diffquant.assignment.pixel import PixelSoftmax
from diffquant.assignment.topk import TopK

AnyAssignment = PixelSoftmax | TopK | Nearest

__all__ = ["AnyAssignment", "Nearest", "PixelSoftmax", "TopK"]
