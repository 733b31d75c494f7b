"""Differentiable image compression: relax a codec's choices, tune them together on one image, write a real file."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from diffquant.api import animate, compress_jpeg, quantize, quantize_batch
    from diffquant.config import Config
    from diffquant.image import ImageError, Picture, read
    from diffquant.pipelines import Jpeg, Palette
    from diffquant.pipelines.goals import Bytes, Score, UnreachableError
    from diffquant.presets import jpeg_config, palette_config
    from diffquant.runner import Result, Stage, compress, stages
    from diffquant.training import Plan, Snapshot, Tiles, fit, fit_batch

__all__ = [
    "Bytes",
    "Config",
    "ImageError",
    "Jpeg",
    "Palette",
    "Picture",
    "Plan",
    "Result",
    "Score",
    "Snapshot",
    "Stage",
    "Tiles",
    "UnreachableError",
    "animate",
    "compress",
    "compress_jpeg",
    "fit",
    "fit_batch",
    "jpeg_config",
    "palette_config",
    "quantize",
    "quantize_batch",
    "read",
    "stages",
]

_HOME = {
    "Bytes": "pipelines.goals",
    "Config": "config",
    "ImageError": "image",
    "Jpeg": "pipelines",
    "Palette": "pipelines",
    "Picture": "image",
    "Plan": "training",
    "Result": "runner",
    "Score": "pipelines.goals",
    "Snapshot": "training",
    "Stage": "runner",
    "Tiles": "training",
    "UnreachableError": "pipelines.goals",
    "animate": "api",
    "compress": "runner",
    "compress_jpeg": "api",
    "fit": "training",
    "fit_batch": "training",
    "jpeg_config": "presets",
    "palette_config": "presets",
    "quantize": "api",
    "quantize_batch": "api",
    "read": "image",
    "stages": "runner",
}


def __getattr__(name: str) -> Any:
    """Names are imported at first use: the command line checks its arguments before it waits for JAX."""
    if name not in _HOME:
        raise AttributeError(f"module 'diffquant' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"diffquant.{_HOME[name]}"), name)
