"""Colour management: from the profile that an image carries to sRGB, by LittleCMS."""

import functools
import io

import numpy as np
from PIL import Image, ImageCms

SPACES = {"L": "GRAY", "RGB": "RGB ", "CMYK": "CMYK", "LAB": "Lab "}  # of a Pillow mode, as a profile names it
NEAR = 2  # codes: a profile that moves no colour further is sRGB, give or take the rounding of its tables


@functools.cache
def _srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


def _transform(profile: ImageCms.ImageCmsProfile, mode: str) -> ImageCms.ImageCmsTransform:
    """Relative colorimetric with black point compensation: white stays white, black stays black.

    Unoptimized: it is as fast, and the optimizer's small tables are codes off in the darks of grey profiles.
    """
    return ImageCms.buildTransform(
        profile,
        _srgb(),
        mode,
        "RGB",
        ImageCms.Intent.RELATIVE_COLORIMETRIC,
        ImageCms.Flags.BLACKPOINTCOMPENSATION | ImageCms.Flags.NOOPTIMIZE,
    )


def _applied(transform: ImageCms.ImageCmsTransform, image: Image.Image) -> Image.Image:
    converted = ImageCms.applyTransform(image, transform)
    assert converted is not None  # it is only for conversions in place
    return converted


def _is_srgb(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    """Whether the transform leaves all colours in place. Judged by what it does: the same profile has many names."""
    if mode not in ("L", "RGB"):
        return False
    steps = np.arange(0, 256, 15, dtype=np.uint8)
    codes = steps[None] if mode == "L" else np.stack(np.meshgrid(steps, steps, steps), -1).reshape(1, -1, 3)
    moved = np.asarray(_applied(transform, Image.fromarray(codes)))
    return int(np.abs(moved - codes.reshape(1, moved.shape[1], -1).astype(int)).max()) <= NEAR


def srgb_from_profile(image: Image.Image, profile: bytes | None) -> tuple[Image.Image, tuple[str, ...]]:
    """An `L`, `RGB`, `CMYK` or `LAB` image in sRGB, and notices of what was done.

    The very same image comes back if its codes are sRGB as they are: without a profile, or with one that means sRGB.
    A broken one is ignored.
    """
    notices = []
    if image.mode == "LAB":
        lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
        return _applied(_transform(lab, "LAB"), image), ("CIELAB converted to sRGB",)
    if profile:
        try:
            embedded = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            name = ImageCms.getProfileDescription(embedded).strip()
            space = embedded.profile.xcolor_space
            source = image.convert("RGB") if image.mode == "L" and space == SPACES["RGB"] else image
            if space != SPACES[source.mode]:
                raise ValueError(f"it is for {space.strip()}")
            transform = _transform(embedded, source.mode)
            if _is_srgb(transform, source.mode):
                return image, ()
            return _applied(transform, source), (f"embedded profile '{name}' converted to sRGB",)
        except (ImageCms.PyCMSError, OSError, ValueError, TypeError) as error:
            notices.append(f"embedded profile ignored ({' '.join(str(error).split())})")
    if image.mode == "CMYK":
        return image.convert("RGB"), (*notices, "CMYK without a usable profile: converted by the plain formula")
    return image, tuple(notices)
