"""Image files as people have them are read as a viewer shows them: pixel by pixel."""

from __future__ import annotations

import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from prologue_bench.config.ablation import Ablation
from prologue_bench.errors import MissingDataError, UserError
from prologue_bench.pipeline.planner import make_plan
from prologue_bench.pipeline.workspace import Workspace
from prologue_bench.storage.store import Store
from prologue_plugins.datasets import decoding, labelled
from prologue_plugins.datasets.decoding import read_picture
from prologue_plugins.datasets.imagenet import ImageNet
from prologue_plugins.datasets.settings import ImageNetSettings
from tests.factories.image_files import encoded, folder, plain, png, source

WHITE = [255, 255, 255]

pytestmark = pytest.mark.usefixtures("own_cache")


def grey(levels: list[list[int]], kind: type[np.generic] = np.uint8) -> Image.Image:
    return Image.fromarray(np.array(levels, dtype=kind))


def pixels(content: bytes) -> list[Any]:
    found: list[Any] = np.asarray(read_picture(content).image).tolist()
    return found


def remarks(content: bytes) -> set[str]:
    return set(read_picture(content).remarks)


def test_a_ramp_of_16_bits_is_scaled_to_8() -> None:
    ramp = encoded(grey([[0, 128, 129, 257, 25700, 32896, 65406, 65407, 65535]], np.uint16))
    assert [pixel[0] for pixel in pixels(ramp)[0]] == [0, 0, 1, 1, 100, 128, 254, 255, 255]
    assert remarks(ramp) == {"16-bit"}
    assert np.ptp(pixels(ramp), axis=2).max() == 0  # grey


@pytest.mark.parametrize("size", [(33, 2), (2, 33)])
def test_a_long_image_is_told_where_its_middle_is_taken(size: tuple[int, int]) -> None:
    content = encoded(Image.new("RGB", size))
    assert read_picture(content, 2).remarks == {"long"}
    assert remarks(content) == set(), "all of it is taken"
    assert read_picture(encoded(Image.new("RGB", (32, 2))), 2).remarks == set()


def test_all_levels_of_16_bits_stay_in_order() -> None:
    levels = np.arange(65536).reshape(256, 256)
    found = np.asarray(pixels(encoded(grey(levels.tolist(), np.uint16))))[..., 0].ravel()
    assert (np.diff(found) >= 0).all()
    assert np.unique(found).tolist() == list(range(256))
    assert np.abs(found - levels.ravel() / 257).max() <= 0.5


def test_colours_of_16_bits_are_their_upper_8() -> None:
    assert pixels(png(16, 2, struct.pack(">3H", 0, 257 * 9, 65535), 1)) == [[[0, 9, 255]]]


UPRIGHT = {  # of 1 2 / 3 4 stored, by the EXIF standard: which row and column of the scene they are
    1: [[1, 2], [3, 4]],
    2: [[2, 1], [4, 3]],
    3: [[4, 3], [2, 1]],
    4: [[3, 4], [1, 2]],
    5: [[1, 3], [2, 4]],
    6: [[3, 1], [4, 2]],
    7: [[4, 2], [3, 1]],
    8: [[2, 4], [1, 3]],
}


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_every_exif_orientation_is_turned_upright(orientation: int, kind: type[np.generic]) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    scale = 257 if kind is np.uint16 else 1
    stored = encoded(grey([[1 * scale, 2 * scale], [3 * scale, 4 * scale]], kind), exif=exif)
    assert [[pixel[0] for pixel in row] for row in pixels(stored)] == UPRIGHT[orientation]
    assert ("upright" in remarks(stored)) == (orientation != 1)


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "PNG"])
def test_a_lying_photograph_stands(kind: str) -> None:
    exif = Image.Exif()
    exif[274] = 6
    lying = Image.new("RGB", (32, 16), (0, 0, 255))
    lying.paste((255, 0, 0), (0, 0, 16, 16))
    stored = encoded(lying, kind, exif=exif)
    upright = np.asarray(read_picture(stored).image).astype(int)
    assert upright.shape == (32, 16, 3)
    assert np.abs(upright[4, 8] - [255, 0, 0]).max() < 12
    assert np.abs(upright[28, 8] - [0, 0, 255]).max() < 12


