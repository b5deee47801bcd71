"""No header, member, link or size takes a run down.

An image is read, counted as broken, or named in one line.
"""

from __future__ import annotations

import gzip
import io
import os
import random
import re
import socket
import struct
import threading
import tracemalloc
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from prologue_bench.cli.app import cli
from prologue_bench.config.ablation import Ablation
from prologue_bench.errors import MissingDataError, UserError
from prologue_bench.pipeline.planner import make_plan
from prologue_bench.pipeline.workspace import Workspace
from prologue_bench.storage.store import Store
from prologue_bench.texts.lines import CONTROLS, escaped
from prologue_plugins.datasets import archives, decoding, fashion_mnist, labelled
from prologue_plugins.datasets.archives import FolderArchive
from prologue_plugins.datasets.crops import shrink
from prologue_plugins.datasets.decoding import read_picture
from prologue_plugins.datasets.fashion_mnist import FILES
from prologue_plugins.datasets.imagenet import ClassFolders
from prologue_plugins.datasets.names import shortened
from prologue_plugins.datasets.settings import ImageFolderSettings
from prologue_plugins.datasets.turns import Turns
from tests.factories.image_files import encoded
from tests.slow.images import small_images

SIZE = 8
NOBODY = 12345


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(labelled, "BROKEN_ALLOWED", 0.6)


def plain(seed: int) -> bytes:
    levels = np.random.default_rng(seed).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
    return encoded(Image.fromarray(levels))


def folder(root: Path) -> Path:
    """Two classes of four images to train on, and one each to test on."""
    for label, name in enumerate("ab"):
        for split, count in (("train", 4), ("val", 1)):
            (root / split / name).mkdir(parents=True)
            for number in range(count):
                (root / split / name / f"{number}.png").write_bytes(plain(10 * label + number))
    return root


def source(root: Path) -> ClassFolders:
    return ClassFolders(ImageFolderSettings(root=str(root), size=SIZE))


def claims(content: bytes, width: int, height: int) -> bytes:
    """A PNG whose header says another size."""
    header = content[12:16] + struct.pack(">II", width, height) + content[24:29]
    return content[:12] + header + struct.pack(">I", zlib.crc32(header)) + content[33:]


def with_chunk(content: bytes, name: bytes, body: bytes) -> bytes:
    return (
        content[:33]
        + struct.pack(">I", len(body))
        + name
        + body
        + struct.pack(">I", zlib.crc32(name + body))
        + content[33:]
    )


SMALL = small_images()
DAMAGED = {
    "claims 20000 x 20000": claims(plain(0), 20000, 20000),
    "claims 65535 x 65535": SMALL["jpeg"].replace(struct.pack(">HH", 24, 20), b"\xff\xff\xff\xff"),
    "claims 0 x 5": claims(plain(0), 0, 5),
    "empty": b"",
    "text of 80 MB": with_chunk(plain(0), b"zTXt", b"k\0\0" + zlib.compress(bytes(80_000_000))),
    **{
        kind: SMALL[kind]
        for kind in ("dds", "eps", "tiff", "ico", "ppm", "tga", "jpeg2000", "pdf")
        if kind in SMALL
    },
    **({"avif": SMALL["avif"]} if "avif" in SMALL else {}),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_what_claims_too_much_or_is_of_another_format_is_a_broken_image(
    tmp_path: Path, name: str
) -> None:
    root = folder(tmp_path / "set")
    (root / "train/a/odd.png").write_bytes(DAMAGED[name])
    data = source(root)
    assert data.broken.keys() == {"train/a/odd.png"}
    assert data.images("train")[:].shape == (8, 3, SIZE, SIZE)
    assert "left out: 1 image that cannot be read: train/a/odd.png" in data.notes


@pytest.mark.parametrize(
    "kind", ["png-frames", "webp-frames", "gif-frames", "mpo", "png-profile", "jpeg-cmyk"]
)
def test_what_a_viewer_shows_is_read_whatever_its_ending(tmp_path: Path, kind: str) -> None:
    root = folder(tmp_path / "set")
    (root / "train/a/odd.png").write_bytes(SMALL[kind])
    assert source(root).broken == {}


@pytest.mark.parametrize("size", [(1, 60_000), (60_000, 1)])
def test_of_a_very_long_image_the_middle_is_resized(size: tuple[int, int]) -> None:
    levels = np.zeros(size[::-1], np.uint8)
    levels.reshape(-1)[29_990:30_010] = 200  # the middle
    shrunk = shrink(Image.fromarray(levels), 256)
    assert sorted(shrunk.size) == [256, 16 * 256]
    assert np.asarray(shrunk).min() > 150


def test_an_image_of_usual_proportions_is_resized_whole() -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 300, 3), dtype=np.uint8))
    assert np.array_equal(
        shrink(image, 10), image.resize((150, 10), Image.Resampling.BOX).resize((150, 10))
    )


