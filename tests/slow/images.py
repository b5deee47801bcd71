"""Image files, folders, zips and idx files of strangers, planned and read as a training does.

Every one is read, counted as broken, or refused in one line; images that are whole are read pixel
by pixel as they are.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import json
import os
import random
import socket
import struct
import sys
import warnings
import zipfile
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from attrs import frozen
from PIL import Image, ImageCms

from prologue_bench.errors import PrologueBenchError
from tests.slow.harness import Campaign, Ending, Fault, Program, faults_of

MEMORY = 2_000_000_000
SECONDS = 60.0
EDGE = 14
ENDINGS = ("png", "jpg", "jpeg", "webp", "bmp", "PNG", "JPG")
ODD_NAMES = (b"caf\xe9.png", b"\xff\xfe.jpg", b"a\nb.png", b"\x1b[31m.png", b"x" * 251 + b".png")
STRANGER = (12345, 100)
"""User and group of a process that may not read everything."""
ABLATION = """
name: images
profile: smoke
data: {use: image-folder, size: 14}
tokenizer: {use: vq-2d}
generator: {use: ar}
metrics: [psnr]
"""


@frozen
class Context:
    """What all tries share."""

    program: Program
    seeds: Mapping[str, bytes]
    """Small images of many formats."""
    bombs: Mapping[str, bytes]
    """Raw streams that unpack to gigabytes, by their zip method's name."""
    ablation: Path


def prepare(folder: Path, program: Program) -> Context:
    """Small images of all formats that Pillow writes, and bombs."""
    path = folder / "images.yaml"
    path.write_text(ABLATION)
    return Context(program, small_images(), bombs(), path)


def small_images() -> dict[str, bytes]:
    """By format and variety."""
    rng = np.random.default_rng(0)
    colours = Image.fromarray(rng.integers(0, 256, (24, 20, 3), dtype=np.uint8))
    clear = Image.fromarray(rng.integers(0, 256, (24, 20, 4), dtype=np.uint8))
    deep = Image.fromarray(rng.integers(0, 2**16, (24, 20), dtype=np.uint16))
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    turned = Image.Exif()
    turned[274] = 6
    several = {"save_all": True, "append_images": [colours.rotate(180)]}
    kinds: dict[str, tuple[Image.Image, str, dict[str, Any]]] = {
        "png": (colours, "PNG", {}),
        "png-clear": (clear, "PNG", {"exif": turned}),
        "png-palette": (colours.quantize(9), "PNG", {"transparency": 3}),
        "png-bits": (colours.convert("1"), "PNG", {}),
        "png-deep": (deep, "PNG", {}),
        "png-profile": (colours, "PNG", {"icc_profile": profile}),
        "png-frames": (colours, "PNG", several),
        "jpeg": (colours, "JPEG", {"exif": turned, "icc_profile": profile}),
        "jpeg-progressive": (colours, "JPEG", {"progressive": True}),
        "jpeg-cmyk": (colours.convert("CMYK"), "JPEG", {}),
        "mpo": (colours, "MPO", several),
        "webp": (colours, "WEBP", {"exif": turned}),
        "webp-clear": (clear, "WEBP", {"lossless": True}),
        "webp-frames": (colours, "WEBP", several),
        "bmp": (colours, "BMP", {}),
        "bmp-palette": (colours.quantize(9), "BMP", {}),
        "gif-frames": (colours, "GIF", several),
        "tiff": (colours, "TIFF", {"compression": "tiff_lzw"}),
        **{
            kind.lower(): (colours, kind, {})
            for kind in (
                *("AVIF", "DDS", "EPS", "ICNS", "ICO", "IM", "JPEG2000", "PCX", "PDF", "PPM"),
                *("SGI", "TGA"),
            )
        },
    }
    made = {}
    for name, (image, kind, options) in kinds.items():
        out = io.BytesIO()
        with suppress(OSError, KeyError, ValueError):  # one that this Pillow does not write
            image.save(out, kind, **options)
            made[name] = out.getvalue()
    return made