@pytest.mark.parametrize("exif", [b"Exif\0\0garbage", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff", b""])
def test_a_damaged_exif_block_changes_nothing(exif: bytes) -> None:
    content = encoded(Image.new("RGB", (2, 1), "white"), "JPEG", exif=exif)
    assert pixels(content) == [[WHITE, WHITE]]
    assert remarks(content) == set()


def test_half_transparent_pixels_are_shown_over_white() -> None:
    image = Image.new("RGBA", (3, 1))
    image.putdata([(10, 20, 30, 255), (10, 20, 30, 0), (0, 100, 255, 128)])
    # 128 of 255 parts of the colour, 127 of white: 127, 177.2, 255.
    assert pixels(encoded(image)) == [[[10, 20, 30], WHITE, [127, 177, 255]]]
    assert remarks(encoded(image)) == {"transparent"}
    # Nothing to see through.
    assert remarks(encoded(Image.new("RGBA", (2, 2), (1, 2, 3, 255)))) == set()


def test_hidden_colours_do_not_show() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (5, 5, 4), dtype=np.uint8)
    noise[..., 3] = 0
    for kind, options in (("PNG", {}), ("WEBP", {"lossless": True, "exact": True})):
        assert pixels(encoded(Image.fromarray(noise), kind, **options)) == [[WHITE] * 5] * 5


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (encoded(Image.new("LA", (1, 1), (0, 128))), [127] * 3),
        (
            png(8, 3, b"\1", 1, PLTE=b"\12\24\36\0\0\0", tRNS=b"\xff\x80"),
            [127] * 3,
        ),  # a palette with half opacity
        (png(8, 3, b"\0", 1, PLTE=b"\12\24\36\0\0\0", tRNS=b"\xff\x80"), [10, 20, 30]),
        (png(4, 3, b"\0", 1, PLTE=b"\12\24\36", tRNS=b"\0"), WHITE),
        (png(8, 0, b"\7", 1, tRNS=b"\0\7"), WHITE),  # one transparent level of grey
        (png(8, 0, b"\6", 1, tRNS=b"\0\7"), [6] * 3),
        (png(4, 0, b"\x30", 1, tRNS=b"\0\3"), WHITE),
        (png(1, 0, b"\0", 1, tRNS=b"\0\0"), WHITE),
        (png(16, 0, struct.pack(">H", 1000), 1, tRNS=struct.pack(">H", 1000)), WHITE),
        (png(16, 0, struct.pack(">H", 1028), 1, tRNS=struct.pack(">H", 1000)), [4] * 3),
        (png(8, 2, b"\1\2\3", 1, tRNS=b"\0\1\0\2\0\3"), WHITE),  # one transparent colour
        (png(16, 2, struct.pack(">3H", 999, 2, 3), 1, tRNS=struct.pack(">3H", 999, 2, 3)), WHITE),
        (png(16, 4, struct.pack(">2H", 0, 32896), 1), [127] * 3),
        (png(16, 6, struct.pack(">4H", 0, 0, 0, 32896), 1), [127] * 3),
    ],
)
def test_transparency_of_every_kind_is_shown_over_white(
    content: bytes, expected: list[int]
) -> None:
    assert pixels(content) == [[expected]]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (encoded(Image.new("L", (1, 1), 7)), [7] * 3),
        (encoded(Image.new("1", (1, 1), 1)), WHITE),
        (encoded(Image.new("RGB", (1, 1), (1, 2, 3)).quantize(4)), [1, 2, 3]),
        (
            encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG", quality=100),
            [255, 0, 0],
        ),  # Adobe's, inverted
        (png(2, 0, b"\x80", 1), [170] * 3),
    ],
)
def test_other_modes_become_the_colours_that_they_mean(content: bytes, expected: list[int]) -> None:
    assert pixels(content)[0][0] == expected


@pytest.mark.parametrize("kind", ["WEBP", "PNG"])
def test_of_several_frames_the_first_is_taken(kind: str) -> None:
    frames = [Image.new("RGB", (2, 2), colour) for colour in ("red", "blue")]
    content = encoded(frames[0], kind, save_all=True, append_images=frames[1:], lossless=True)
    assert pixels(content)[0][0] == [255, 0, 0]
    assert remarks(content) == {"frames"}


