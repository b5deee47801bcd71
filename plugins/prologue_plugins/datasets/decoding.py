"""Image files as RGB, as a viewer shows them.

Upright as their EXIF orientation says, 16 bits scaled to 8, embedded colour profiles converted to
sRGB, transparent parts over white, and of several frames the first. Whatever a file claims, the
memory that it takes is bounded: by the pixels that one image may have, and by those that are
decoded at the same time.
"""

from __future__ import annotations

import io
import warnings
from functools import lru_cache

import numpy as np
from attrs import frozen
from PIL import (
    ExifTags,
    Image,
    ImageCms,
    UnidentifiedImageError,
    WebPImagePlugin,  # noqa: F401 - Pillow would import all of its decoders to find this one
)

from prologue_plugins.datasets.crops import LONGEST, is_long, shrink
from prologue_plugins.datasets.names import first_line
from prologue_plugins.datasets.turns import Turns

VERSION = 3
"""Raised when a file gives other pixels, or is broken that was not, or the other way round."""
IMAGES = (".jpeg", ".jpg", ".jpe", ".jfif", ".png", ".webp", ".bmp")
"""Endings of the files that are read."""
OTHER_IMAGES = (
    *(".tif", ".tiff", ".gif", ".apng", ".heic", ".heif", ".avif", ".jxl", ".jif", ".jfi"),
    *(".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx", ".ppm", ".pgm", ".pbm", ".pnm", ".pam"),
    *(".pfm", ".tga", ".dib", ".pcx", ".exr", ".hdr", ".dds", ".qoi", ".psd", ".dng"),
)
"""Endings of images that are not read, so that it is told where some are passed over."""
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF")
"""What such a file may be, whatever its ending. Pillow's other decoders never see a file."""
PIXELS, JPEG_PIXELS = 2**26, 2**27
"""The most that an image may have. A JPEG above the first is decoded at half its size."""
REMARKS = {
    "upright": "turned upright, as the EXIF orientation says",
    "transparent": "with transparent parts, shown over white",
    "16-bit": "in 16-bit grey, scaled to 8 bits",
    "profile": "with a colour profile other than sRGB, converted to sRGB",
    "cmyk": "in CMYK, converted to RGB",
    "frames": "with several frames, of which the first is taken",
    "long": f"with an edge over {LONGEST} times as long as the other, of which the middle is taken",
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

EIGHT_OF_SIXTEEN = np.rint(np.arange(2**16) / 257).astype(int).tolist()
"""Levels of 8 bits for those of 16."""
TOO_LARGE = f"more than {PIXELS:,} pixels ({JPEG_PIXELS:,} of a JPEG); make it smaller"

_turns = Turns(PIXELS)
"""Threads decode so many pixels at the same time."""

# Pillow warns of images above half of the size that it refuses, and of EXIF blocks that nothing is
# lost with, in the middle of other output.
warnings.simplefilter("ignore", Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", category=UserWarning, module="PIL")


@frozen
class Picture:
    """An image as RGB, and which of `REMARKS` apply to it."""

    image: Image.Image
    remarks: frozenset[str]


def is_image(name: str) -> bool:
    """Whether a file is called as an image is."""
    return name.lower().endswith(IMAGES)


def is_other_image(name: str) -> bool:
    """Whether a file is called as an image of a kind that is not read."""
    return name.lower().endswith(OTHER_IMAGES)


def read_picture(content: bytes, edge: int | None = None) -> Picture:
    """An image file, shrunk to a shorter edge of `edge` pixels if that is given.

    Raises whatever Pillow does for a damaged one, and ValueError for one of too many pixels.
    """
    with Image.open(io.BytesIO(content), formats=FORMATS) as file:
        pixels = file.width * file.height
        if pixels > (JPEG_PIXELS if _is_jpeg(file) else PIXELS):
            raise ValueError(TOO_LARGE)
        with _turns.of(pixels):
            if pixels > PIXELS:
                file.draft(None, (file.width // 2, file.height // 2))
            picture = _decoded(file, content)
            if edge is None:
                return picture
            long = {"long"} if is_long(picture.image) else set()
            return Picture(shrink(picture.image, edge), picture.remarks | long)


def broken_because(error: Exception) -> str:
    """Why a file cannot be read, in a few words.

    Pillow's own name the bytes in memory, and the system's the path.
    """
    if isinstance(error, UnidentifiedImageError):
        return "not an image of a known format"
    if isinstance(error, Image.DecompressionBombError):
        return TOO_LARGE
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return first_line(error)


def _is_jpeg(file: Image.Image) -> bool:
    return file.format in ("JPEG", "MPO")  # MPO: a JPEG that is followed by further ones


def _decoded(file: Image.Image, content: bytes) -> Picture:
    file.load()
    _scale_transparent_level(file, content)
    remarks = {"frames"} if getattr(file, "is_animated", False) else set()
    turn = TURNS.get(_orientation(file))
    upright = file if turn is None else file.transpose(turn)
    eight_bits = _eight_bits(upright)
    colours, alpha = _split_alpha(eight_bits)
    image, converted = _in_srgb(colours, file.info.get("icc_profile"))
    remarks |= {"upright"} if turn is not None else set()
    remarks |= {"16-bit"} if eight_bits is not upright else set()
    remarks |= {"profile"} if converted else set()
    remarks |= {"cmyk"} if colours.mode == "CMYK" else set()
    if alpha is not None and np.asarray(alpha).min() < 255:
        remarks.add("transparent")
        white = Image.new("RGB", image.size, "white")
        white.paste(image, mask=alpha)
        image = white
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


def _eight_bits(image: Image.Image) -> Image.Image:
    """The image itself, or a grey image of 16 bits scaled to 8, its transparent level as alpha.

    Pillow has already scaled colours of 16 bits, to their upper eight.
    """
    if not image.mode.startswith("I"):
        return image
    grey = image.convert("I").point(EIGHT_OF_SIXTEEN, "L")
    if "transparency" not in image.info:
        return grey
    opaque = np.asarray(image) != image.info["transparency"]
    return Image.merge("LA", (grey, Image.fromarray(opaque.astype(np.uint8) * np.uint8(255))))


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


def _in_srgb(colours: Image.Image, profile: bytes | None) -> tuple[Image.Image, bool]:
    """Colours as RGB, and whether an embedded profile changed them."""
    transform = _transform(profile, colours.mode)
    if transform is not None:
        try:
            image = ImageCms.applyTransform(colours, transform)
            assert image is not None  # only of a transform in place
            return image, True
        except (ImageCms.PyCMSError, OSError, ValueError):
            pass  # damaged in a table that only now is read
    return colours.convert("RGB"), False


@lru_cache(maxsize=64)
def _transform(profile: bytes | None, mode: str) -> ImageCms.ImageCmsTransform | None:
    """From an embedded profile to sRGB; None where there is nothing to do.

    None too for a profile that is damaged or of other colours than the image: viewers pass over
    those.
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
    except Exception:  # of many kinds, and a damaged profile says nothing, to viewers too
        return None