def bombs() -> dict[str, bytes]:
    """3 GB of zeros in a few MB, deflated, and 100 MB in bzip2."""
    press = zlib.compressobj(9, wbits=-15)
    part = press.compress(bytes(2**24)) + press.flush(zlib.Z_FULL_FLUSH)
    return {"deflated": part * 192 + b"\x03\x00", "bzip2": bz2.compress(bytes(100_000_000))}


# Image files


def mutated(draw: random.Random, seeds: Mapping[str, bytes]) -> bytes:
    """One of the small images damaged in some way, or with a header that claims another size."""
    name = draw.choice(list(seeds))
    content = bytearray(seeds[name])
    change = draw.choice((_flip, _extreme, _cut, _join, _repeat, _claim, _claim, _chunks))
    for _ in range(draw.choice((1, 1, 2, 5))):
        if len(content) > 1:
            content = bytearray(change(draw, content, seeds))
    return bytes(content)


def _flip(draw: random.Random, content: bytearray, seeds: Mapping[str, bytes]) -> bytearray:
    for _ in range(draw.choice((1, 3, 30))):
        content[draw.randrange(len(content))] = draw.randrange(256)
    return content


def _extreme(draw: random.Random, content: bytearray, seeds: Mapping[str, bytes]) -> bytearray:
    value = draw.choice(
        (
            b"\0\0\0\0",
            b"\xff\xff\xff\xff",
            b"\x7f\xff\xff\xff",
            b"\0\0\0\x80",
            b"\xff\xff",
            b"\xff\x7f",
        )
    )
    at = draw.randrange(min(len(content), 200))
    content[at : at + len(value)] = value
    return content


def _cut(draw: random.Random, content: bytearray, seeds: Mapping[str, bytes]) -> bytearray:
    return content[: draw.randrange(1, len(content))] + bytes(draw.choice((0, 0, 100)))


def _join(draw: random.Random, content: bytearray, seeds: Mapping[str, bytes]) -> bytearray:
    other = seeds[draw.choice(list(seeds))]
    at = draw.randrange(1, len(content))
    return content[:at] + other[draw.randrange(len(other)) :]


def _repeat(draw: random.Random, content: bytearray, seeds: Mapping[str, bytes]) -> bytearray:
    start = draw.randrange(len(content))
    part = content[start : start + draw.randrange(1, 100)]
    return content[:start] + part * draw.choice((2, 10, 1000)) + content[start:]


def _claim(draw: random.Random, content: bytearray, seeds: Mapping[str, bytes]) -> bytearray:
    """Another width and height in the header."""
    width, height = draw.choice(
        (
            *((65535, 65535), (1, 60000), (60000, 1), (8192, 8192), (16383, 16383), (11585, 11585)),
            *((0, 5), (2**31 - 1, 1)),
        )
    )
    if content[:4] == b"\x89PNG":
        content[16:24] = struct.pack(">II", width, height)
        content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    elif content[:2] == b"\xff\xd8":
        for marker in (b"\xff\xc0", b"\xff\xc2"):
            if (at := content.find(marker)) > 0:
                content[at + 5 : at + 9] = struct.pack(">HH", height & 0xFFFF, width & 0xFFFF)
    elif content[:2] == b"BM":
        content[18:26] = struct.pack("<ii", width, draw.choice((height, -height)))
    elif content[:3] == b"GIF":
        content[6:10] = struct.pack("<HH", width & 0xFFFF, height & 0xFFFF)
    elif content[8:16] == b"WEBPVP8X":
        content[24:30] = (
            struct.pack("<I", width & 0xFFFFFF)[:3] + struct.pack("<I", height & 0xFFFFFF)[:3]
        )
    return content


def _chunks(draw: random.Random, content: bytearray, seeds: Mapping[str, bytes]) -> bytearray:
    """A chunk of a PNG, with a checksum that is right: a bomb, or any bytes."""
    if content[:4] != b"\x89PNG":
        return _flip(draw, content, seeds)
    bomb = zlib.compress(bytes(draw.choice((1000, 2_000_000, 80_000_000))))
    noise = draw.randbytes(draw.choice((0, 5, 300)))
    name, body = draw.choice(
        (
            (b"zTXt", b"k\0\0" + bomb),
            (b"iTXt", b"k\0\1\0\0\0" + bomb),
            (b"iCCP", b"k\0\0" + bomb),
            (b"iCCP", b"k\0\0" + zlib.compress(noise)),
            (b"tEXt", b"k\0" + bytes(2_000_000)),
            (b"eXIf", b"MM\0*" + noise),
            (b"tRNS", noise),
            (b"PLTE", noise),
            (b"acTL", struct.pack(">II", draw.choice((0, 5, 2**31)), 0)),
            (b"fcTL", noise),
            (b"gAMA", noise),
            (b"IDAT", bomb),
        )
    )
    chunk = struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
    return content[:33] + chunk + content[33:]