def test_a_jpeg_above_the_limit_of_pixels_is_decoded_at_half_its_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    content = encoded(Image.new("RGB", (64, 48), (200, 30, 30)), "JPEG")
    monkeypatch.setattr(decoding, "PIXELS", 3000)
    assert read_picture(content).image.size == (32, 24)
    assert read_picture(content, 8).image.size == (11, 8)
    with pytest.raises(ValueError, match="more than 67,108,864 pixels"):
        read_picture(encoded(Image.new("RGB", (64, 48))))
    monkeypatch.setattr(decoding, "JPEG_PIXELS", 3000)
    with pytest.raises(ValueError, match="more than "):
        read_picture(content)


def test_threads_take_turns_where_memory_would_not_do() -> None:
    turns, inside, most = Turns(10), [0], []

    def work(amount: int) -> None:
        with turns.of(amount):
            inside[0] += amount
            most.append(inside[0])
            threading.Event().wait(0.002)
            inside[0] -= amount

    threads = [threading.Thread(target=work, args=(amount,)) for amount in (4, 5, 6, 30, 10, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(most) == 6
    assert max(most) == 30, "what is more than all turns comes alone"
    assert sorted(most)[-2] <= 10


ODD: dict[str, Callable[[Path], object]] = {
    "fifo": os.mkfifo,
    "device": lambda path: path.symlink_to("/dev/zero"),
    "dangling": lambda path: path.symlink_to("nowhere"),
    "loop": lambda path: path.symlink_to(path.name),
    "folder": Path.mkdir,
    "socket": lambda path: socket.socket(socket.AF_UNIX).bind(str(path)),
    "sparse": lambda path: (path.touch(), os.truncate(path, 2**40)),
}


@pytest.mark.parametrize("kind", ODD)
def test_what_is_no_ordinary_file_is_a_broken_image(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = folder(tmp_path / "set")
    monkeypatch.chdir(root / "train/a")
    ODD[kind](Path("odd.png"))
    assert source(root).broken.keys() == {"train/a/odd.png"}
    assert len(source(root).labels("train")) == 8


@pytest.mark.parametrize("kind", ["fifo", "dangling", "folder"])
def test_what_takes_an_image_s_place_later_is_named(tmp_path: Path, kind: str) -> None:
    root = folder(tmp_path / "set")
    data = source(root)
    assert len(data.labels("train")) == 8
    (root / "train/a/2.png").unlink()
    ODD[kind](root / "train/a/2.png")
    with pytest.raises(
        UserError, match=r"set: train/a/2.png cannot be read .* but could be before"
    ):
        data.images("train")[:]


def test_links_in_circles_are_passed_over_and_those_to_other_folders_followed(
    tmp_path: Path,
) -> None:
    root = folder(tmp_path / "set")
    (tmp_path / "other").mkdir()
    (tmp_path / "other/x.png").write_bytes(plain(99))
    for split in ("train", "val"):
        (root / split / "c").symlink_to(tmp_path / "other")
    for name in ("l1", "l2"):
        (root / "train" / name).symlink_to(".")
    (root / "train/a/up").symlink_to(root)
    (root / "train/a/everything").symlink_to("/")
    data = source(root)
    assert data.spec.class_names == ("a", "b", "c")
    assert (len(data.labels("train")), len(data.labels("test")), data.notes) == (9, 3, ())


def test_folders_that_all_link_to_each_other_are_refused_in_one_line(tmp_path: Path) -> None:
    root = folder(tmp_path / "set")
    for number in range(9):
        (root / f"web/{number}").mkdir(parents=True)
        for other in range(9):
            (root / f"web/{number}/to{other}").symlink_to(root / f"web/{other}")
    with pytest.raises(
        UserError, match=r"links lead to the folder web/.* in more than 16 ways"
    ) as raised:
        _ = source(root).spec
    assert len(str(raised.value)) < 500


def test_what_windows_and_network_drives_leave_is_passed_over(tmp_path: Path) -> None:
    root = folder(tmp_path / "set")
    for name in ("Thumbs.db", "desktop.ini", "DESKTOP.INI", "ehthumbs.db", "._0.png"):
        (root / "train/a" / name).write_bytes(b"x")
    for place in (
        "$RECYCLE.BIN/train/a",
        "System Volume Information/train/a",
        "train/a/@eaDir",
        "lost+found",
    ):
        (root / place).mkdir(parents=True)
        (root / place / "x.jpg").write_bytes(b"x")
    assert source(root).notes == ()
    assert source(root).spec.class_names == ("a", "b")


@contextmanager
def as_nobody() -> Iterator[None]:
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
def test_files_that_cannot_be_read_are_broken_and_a_folder_that_cannot_is_named(
    tmp_path: Path,
) -> None:
    root = folder(tmp_path / "set")
    (root / "train/a/0.png").chmod(0)
    for each in (tmp_path, *tmp_path.parents):
        if each.stat().st_uid == 0 and not each.stat().st_mode & 1:
            each.chmod(each.stat().st_mode | 0o111)
    names = ["train/a/0.png", "train/a/1.png"]
    with as_nobody():
        found = FolderArchive(root).checksums(names)
        assert found[0] == archives.UNREAD
        assert len(found[1]) == 64
    (root / "train/b").chmod(0)
    with (
        as_nobody(),
        pytest.raises(UserError, match=r"train/b: cannot be listed: Permission denied"),
    ):
        FolderArchive(root).names()


@pytest.mark.parametrize("root", ["~nosuchuser/set", "a\0b", "x" * 5000, "/dev/zero"])
def test_a_root_that_is_no_folder_is_one_line(root: str) -> None:
    with pytest.raises(UserError):
        source(Path(root))


# Zips


def zipped(path: Path, content: bytes = b"", **change: Any) -> Path:
    """A zip of `folder`'s images with `train/a/odd.png`, whose headers are changed."""
    root = folder(path.parent / "files")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for each in sorted(root.rglob("*.png")):
            archive.write(each, each.relative_to(root))
        archive.writestr("train/a/odd.png", content or plain(77))
    raw = bytearray(path.read_bytes())
    entry, local = raw.rfind(b"PK\1\2"), raw.rfind(b"PK\3\4")
    for name, value in change.items():
        at, kind = {
            "flags": (8, "<H"),
            "method": (10, "<H"),
            "packed": (20, "<I"),
            "size": (24, "<I"),
        }[name]
        struct.pack_into(kind, raw, entry + at, value)
        struct.pack_into(kind, raw, local + at - 2, value)
    if not change and not content:
        raw[local + 60] ^= 0xFF
    path.write_bytes(raw)
    return path


@pytest.mark.parametrize(
    "change",
    [
        {"flags": 1},
        {"method": 99},
        {"method": zipfile.ZIP_BZIP2},
        {"size": 3 * 2**30},
        {"size": 5},
        {},
    ],
    ids=str,
)
def test_a_member_that_cannot_be_unpacked_is_a_broken_image(
    tmp_path: Path, change: dict[str, int]
) -> None:
    data = source(zipped(tmp_path / "set.zip", **change))
    assert data.broken.keys() == {"train/a/odd.png"}
    assert len(data.images("train")[:]) == 8


def test_a_member_that_unpacks_to_more_than_it_says_is_not_unpacked(tmp_path: Path) -> None:
    press = zlib.compressobj(9, wbits=-15)
    bomb = press.compress(bytes(2**26)) + press.flush()
    path = zipped(tmp_path / "set.zip", b"x")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("train/a/bomb.png", bomb, zipfile.ZIP_STORED)
    raw = bytearray(path.read_bytes())
    for at, shift in ((raw.rfind(b"PK\1\2"), 2), (raw.find(b"train/a/bomb.png") - 30, 0)):
        struct.pack_into("<H", raw, at + 8 + shift, zipfile.ZIP_DEFLATED)
        struct.pack_into("<I", raw, at + 22 + shift, 1000)
    path.write_bytes(raw)
    tracemalloc.start()
    broken = source(path).broken
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "train/a/bomb.png" in broken
    assert peak < 2**24


def test_odd_names_in_a_zip_are_read_once_each(tmp_path: Path) -> None:
    path = tmp_path / "set.zip"
    root = folder(tmp_path / "files")
    with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(path, "w") as archive:
        for each in sorted(root.rglob("*.png")):
            archive.write(each, each.relative_to(root))
        archive.writestr("./train/a/9.png", plain(50))
        archive.writestr("train/../../etc/train/a/x.png", plain(51))
        archive.writestr("train/a/caf\xe9\n\x1b[31m.png", b"broken")
        archive.writestr("Thumbs.db", b"x")
    data = source(path)
    assert len(data.labels("train")) == 9
    assert data.notes == (r"left out: 1 image that cannot be read: train/a/café\n\x1b[31m.png",)
    assert np.array_equal(
        data.images("train")[[4]][0],
        np.asarray(Image.open(io.BytesIO(plain(50)))).transpose(2, 0, 1),
    )


@settings(max_examples=60, deadline=None)
@given(draw=st.randoms(use_true_random=False))
def test_a_zip_with_a_damaged_table_is_read_or_refused_in_one_line(
    tmp_path_factory: pytest.TempPathFactory, draw: random.Random
) -> None:
    path = tmp_path_factory.mktemp("zip") / "set.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("train/a/0.png", plain(0))
        archive.writestr("val/a/0.png", plain(1))
    raw = bytearray(path.read_bytes())
    table = raw.find(b"PK\1\2")
    for _ in range(3):
        raw[draw.randrange(table, len(raw))] = draw.randrange(256)
    path.write_bytes(raw)
    message = ""
    try:
        data = source(path)
        _ = data.fingerprint, data.notes
    except UserError as error:
        message = str(error)
    assert len(message) < 700
    assert "\n" not in message


# Idx files


def idx(root: Path, **changed: bytes) -> Path:
    root.mkdir()
    for (split, part), name in FILES.items():
        count = 6 if split == "train" else 3
        images = struct.pack(">IIII", 0x803, count, 28, 28) + bytes(784 * count)
        labels = struct.pack(">II", 0x801, count) + bytes(range(count))
        content = changed.get(f"{split}_{part}", images if part == "images" else labels)
        (root / f"{name}.gz").write_bytes(gzip.compress(content, 1))
    return root


def shape(*sizes: int) -> bytes:
    return struct.pack(f">I{len(sizes)}I", 0x800 + len(sizes), *sizes)


@pytest.mark.parametrize(
    ("part", "content", "message"),
    [
        ("train_images", b"\0\0\x08\x03\0\0", "found no idx file of bytes"),
        ("train_images", b"\0\0\x08\xff" + bytes(2000), "found no idx file of bytes"),
        ("train_images", b"\0\0\x0d\x03" + bytes(2000), "found no idx file of bytes"),
        (
            "train_images",
            shape(2**31, 2**31, 4),
            r"found a shape of \(2147483648, 2147483648, 4\), expected at most",
        ),
        ("train_images", shape(6, 28, 28) + bytes(100_000_000), "found more, expected"),
        ("train_images", shape(6, 28, 28) + bytes(99), "found 99 bytes, expected"),
        (
            "train_images",
            shape(6, 20, 28) + bytes(6 * 560),
            "found images of 20 x 28, expected images of 28 x 28",
        ),
        ("train_images", shape(6) + bytes(6), "found labels, expected images"),
        (
            "train_labels",
            shape(5) + bytes(5),
            "found 5 labels, expected one label for each of the 6 images",
        ),
        (
            "test_labels",
            shape(9) + bytes(9),
            "found 9 labels, expected one label for each of the 3 images",
        ),
        ("test_labels", shape(3) + b"\0\x0a\0", "found the label 10, expected 0 to 9"),
        ("train_labels", shape(6, 28, 28) + bytes(6 * 784), "found images, expected one label"),
    ],
)
def test_idx_files_that_do_not_fit_are_one_line_when_planning(
    tmp_path: Path,
    part: str,
    content: bytes,
    message: str,
    load: Callable[..., Ablation],
    store: Store,
) -> None:
    root = idx(tmp_path / "set", **{part: content})
    with pytest.raises(UserError, match=message):
        make_plan(load(f"data={{use: fashion-mnist, root: {root}}}"), Workspace(store))


@pytest.mark.parametrize("split", ["train", "test"])
def test_no_images_are_an_error_when_planning(
    tmp_path: Path, split: str, load: Callable[..., Ablation], store: Store
) -> None:
    empty = {f"{split}_images": shape(0, 28, 28), f"{split}_labels": shape(0)}
    root = idx(tmp_path / "set", **empty)
    with pytest.raises(UserError, match=f"found no {split} images, expected at least one"):
        make_plan(load(f"data={{use: fashion-mnist, root: {root}}}"), Workspace(store))


# Plans


ABLATION = """
name: tiny
profile: smoke
data: {use: image-folder, size: 8}
tokenizer: {use: vq-2d, patch_size: 4}
generator: {use: ar}
metrics: [psnr]
"""


def planned(tmp_path: Path, *arguments: str) -> Any:
    (tmp_path / "tiny.yaml").write_text(ABLATION)
    own = ["plan", str(tmp_path / "tiny.yaml"), "--store", str(tmp_path / "store"), *arguments]
    return CliRunner().invoke(cli, own)


def test_a_plan_reads_no_image_and_says_so_until_a_run_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = folder(tmp_path / "set")
    (root / "train/a/odd.png").write_bytes(b"no image")
    with monkeypatch.context() as patch:
        for module, name in ((archives, "read_picture"), (archives, "known_checksums")):
            patch.setattr(
                module, name, lambda *arguments, **options: pytest.fail("an image was read")
            )
        first = planned(tmp_path, "--set", f"data.root={root}")
    assert first.exit_code == 0, first.output
    assert "set: 11 images found by name and not looked at yet" in first.output
    fingerprint = source(root).fingerprint
    with monkeypatch.context() as patch:
        patch.setattr(archives, "read_picture", lambda *arguments: pytest.fail("an image was read"))
        second = planned(tmp_path, "--set", f"data.root={root}")
        outline = source(root).outline()
    assert second.exit_code == 0
    assert "not looked at" not in second.output
    assert (outline.fingerprint, len(outline.labels("train"))) == (fingerprint, 8)
    with pytest.raises(MissingDataError, match="images are not read while a run is only planned"):
        outline.images("train")


def test_a_run_after_a_plan_in_one_process_has_the_images(
    tmp_path: Path, load: Callable[..., Ablation], store: Store
) -> None:
    root = folder(tmp_path / "set")
    assert planned(tmp_path, "--set", f"data.root={root}").exit_code == 0
    plan = make_plan(
        load(f"data={{use: image-folder, root: {root}, size: 8}}", "tokenizer.patch_size=4"),
        Workspace(store),
    )
    assert plan.pipelines[0].tokenizer.data.fingerprint == source(root).fingerprint


def test_plan_and_doctor_download_nothing_and_decode_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        pytest.fail("something was fetched or decoded")

    monkeypatch.setattr(fashion_mnist, "DEBIAN_FOLDER", tmp_path / "nothing")
    monkeypatch.delenv("FASHION_MNIST", raising=False)
    monkeypatch.setattr("torchvision.datasets.FashionMNIST", fails)
    monkeypatch.setattr("torch.hub.download_url_to_file", fails)
    monkeypatch.setattr(archives, "read_picture", fails)
    monkeypatch.setenv("IMAGENET", str(folder(tmp_path / "set")))
    found = planned(tmp_path, "--set", "data={use: fashion-mnist}")
    assert found.exit_code == 0, found.output
    assert "from its card; keys depend on them" in found.output
    assert "it is downloaded when it runs" in found.output
    told = CliRunner().invoke(cli, ["doctor", "--store", str(tmp_path / "new")])
    assert re.search(r"imagenet +8 \+ 2 images of 3 x 256 x 256", told.output)
    assert "it is downloaded when it runs" in told.output
    assert not (tmp_path / "new").exists()


def test_torch_fidelity_gets_weights_that_were_written_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from prologue_plugins.metrics.features import inception_weights
    from prologue_plugins.metrics.settings import InceptionScoreSettings

    torch.save({"fc.weight": torch.ones(2)}, tmp_path / "weights.pth")
    own = InceptionScoreSettings(weights=str(tmp_path / "weights.pth"))
    file = inception_weights(own)
    (tmp_path / "weights.pth").write_bytes(b"another file by now")
    assert torch.load(file, weights_only=False)["fc.weight"].tolist() == [1, 1]


# Names


@given(st.text(st.characters(exclude_categories=()), max_size=300))
def test_any_name_can_be_printed_in_one_short_line(name: str) -> None:
    for text in (escaped(name), shortened(name)):
        assert not CONTROLS.search(text)
        assert len(text.splitlines()) == bool(text)
        text.encode()
    assert len(shortened(name)) <= 80


def test_crops_of_an_image_that_was_shrunk_while_it_was_read_are_those_of_the_whole() -> None:
    from prologue_plugins.datasets.crops import centre_crop, needed_edge, ten_crops

    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (70, 91, 3), dtype=np.uint8))
    content = encoded(image)
    for views, crop in ((1, centre_crop), (10, ten_crops)):
        shrunk = read_picture(content, needed_edge(16, views)).image
        assert np.array_equal(crop(shrunk, 16), crop(image, 16))
