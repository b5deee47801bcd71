"""Image files as RGB, as a viewer shows them.

Upright as their EXIF orientation says, 16 bits scaled to 8, embedded colour profiles converted to sRGB,
transparent parts over white, and of several frames the first.
"""

from __future__ import annotations

import io
import warnings
from functools import lru_cache
from typing import Any

import numpy as np
from attrs import frozen
from PIL import ExifTags, Image, ImageCms

VERSION = 2
"""Raised when a file gives other pixels."""
REMARKS = {
    "upright": "turned upright, as the EXIF orientation says",
    "transparent": "with transparent parts, shown over white",
    "16-bit": "in grey of 16 bits, scaled to 8",
    "profile": "with a colour profile other than sRGB, converted to sRGB",
    "cmyk": "in CMYK, converted to RGB",
    "frames": "with several frames, of which the first is taken",
}
"""What a reader should know of how an image was read."""
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What brings an image of each EXIF orientation upright."""
SPACES = {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK"}
"""Colour space of a profile that fits an image's mode."""

# Pillow warns of images above half of the size that it refuses, and of EXIF blocks that nothing is lost with,
# in the middle of other output.
warnings.simplefilter("ignore", Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", category=UserWarning, module="PIL")


@frozen
class Picture:
    """An image as RGB, and which of `REMARKS` apply to it."""

    image: Image.Image
    remarks: frozenset[str]


def decode(content: bytes) -> Image.Image:
    """As `read_picture`, the image alone."""
    return read_picture(content).image


def read_picture(content: bytes) -> Picture:
    """An image file. Raises whatever Pillow does for a damaged or far too large one.

    Raises ValueError for numbers of 32 bits, of which no file says what is black and what is white.
    """
    with Image.open(io.BytesIO(content)) as file:
        file.load()
        _scale_transparent_level(file, content)
        remarks = {"frames"} if getattr(file, "is_animated", False) else set()
        turn = TURNS.get(_orientation(file))
        upright = file if turn is None else file.transpose(turn)
        eight_bits = _eight_bits(upright, file)
        colours, alpha = _split_alpha(eight_bits)
        transform = _transform(file.info.get("icc_profile"), colours.mode)
        image = ImageCms.applyTransform(colours, transform) if transform else colours.convert("RGB")
        assert image is not None  # only of a transform in place
        remarks |= {"upright"} if turn is not None else set()
        remarks |= {"16-bit"} if eight_bits is not upright else set()
        remarks |= {"profile"} if transform else set()
        remarks |= {"cmyk"} if colours.mode == "CMYK" else set()
        if alpha is not None and np.asarray(alpha).min() < 255:
            remarks.add("transparent")
            image = Image.composite(image, Image.new("RGB", image.size, "white"), alpha)
    return Picture(image, frozenset(remarks))


def _scale_transparent_level(file: Image.Image, content: bytes) -> None:
    """Pillow scales a PNG's levels to 8 bits, but not the one level that is transparent."""
    level = file.info.get("transparency")
    if file.format != "PNG" or level is None:
        return
    bits = content[24]
    if file.mode == "L" and bits < 8:
        file.info["transparency"] = level * 255 // (2**bits - 1)
    elif file.mode == "RGB" and bits == 16:
        file.info["transparency"] = tuple(each >> 8 for each in level)


def _orientation(file: Image.Image) -> int:
    try:
        return int(file.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # a damaged EXIF block says nothing, to viewers too
        return 1


def _eight_bits(image: Image.Image, file: Image.Image) -> Image.Image:
    """The image itself, or a grey image of more bits scaled to 8, its transparent level as an alpha channel.

    Pillow has already scaled colours of 16 bits, to their upper eight.
    """
    sixteen = image.mode.startswith("I;16") or (image.mode == "I" and file.format == "PNG")
    if not sixteen:
        if image.mode in ("I", "F"):
            raise ValueError("32-bit numbers, of which no file says what is black and what is white; save 8 or 16 bits")
        return image
    levels = np.asarray(image).astype(np.int64)
    grey = Image.fromarray(np.rint(levels * (255 / _white(file))).clip(0, 255).astype(np.uint8))
    if "transparency" not in file.info:
        return grey
    opaque = np.where(levels == file.info["transparency"], 0, 255).astype(np.uint8)
    return Image.merge("LA", (grey, Image.fromarray(opaque)))


def _white(file: Image.Image) -> int:
    """The level of white: of 16 bits, or of what a TIFF says."""
    tags: Any = getattr(file, "tag_v2", {})
    bits = tags.get(ExifTags.Base.BitsPerSample, (16,))[0]
    return int(2**bits - 1)


def _split_alpha(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """Colours as L, RGB or CMYK, and opacity as L where there is any."""
    if image.mode in ("La", "RGBa"):  # multiplied by their opacity already
        image = image.convert("LA" if image.mode == "La" else "RGBA")
    if image.mode == "LA":
        return image.getchannel("L"), image.getchannel("A")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return image.convert("RGB"), image.getchannel("A")
    if image.mode == "1":
        return image.convert("L"), None
    return image if image.mode in SPACES else image.convert("RGB"), None


@lru_cache(maxsize=64)
def _transform(profile: bytes | None, mode: str) -> ImageCms.ImageCmsTransform | None:
    """From an embedded profile to sRGB; None where there is nothing to do.

    None too for a profile that is damaged or of other colours than the image: viewers pass over those.
    """
    if not profile:
        return None
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if source.profile.xcolor_space.strip() != SPACES[mode]:
            return None
        if "srgb" in ImageCms.getProfileDescription(source).lower():
            return None
        return ImageCms.buildTransform(
            source,
            ImageCms.createProfile("sRGB"),
            mode,
            "RGB",
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, OSError):
        return None