# Folders


def good_images(folder: Path, classes: tuple[str, ...] = ("a", "b")) -> dict[str, str]:
    """Whole images in both splits, and by name the SHA-256 of their pixels, planes first."""
    digests = {}
    for split in ("train", "val"):
        for label, name in enumerate(classes):
            pixels = np.random.default_rng((label, len(split))).integers(
                0, 256, (EDGE, EDGE, 3), dtype=np.uint8
            )
            path = folder / split / name / "whole.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
            digests[str(path.relative_to(folder))] = hashlib.sha256(
                pixels.transpose(2, 0, 1).tobytes()
            ).hexdigest()
    return digests


def odd_entry(draw: random.Random, at: Path, seeds: Mapping[str, bytes]) -> None:
    """Something beside the whole images that is no whole image, or has an odd name."""
    kinds: list[Callable[[], object]] = [
        lambda: os.mkfifo(at / "fifo.png"),
        lambda: (at / "zero.png").symlink_to("/dev/zero"),
        lambda: (at / "random.jpg").symlink_to("/dev/urandom"),
        lambda: (at / "mem.jpg").symlink_to("/proc/self/mem"),
        lambda: (at / "nothing.png").symlink_to("nowhere.png"),
        lambda: (at / "itself.png").symlink_to("itself.png"),
        lambda: (at / "folder.png").mkdir(),
        lambda: (at / "root").symlink_to("/"),
        lambda: [(at / name).symlink_to(".") for name in ("l1", "l2", "l3.png")],
        lambda: [(at.parent / name).symlink_to(".") for name in ("l1", "l2")],
        lambda: [(at / name).symlink_to(at.parent.parent) for name in ("up", "up.png")],
        lambda: _web(at),
        lambda: (at / "empty.png").write_bytes(b""),
        lambda: _sparse(at / "sparse.bmp", draw.choice((2**31, 2**40))),
        lambda: _sparse(at / "zeros.png", 2**20),
        lambda: _unreadable(at / "unreadable.png"),
        lambda: _unreadable_folder(at.parent / "closed"),
        lambda: _socket(at / "socket.png"),
        lambda: [
            (at / name).write_bytes(b"\0\5\x16\7")
            for name in ("._whole.png", ".DS_Store", "Thumbs.db")
        ],
        lambda: [
            (at / name).write_text("[x]") for name in ("desktop.ini", "DESKTOP.INI", "ehthumbs.db")
        ],
        lambda: _mac(at.parent.parent / "__MACOSX/train/a"),
        lambda: _mac(at / "@eaDir/whole.png"),
        lambda: (at.parent.parent / "$RECYCLE.BIN").mkdir(exist_ok=True),
        lambda: _named(
            at,
            draw.choice(
                (
                    b"caf\xe9.png",
                    b"\xff\xfe.jpg",
                    b"a\nb.png",
                    b"\x1b[31m.png",
                    b"x" * 251 + b".png",
                )
            ),
        ),
        lambda: (at / mutated_name(draw)).write_bytes(mutated(draw, seeds)),
    ]
    with suppress(OSError):  # such a name is there already
        draw.choice(kinds)()


def mutated_name(draw: random.Random) -> str:
    """A name that no other file has."""
    return f"{draw.randrange(10**9)}.{draw.choice(ENDINGS)}"


def _web(at: Path) -> None:
    """Folders that each hold links to all of them."""
    web = at.parent / "web"
    for number in range(9):
        (web / str(number)).mkdir(parents=True)
        for other in range(9):
            (web / str(number) / f"to{other}").symlink_to(web / str(other))


