"""Codecs. To add one: a file with its spec and its artifact, and the spec's name in `AnyPipeline`."""

from diffquant.pipelines.jpeg import Jpeg
from diffquant.pipelines.palette import Palette

AnyPipeline = Palette | Jpeg

__all__ = ["AnyPipeline", "Jpeg", "Palette"]
