"""The names of dithers. Apart from what they name: the command line knows them before JAX is imported."""

from typing import Literal

Kernel = Literal["floyd-steinberg", "sierra-2", "sierra-2-4a", "sierra-3", "burkes", "atkinson", "heckbert"]
Classical = Literal[Kernel, "bayer-2", "bayer-4", "bayer-8", "blue-noise-mask", "riemersma"]
Dither = Literal["none", "sample", "blue-noise", "polish", Classical]
FrameDither = Literal["steady", Classical]