def _sparse(path: Path, size: int) -> None:
    with path.open("wb") as file:
        file.truncate(size)


def _unreadable(path: Path) -> None:
    path.write_bytes(b"x")
    path.chmod(0)


def _unreadable_folder(path: Path) -> None:
    path.mkdir()
    path.chmod(0)


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as each:
        each.bind(str(path))


def _mac(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "._whole.png").write_bytes(b"\0\5\x16\7")
    (folder / "thumbnail.jpg").write_bytes(b"\0\5\x16\7")


def _named(at: Path, name: bytes) -> None:
    Path(os.fsdecode(os.path.join(os.fsencode(at), name))).write_bytes(
        (at / "whole.png").read_bytes()
    )


# Zips


def zip_of(root: Path, path: Path, draw: random.Random, context: Context) -> None:
    """A zip of a folder's whole images with odd members, or with damage anywhere."""
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w") as archive:
        warnings.simplefilter("ignore")  # of names that stand twice
        for each in sorted(root.rglob("*.png")):
            archive.write(each, each.relative_to(root))
        for _ in range(draw.randrange(4)):
            name = draw.choice(
                (
                    "train/a/whole.png",
                    "/train/a/absolute.png",
                    "train/a/../../../out.png",
                    "../train/a/out.png",
                    "train\\a\\back.png",
                    "train/a/caf\xe9.png",
                    "train/a/x.png/",
                    "train/a/" + "x" * 60_000 + ".png",
                    "train/a//twice.png",
                    "__MACOSX/train/a/._whole.png",
                    "train/a/nested.zip",
                    "train/a/a\nb.png",
                    f"train/b/{mutated_name(draw)}",
                )
            )
            method = draw.choice(
                (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
            )
            archive.writestr(name, mutated(draw, context.seeds), method)
        if bomb := draw.choice((*[None] * 12, *context.bombs)):
            archive.writestr("train/b/bomb.png", context.bombs[bomb])
    content = bytearray(path.read_bytes())
    if bomb is not None:
        _unpacks_to(content, len(context.bombs[bomb]), 8 if bomb == "deflated" else 12, draw)
    change = draw.choice(
        ("none", "none", "flag", "method", "size", "stream", "directory", "cut", "before", "bytes")
    )
    directory = content.rfind(b"PK\1\2")
    starts = [at for at in range(len(content)) if content[at : at + 4] == b"PK\1\2"]
    if change in ("flag", "method", "size") and starts:
        at = draw.choice(starts)
        local = struct.unpack_from("<I", content, at + 42)[0]
        offset, value = {
            "flag": (8, struct.pack("<H", draw.choice((1, 0x40, 0x800, 0xFFFF)))),
            "method": (10, struct.pack("<H", draw.choice((1, 6, 9, 12, 14, 93, 99, 0xFFFF)))),
            "size": (
                draw.choice((16, 20, 24, 42)),
                struct.pack("<I", draw.choice((0, 5, 2**31, 2**32 - 1))),
            ),
        }[change]
        content[at + offset : at + offset + len(value)] = value
        if change != "size" and local + 30 < len(content):
            content[local + offset - 2 : local + offset - 2 + len(value)] = value
    elif change == "stream":
        content[draw.randrange(30, max(31, directory))] ^= 0xFF
    elif change == "directory":
        for _ in range(draw.choice((1, 5))):
            content[draw.randrange(max(0, directory), len(content))] = draw.choice(
                (0, 0xFF, draw.randrange(256))
            )
    elif change == "cut":
        del content[draw.randrange(len(content)) :]
    elif change == "before":
        content[:0] = draw.randbytes(100)
    elif change == "bytes":
        content[:] = draw.randbytes(draw.choice((0, 3, 5000)))
    path.write_bytes(content)


def _unpacks_to(content: bytearray, packed: int, method: int, draw: random.Random) -> None:
    """Say in the headers of the last member that it is compressed."""
    name = b"train/b/bomb.png"
    size = struct.pack("<I", draw.choice((3 * 2**30, 300_000_000, 1000)))
    local = content.rfind(b"PK\3\4", 0, content.find(name) + 1)
    entry = content.rfind(b"PK\1\2")
    for at, shift in ((local, 0), (entry, 2)):
        content[at + 8 + shift : at + 10 + shift] = struct.pack("<H", method)
        content[at + 18 + shift : at + 22 + shift] = struct.pack("<I", packed)
        content[at + 22 + shift : at + 26 + shift] = size


# Idx files


def idx_files(folder: Path, draw: random.Random) -> None:
    """The four files of Fashion-MNIST with a few images, some of them mutated."""
    for split, count in (("train", 12), ("t10k", draw.choice((6, 6, 6, 0)))):
        pixels = draw.randbytes(784 * count)
        images = struct.pack(">IIII", 0x803, count, 28, 28) + pixels
        labels = struct.pack(">II", 0x801, count) + bytes(number % 10 for number in range(count))
        for name, content in (
            (f"{split}-images-idx3-ubyte", images),
            (f"{split}-labels-idx1-ubyte", labels),
        ):
            changed = bytearray(content)
            change = draw.choice(
                (
                    *("none", "none", "magic", "shape", "shape", "cut", "more", "values"),
                    *("gone", "empty"),
                )
            )
            if change == "magic":
                changed[draw.randrange(4)] = draw.choice((0, 1, 3, 8, 0xD, 0xFF))
            elif change == "shape":
                at = draw.choice((4, 8, 12))
                changed[at : at + 4] = struct.pack(
                    ">I", draw.choice((0, 1, 11, 13, 2**16, 2**31, 2**32 - 1))
                )
            elif change == "cut":
                del changed[draw.randrange(len(changed)) :]
            elif change == "more":
                changed += bytes(draw.choice((1, 784, 5_000_000)))
            elif change == "values":
                changed[-draw.randrange(1, 5) :] = b"\xff"
            elif change == "empty":
                changed.clear()
            zipped = draw.random() < 0.7
            data = gzip.compress(bytes(changed), 1) if zipped else bytes(changed)
            if zipped and draw.random() < 0.3:
                damaged = bytearray(data)
                damage = draw.choice((_flip, _cut, _extreme, _repeat))
                data = bytes(damage(draw, damaged, {})) if damaged else b""
            if zipped and draw.random() < 0.05:
                data = gzip.compress(bytes(changed) + bytes(100_000_000), 1)
            path = folder / (f"{name}.gz" if zipped else name)
            if change == "gone":
                draw.choice((lambda path: None, Path.mkdir, os.mkfifo))(path)
            else:
                path.write_bytes(data)


# One try


def attempt(context: Context, draw: random.Random, folder: Path) -> list[Fault]:
    """One folder, zip or set of idx files, looked at and read whole, or planned."""
    root, kind = (
        folder / "set",
        draw.choice(("files", "files", "files", "files", "tree", "tree", "zip", "zip", "idx")),
    )
    cache = folder / "cache"
    for each in (root, cache):
        each.mkdir()
        each.chmod(0o777)
    whole: dict[str, str] = {}
    if kind == "idx":
        idx_files(root, draw)
    else:
        whole = good_images(root)
        for _ in range(draw.randrange(4) if kind == "tree" else 0):
            odd_entry(draw, root / draw.choice(("train/a", "val/b")), context.seeds)
        for _ in range(8 if kind == "files" else 0):
            at = root / draw.choice(("train/a", "val/b"))
            (at / mutated_name(draw)).write_bytes(mutated(draw, context.seeds))
    if kind == "zip":
        zip_of(root, folder / "set.zip", draw, context)
        root, whole = folder / "set.zip", {}
    later = kind in ("files", "tree") and draw.random() < 0.1
    user = STRANGER if kind in ("files", "tree") and draw.random() < 0.3 else None
    options: dict[str, Any] = {
        "cwd": folder,
        "env": {"XDG_CACHE_HOME": str(cache), "PROLOGUE_BENCH_STORE": str(cache / "store")},
        "timeout": SECONDS,
        "memory": MEMORY,
        "user": user,
    }
    if draw.random() < 0.1:
        use = "fashion-mnist" if kind == "idx" else "image-folder"
        data = f"data={{use: {use}, root: {root}}}" if kind == "idx" else f"data.root={root}"
        ending = context.program.run(["plan", context.ablation, "--set", data], **options)
        return [*faults_of(ending, f"plan of {kind}"), *_unforeseen(ending, kind)]
    crops = draw.choice(("centre", "ten"))
    arguments = [kind, root, crops, "later" if later else "at once", str(draw.randrange(2**32))]
    ending = context.program.run(arguments, call="tests.slow.images:read_all", **options)
    return [
        *faults_of(ending, f"{kind} read"),
        *_unforeseen(ending, kind),
        *_differences(ending, whole),
    ]


def _unforeseen(ending: Ending, kind: str) -> list[Fault]:
    lines = ending.err.strip().splitlines()
    if ending.timed_out or ending.code in (0, 2, 70) or ending.code < 0:
        return []
    return [
        Fault(
            "traceback",
            f"{kind}: exit {ending.code}: {lines[-1][:300] if lines else 'nothing printed'}",
        )
    ]


def _differences(ending: Ending, whole: Mapping[str, str]) -> list[Fault]:
    """Whole images that are not read as they are."""
    if ending.code != 0 or not ending.out:
        return []
    found = json.loads(ending.out)
    faults = [Fault("silent", text) for text in found["differences"]]
    for name, digest in whole.items():
        if found["read"].get(name) != digest:
            faults.append(Fault("silent", f"{name} is whole, and was left out or read as another"))
    return faults


def read_all(argv: list[str]) -> int:
    """In the child: plan, look at and read images as a training does, twice; print it as JSON."""
    from prologue_plugins.datasets import labelled

    labelled.BROKEN_ALLOWED = 1.0
    kind, root, crops, when, seed = argv
    try:
        print(json.dumps(_read_all(kind, Path(root), crops, when == "later", random.Random(seed))))
    except PrologueBenchError as error:
        print(f"prologue-bench: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _read_all(
    kind: str, root: Path, crops: str, later: bool, draw: random.Random
) -> dict[str, Any]:
    from prologue_plugins.datasets.fashion_mnist import FashionMnist
    from prologue_plugins.datasets.imagenet import ClassFolders
    from prologue_plugins.datasets.settings import FashionMnistSettings, ImageFolderSettings

    def opened() -> Any:
        if kind == "idx":
            return FashionMnist(FashionMnistSettings(root=str(root)))
        return ClassFolders(ImageFolderSettings(root=str(root), size=EDGE, crops=crops))  # type: ignore[arg-type]

    outline = opened().outline()
    named = [len(outline.labels(split)) for split in ("train", "test")]
    data, differences, read = opened(), [], {}
    for split, count in zip(("train", "test"), named, strict=True):
        if len(data.labels(split)) > count:
            differences.append(f"{split}: more images than the outline has")
    if later:
        spoil(root, draw)
    for split in ("train", "test"):
        images, names = data.images(split), getattr(data.images(split), "names", None)
        assert len(images) == len(data.labels(split))
        for index in range(len(images)):
            pixels = np.asarray(images[[index]])
            assert pixels.shape == (1, data.spec.channels, data.spec.height, data.spec.width)
            if names is not None:
                read[names[index]] = hashlib.sha256(pixels.tobytes()).hexdigest()
    views = data.training_views()
    for index in range(0, len(views), 10):
        np.asarray(views[[index]])
    if not later and opened().fingerprint != data.fingerprint:
        differences.append("another fingerprint the second time")
    json.dumps([data.notes, data.spec.class_names], ensure_ascii=False).encode()
    return {
        "read": {os.fsencode(name).decode("latin-1"): digest for name, digest in read.items()},
        "differences": differences,
    }


def spoil(root: Path, draw: random.Random) -> None:
    """Change a file after it was looked at."""
    path = draw.choice(sorted(root.rglob("*.png")))
    with suppress(OSError):
        if draw.random() < 0.5:
            path.write_bytes(path.read_bytes()[: draw.choice((0, 30, 60))])
        else:
            path.unlink()
            draw.choice((lambda path: None, Path.mkdir, os.mkfifo))(path)


CAMPAIGN = Campaign(
    name="images",
    title="Images, folders, zips and idx files as strangers may have made them",
    tries=2500,
    share=20,
    prepare=prepare,
    attempt=attempt,
)
