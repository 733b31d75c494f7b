"""Differentiable image compression: relax a codec's choices, tune them together on one image, write a real file."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from diffquant.api import quantize
    from diffquant.config import Config
    from diffquant.image import ImageError, Picture, read
    from diffquant.pipelines import Palette
    from diffquant.presets import palette_config
    from diffquant.runner import Result, Stage, compress, stages
    from diffquant.training import Plan, Snapshot, fit

__all__ = [
    "Config",
    "ImageError",
    "Palette",
    "Picture",
    "Plan",
    "Result",
    "Snapshot",
    "Stage",
    "compress",
    "fit",
    "palette_config",
    "quantize",
    "read",
    "stages",
]

_HOME = {
    "Config": "config",
    "ImageError": "image",
    "Palette": "pipelines",
    "Picture": "image",
    "Plan": "training",
    "Result": "runner",
    "Snapshot": "training",
    "Stage": "runner",
    "compress": "runner",
    "fit": "training",
    "palette_config": "presets",
    "quantize": "api",
    "read": "image",
    "stages": "runner",
}


def __getattr__(name: str) -> Any:
    """Names are imported at first use: the command line checks its arguments before it waits for JAX."""
    if name not in _HOME:
        raise AttributeError(f"module 'diffquant' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"diffquant.{_HOME[name]}"), name)
