"""Distributions over the palette at each pixel. To add one: a file with its spec, and its name in `AnyAssignment`."""

from diffquant.assignment.nearest import Nearest
from diffquant.assignment.network import Network
from diffquant.assignment.pixel import PixelSoftmax
from diffquant.assignment.topk import TopK

AnyAssignment = PixelSoftmax | TopK | Nearest | Network

__all__ = ["AnyAssignment", "Nearest", "Network", "PixelSoftmax", "TopK"]
