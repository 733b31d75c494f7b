"""Clips as the tests write and read them."""

import subprocess

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image

from diffquant.animation.clip import Clip
from diffquant.image import ImageError

H, W = 6, 10


def numbered(n, shape=(H, W)):
    """A frame's red tells its number."""
    frames = np.random.default_rng(0).integers(0, 256, (n, *shape, 3), np.uint8)
    frames[..., 0] = np.arange(n)[:, None, None]
    return frames


def number_of(frame):
    (number,) = np.unique(frame.srgb8[..., 0])
    return int(number)


def animation(path, frames, durations, **options):
    pictures = [Image.fromarray(frame) for frame in frames]
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=durations, **options)
    return path


def gif(path, n=6, durations=40, **options):
    """Grey levels, each its own frame."""
    return animation(
        path, np.broadcast_to(20 * np.arange(n, dtype=np.uint8)[:, None, None], (n, H, W)), durations, **options
    )


def movie(path, frames, rate, *options):
    """Without loss."""
    h, w = frames.shape[1:3]
    reading = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{w}x{h}", "-r", rate, "-i", "-"]
    writing = ["-c:v", "ffv1", "-pix_fmt", "bgr0", *options, f"file:{path}"]
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", *reading, *writing]
    subprocess.run(command, input=frames.tobytes(), check=True)
    return path


def clip_of(*paths, **options):
    return Clip(sources=tuple(paths), **options)


def failing(clip):
    with pytest.raises(ImageError) as caught:
        list(clip.frames())
    (line,) = str(caught.value).splitlines()
    return line