def swapped_profile() -> bytes:
    """sRGB's profile under another name, with red and blue exchanged."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    table = {
        bytes(profile[at : at + 4]): at
        for at in range(132, 132 + 12 * struct.unpack_from(">I", profile, 128)[0], 12)
    }
    red, blue = table[b"rXYZ"], table[b"bXYZ"]
    profile[red + 4 : red + 12], profile[blue + 4 : blue + 12] = (
        profile[blue + 4 : blue + 12],
        profile[red + 4 : red + 12],
    )
    return (
        bytes(profile)
        .replace("sRGB".encode("utf-16-be"), "BGRs".encode("utf-16-be"))
        .replace(b"sRGB b", b"BGRs b")
    )


def test_a_colour_profile_is_converted_to_srgb_and_srgb_is_left_alone() -> None:
    orange = Image.new("RGB", (2, 1), (250, 120, 10))
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert pixels(encoded(orange, icc_profile=srgb)) == [[[250, 120, 10]] * 2]
    assert remarks(encoded(orange, icc_profile=srgb)) == set()
    other = encoded(orange, icc_profile=swapped_profile())
    assert np.abs(np.array(pixels(other)) - [10, 120, 250]).max() <= 2
    assert remarks(other) == {"profile"}
    clear = orange.convert("RGBA")
    clear.putalpha(0)
    assert pixels(encoded(clear, icc_profile=swapped_profile())) == [[WHITE] * 2]


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_profile_that_is_damaged_or_of_other_colours_is_passed_over(mode: str) -> None:
    image = Image.new(mode, (1, 1), 100 if mode == "L" else (100, 100, 100))
    profile = swapped_profile() if mode == "L" else b"no profile at all"
    assert pixels(encoded(image, icc_profile=profile)) == [[[100] * 3]]


def test_notes_count_what_was_done_and_only_where_something_was(tmp_path: Path) -> None:
    assert source(folder(tmp_path / "plain", plain)).notes == ()
    clear = encoded(Image.new("RGBA", (8, 8), (0, 0, 0, 0)))
    deep = encoded(grey([[0, 65535]] * 2, np.uint16))
    mixed = folder(
        tmp_path / "mixed", lambda number: {0: clear, 1: clear, 4: deep}.get(number, plain(number))
    )
    assert source(mixed).notes == (
        "4 images with transparent parts, shown over white",
        "2 images in 16-bit grey, scaled to 8 bits",
    )
    assert source(mixed).notes == source(mixed).notes  # kept, and read again
    assert source(mixed).images("test")[[0]].min() == 255


def test_an_image_of_16_bits_is_not_white(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 64).reshape(8, 8).astype(np.uint16)
    data = source(folder(tmp_path / "set", lambda number: encoded(grey(ramp.tolist(), np.uint16))))
    assert np.array_equal(data.images("train")[[0]][0, 0], np.rint(ramp / 257).astype(np.uint8))


def test_other_pixels_are_another_fingerprint_and_another_key(
    tmp_path: Path, load: Callable[..., Ablation], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = folder(tmp_path / "set", plain)
    before = source(root).fingerprint
    monkeypatch.setattr(labelled, "VERSION", decoding.VERSION + 1)
    assert source(root).fingerprint != before
    data = f"data={{use: image-folder, root: {root}, size: 14}}"
    ref = make_plan(load(data), Workspace(store)).pipelines[0].tokenizer.data
    assert ref.key()["version"] == ref.resolved.component.version == 3


def test_hidden_files_and_what_macos_leaves_are_passed_over(tmp_path: Path) -> None:
    clean = source(folder(tmp_path / "clean", plain))
    root = folder(tmp_path / "mac", plain)
    for path in list(root.rglob("*.png")):
        path.with_name(f"._{path.name}").write_bytes(b"\0\5\x16\7")
    (root / "train/a/.DS_Store").write_bytes(b"x")
    (root / "train/.thumbnails").mkdir()
    (root / "train/.thumbnails/t.png").write_bytes(plain(3))
    assert (source(root).notes, source(root).spec.class_names) == ((), ("a", "b"))
    assert source(root).fingerprint == clean.fingerprint
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for path in sorted((tmp_path / "clean").rglob("*.png")):
            name = path.relative_to(tmp_path)
            archive.write(path, name)
            archive.writestr(f"__MACOSX/{name.parent}/._{name.name}", b"\0\5\x16\7")
    zipped = source(tmp_path / "set.zip")
    assert len(zipped.labels("train")) == 4
    assert zipped.notes == ()


def test_an_image_of_too_many_pixels_is_one_line_with_its_name(tmp_path: Path) -> None:
    root = folder(tmp_path / "set", plain)
    Image.new("1", (14000, 14000)).save(root / "train/a/huge.png")
    with pytest.raises(UserError, match=r"train/a/huge.png \(more than 67,108,864 pixels"):
        _ = source(root).fingerprint


def test_a_name_that_is_no_utf_8_is_read_and_can_be_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = folder(tmp_path / "set", plain)
    (root / "train/b").rename(root / "train" / b"caf\xe9".decode(errors="surrogateescape"))
    (root / "val/b").rename(root / "val" / b"caf\xe9".decode(errors="surrogateescape"))
    (root / "train/a" / b"\xe9.png".decode(errors="surrogateescape")).write_bytes(plain(1)[:50])
    monkeypatch.setattr(labelled, "BROKEN_ALLOWED", 0.5)
    data = source(root)
    assert data.spec.class_names == ("a", r"caf\udce9")
    assert len(data.fingerprint) == 16
    assert data.notes == (r"left out: 1 image that cannot be read: train/a/\udce9.png",)
    json.dumps([data.notes, data.spec.class_names], ensure_ascii=False).encode()


def test_a_class_is_one_however_its_accents_are_spelt(tmp_path: Path) -> None:
    root = folder(tmp_path / "set", plain, classes="ab")
    (root / "train/b").rename(root / "train/caf\u00e9")
    (root / "val/b").rename(root / "val/cafe\u0301")
    assert source(root).spec.class_names == ("a", "caf\u00e9")


def test_an_image_that_breaks_later_is_named(tmp_path: Path) -> None:
    root = folder(tmp_path / "set", plain)
    data = source(root)
    assert len(data.labels("test")) == 4
    (root / "val/b/1.png").write_bytes(bytes(200))
    with pytest.raises(
        UserError, match=r"set: val/b/1.png cannot be read \(not an image of a known format\)"
    ):
        data.images("test")[:]


def test_what_is_no_image_by_its_ending_or_lies_elsewhere_is_said(tmp_path: Path) -> None:
    root = folder(
        tmp_path / "tiff", lambda number: encoded(Image.new("L", (8, 8)), "TIFF"), ending="tif"
    )
    with pytest.raises(MissingDataError) as raised:
        _ = source(root).spec
    assert (
        "found no train images in train/CLASS/ with one of the endings .jpeg, .jpg, .jpe, "
        ".jfif, .png, .webp, .bmp"
    ) in str(raised.value)
    assert "found 8 .tif. " in str(raised.value)
    flat = tmp_path / "flat"
    flat.mkdir()
    (flat / "one.png").write_bytes(plain(0))
    with pytest.raises(MissingDataError, match=r"found 1 image elsewhere, such as one.png. Set"):
        _ = source(flat).spec
    some = folder(tmp_path / "some", plain)
    (some / "train/a/more.tif").write_bytes(b"II*\0")
    (some / "train/a/session").mkdir()
    (some / "train/a/session/x.png").write_bytes(plain(9))
    assert source(some).notes == (
        "left out: 1 image not directly inside a folder SPLIT/CLASS/: train/a/session/x.png",
        "left out: files in folders of classes, 1 .tif; read are .jpeg, .jpg, .jpe, .jfif, .png, "
        ".webp, .bmp",
    )


def test_what_the_competition_s_zip_holds_beside_is_no_news(tmp_path: Path) -> None:
    from tests.factories.imagenet import files

    with zipfile.ZipFile(tmp_path / "imagenet.zip", "w") as archive:
        for name, data in files().items():
            archive.writestr(name, data)
        archive.writestr(
            "ILSVRC/Annotations/CLS-LOC/train/n01440764/n01440764_0.xml", "<annotation/>"
        )
    assert ImageNet(ImageNetSettings(root=str(tmp_path / "imagenet.zip"), size=16)).notes == ()
