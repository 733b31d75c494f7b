"""Codecs. To add one: a file with its spec and its artifact, and the spec's name in `AnyPipeline`."""

from diffquant.pipelines.palette import Palette

AnyPipeline = Palette

__all__ = ["AnyPipeline", "Palette"]
