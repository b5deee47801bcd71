"""Data sets that people have: CIFAR-10, tar shards, and folders and zips of all kinds."""

from __future__ import annotations

import io
import pickle
import shutil
import stat
import tarfile
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prologue_bench.errors import MissingDataError, UserError
from prologue_plugins.datasets.archives import ZipArchive
from prologue_plugins.datasets.cifar10 import FOLDER, Cifar10
from prologue_plugins.datasets.crops import centre_crop
from prologue_plugins.datasets.files import ImageFiles
from prologue_plugins.datasets.imagenet import ClassFolders
from prologue_plugins.datasets.settings import (
    Cifar10Settings,
    ImageFilesSettings,
    ImageFolderSettings,
    WebDatasetSettings,
)
from prologue_plugins.datasets.tars import TarArchive
from prologue_plugins.datasets.webdataset import WebDataset
from tests.factories.data_sources import PICTURES, keeps_its_contract
from tests.factories.image_files import encoded
from tests.factories.places import folder, npz, tarred, zipped


def shard(path: Path, first: int, count: int, classes: int = 3) -> Path:
    content = {}
    for index in range(first, first + count):
        content[f"{index:04}.png"] = encoded(PICTURES[index])
        if classes:
            content[f"{index:04}.cls"] = f"{index % classes}\n".encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    return tarred(path, content)


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    shard(tmp_path / "set" / "my-train-000.tar", 0, 4)
    shard(tmp_path / "set" / "more" / "my-train-001.tar", 4, 4)
    shard(tmp_path / "set" / "my-val-000.tar", 8, 4)
    return tmp_path / "set"


def web(root: Path, **settings: Any) -> WebDataset:
    return WebDataset(WebDatasetSettings(root=str(root), size=8, **settings))


def test_shards_are_read_in_place_by_the_crops_of_folders(shards: Path) -> None:
    given = {"root": str(shards), "size": 8, "train": "**/*train*.tar"}
    data = WebDataset(WebDatasetSettings(**given))
    assert data.spec.class_names == ("0", "1", "2")
    assert data.names("test") == tuple(f"my-val-000.tar/{index:04}.png" for index in range(8, 12))
    places = {int(name[-8:-4]): row for row, name in enumerate(data.names("train"))}
    images = np.asarray(data.images("train")[[places[5], places[0]]])
    assert np.array_equal(images[0], centre_crop(PICTURES[5], 8))
    assert np.array_equal(images[1], centre_crop(PICTURES[0], 8))
    assert {index: int(data.labels("train")[row]) for index, row in places.items()} == {
        index: index % 3 for index in range(8)
    }
    keeps_its_contract("webdataset", given)


def test_a_shard_s_content_is_in_the_fingerprint(shards: Path) -> None:
    before = web(shards).fingerprint
    assert before == web(shards).fingerprint
    assert web(shards, crops="ten").fingerprint != before
    assert web(shards, train="**/*train*.tar").fingerprint != before
    shard(shards / "my-val-000.tar", 7, 4)
    assert web(shards).fingerprint != before


def test_without_numbers_folders_are_classes_and_else_there_is_one(tmp_path: Path) -> None:
    for split, at in (("train", 0), ("val", 4)):
        content = {f"{'ab'[index % 2]}/{index}.png": encoded(PICTURES[at]) for index in range(4)}
        (tmp_path / "set").mkdir(exist_ok=True)
        tarred(tmp_path / "set" / f"{split}.tar", content)
        shard(tmp_path / "plain" / f"{split}.tar", at, 3, classes=0)
    assert web(tmp_path / "set").spec.class_names == ("a", "b")
    assert web(tmp_path / "set").labels("test").tolist() == [0, 0, 1, 1]
    assert web(tmp_path / "plain").spec.class_names == ("image",)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"root": None}, "no root is given"),
        ({"train": "*{000..146}.tar"}, r"no train shards .*; found .*my-train-000\.tar, my-"),
        ({"test": "*.tar"}, r"found my-train-000\.tar both by data\.train .* and by data\.test"),
        ({"test": "empty.tar"}, r"found no test images with one of the endings .*; found 1 \.txt"),
        ({"test": "half.tar"}, r"0009\.cls: found no such file, expected the number of a class"),
        ({"test": "words.tar"}, r"0009\.cls: found 'dog', expected the number of a class"),
        ({"test": "cut.tar"}, "not a complete tar without compression"),
    ],
)
def test_what_is_wrong_with_shards_is_one_line(
    settings: dict[str, Any], says: str, shards: Path
) -> None:
    tarred(shards / "empty.tar", {"a.txt": b"a"})
    tarred(shards / "half.tar", {"0009.png": encoded(PICTURES[9])})
    tarred(shards / "words.tar", {"0009.png": encoded(PICTURES[9]), "0009.cls": b"dog"})
    (shards / "cut.tar").write_bytes((shards / "half.tar").read_bytes()[:700])
    given = {"root": str(shards), "size": 8, **settings}
    with pytest.raises(UserError, match=says) as error:
        WebDataset(WebDatasetSettings(**given)).labels("test")
    assert "\n" not in str(error.value)


def test_labels_that_are_not_read_are_told(tmp_path: Path) -> None:
    for split in ("train", "val"):
        images = {f"{index}.png": encoded(PICTURES[index]) for index in range(3)}
        labels = {f"{index}.json": b'{"label": 1}' for index in range(3)}
        tarred(tmp_path / f"{split}.tar", images | labels)
    found = web(tmp_path)
    assert found.spec.class_names == ("image",)
    assert "not read: 6 .json in shards; expected the number of a class in a .cls" in found.notes


def test_one_tar_is_no_folder_of_shards(tmp_path: Path) -> None:
    tarred(tmp_path / "one.tar", {"a.png": encoded(PICTURES[0])})
    with pytest.raises(UserError, match=r"one\.tar: found a file, expected a folder\. Set data\."):
        web(tmp_path / "one.tar")


def numbered(root: Path, **numbers: list[int]) -> Path:
    """Shards whose images have these numbers of classes."""
    root.mkdir()
    for split, own in numbers.items():
        images = {f"{index}.png": encoded(PICTURES[index]) for index in range(len(own))}
        labels = {f"{index}.cls": str(number).encode() for index, number in enumerate(own)}
        tarred(root / f"{split}.tar", images | labels)
    return root


def test_numbers_that_no_training_image_has_are_noted(tmp_path: Path) -> None:
    note = "without training images: 2 of 4 classes, 0, 2; samples are drawn of these too"
    data = web(numbered(tmp_path / "from-one", train=[1, 3, 1], val=[3, 1]))
    assert data.spec.class_names == ("0", "1", "2", "3")
    assert data.outline().notes[0] == f"{tmp_path / 'from-one'}: {note}"
    assert data.notes == (note,)
    many = web(numbered(tmp_path / "many", train=[0, 20], val=[0]))
    assert "19 of 21 classes, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, ...; samples" in many.notes[0]


@pytest.mark.parametrize("number", [0, 2, 7])
def test_test_images_of_a_class_without_training_images_are_refused_with_one_of_them(
    tmp_path: Path, number: int
) -> None:
    says = rf"test images of class '{number}', which .*, such as val\.tar/1\.png; remove them"
    with pytest.raises(UserError, match=says):
        web(numbered(tmp_path / "set", train=[1, 3, 1], val=[3, number])).spec  # noqa: B018
    content = {**classes(), "set/val/c/9.png": encoded(PICTURES[0])}
    with pytest.raises(
        UserError, match=r"of class 'c', which .*, such as set/val/c/9\.png; remove"
    ):
        in_classes(folder(tmp_path / "folder", content)).spec  # noqa: B018


@pytest.fixture
def cifar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What torchvision unpacks, with four images a batch."""
    rng = np.random.default_rng(0)
    place = tmp_path / "cifar" / FOLDER
    place.mkdir(parents=True)
    for index, name in enumerate([*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"]):
        batch = {
            "data": rng.integers(0, 256, (4, 3072), dtype=np.uint8),
            "labels": [(index + n) % 10 for n in range(4)],
        }
        (place / name).write_bytes(pickle.dumps(batch))
    names = {"label_names": [f"class {n}" for n in range(10)]}
    (place / "batches.meta").write_bytes(pickle.dumps(names))
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *_: True)
    return place.parent


def test_cifar_10_is_read_as_torchvision_unpacks_it(cifar: Path) -> None:
    data = Cifar10(Cifar10Settings(root=str(cifar)))
    first = pickle.loads((cifar / FOLDER / "data_batch_1").read_bytes())
    assert np.array_equal(data.images("train")[:4].reshape(4, -1), first["data"])
    assert data.images("train").shape == (20, 3, 32, 32)
    assert data.labels("test").tolist() == [5, 6, 7, 8]
    assert data.spec.class_names[0] == "airplane"
    again = Cifar10(Cifar10Settings(root=str(cifar / FOLDER)))
    assert again.fingerprint == data.fingerprint
    keeps_its_contract("cifar10", {"root": str(cifar)})


def test_cifar_10_that_is_not_there_or_damaged_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("CIFAR10", raising=False)
    (tmp_path / FOLDER).mkdir()
    with pytest.raises(UserError, match="cannot be read: Dataset not found or corrupted"):
        Cifar10(Cifar10Settings(root=str(tmp_path))).images("test")
    monkeypatch.setattr("torchvision.datasets.CIFAR10", fails)
    with pytest.raises(MissingDataError, match="the download failed: no route to host"):
        Cifar10(Cifar10Settings())
    with pytest.raises(MissingDataError, match=r"downloads are switched off\)\. Set CIFAR10"):
        Cifar10(Cifar10Settings(download=False))
    with pytest.raises(MissingDataError, match="found no folder cifar-10-batches-py"):
        Cifar10(Cifar10Settings(root=str(tmp_path / "elsewhere")))


def classes(separator: str = "/", ending: str = "png") -> dict[str, bytes]:
    places = [("train", "a", 0), ("train", "b", 1), ("val", "a", 2), ("val", "b", 3)]
    return {
        separator.join(("set", split, of, f"{index}.{ending}")): encoded(PICTURES[index])
        for split, of, index in places
    }


def in_classes(root: Path) -> ClassFolders:
    return ClassFolders(ImageFolderSettings(root=str(root), size=8))


def test_zips_with_backslashes_and_endings_in_capitals_are_read(tmp_path: Path) -> None:
    expected = in_classes(zipped(tmp_path / "slashes.zip", classes()))
    found = in_classes(zipped(tmp_path / "backslashes.zip", classes("\\", "PNG")))
    assert found.fingerprint == expected.fingerprint
    assert np.array_equal(found.images("test")[:], expected.images("test")[:])


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("set.tar", r"found \.tar, .*; unpack it or put it into a folder, which data webdataset"),
        ("set.tar.gz", r"found \.gz, expected a folder or zip; unpack it\. Set"),
        ("set.7z", r"found \.7z, expected a folder or zip; unpack it\. Set"),
    ],
)
def test_an_archive_of_another_kind_is_to_be_unpacked(tmp_path: Path, name: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        in_classes(tarred(tmp_path / name, classes()))


def test_what_is_not_read_is_named_with_what_would_be(tmp_path: Path) -> None:
    nested = {
        name.replace("/a/", "/a/deep/").replace("/b/", "/b/deep/"): data
        for name, data in classes().items()
    }
    with pytest.raises(UserError, match=r"in train/CLASS/ .*found 4 images elsewhere, such as set"):
        in_classes(folder(tmp_path / "nested", nested)).spec  # noqa: B018
    with pytest.raises(UserError, match=r"endings .*\.webp.*; found 4 \.tiff"):
        in_classes(folder(tmp_path / "tiffs", classes(ending="tiff"))).spec  # noqa: B018
    arrays = npz(tmp_path / "set.npz", images=np.zeros((2, 8, 8, 3), np.uint8), labels=np.arange(2))
    with pytest.raises(UserError, match=r"found an \.npz, expected a folder or zip; .*image-files"):
        in_classes(arrays)
    mixed = folder(tmp_path / "mixed", {"0.png": encoded(PICTURES[0]), "1.TIF": b"", "2.gif": b""})
    with pytest.raises(UserError, match=r"found 1 \.tif, 1 \.gif beside 1 images, which are not"):
        ImageFiles(ImageFilesSettings(root=str(mixed))).spec  # noqa: B018
    webp = folder(tmp_path / "webp", {"0.WEBP": encoded(PICTURES[0], "WEBP")})
    assert ImageFiles(ImageFilesSettings(root=str(webp))).spec.width == 16


@pytest.mark.parametrize("ending", ["jfif", "JPE"])
def test_jpegs_are_read_by_each_of_their_endings(tmp_path: Path, ending: str) -> None:
    content = {f"{index}.{ending}": encoded(PICTURES[index], "JPEG") for index in range(3)}
    files = ImageFiles(ImageFilesSettings(root=str(folder(tmp_path / "files", content))))
    assert files.names("test") == ("0", "1", "2")
    assert in_classes(folder(tmp_path / "set", classes(ending=ending))).labels("test").size == 2
    for split in ("train", "val"):
        tarred(tmp_path / f"{split}.tar", content)
    assert len(web(tmp_path).labels("train")) == 3


@pytest.mark.parametrize("ending", ["j2k", "pgm", "pnm", "tga", "tif", "exr"])
def test_images_of_other_kinds_are_counted_wherever_they_are(tmp_path: Path, ending: str) -> None:
    content = {"0.png": encoded(PICTURES[0]), f"1.{ending}": b"", f"2.{ending.upper()}": b""}
    root = folder(tmp_path / "files", content)
    with pytest.raises(UserError, match=rf"found 2 \.{ending} beside 1 images, which are not read"):
        ImageFiles(ImageFilesSettings(root=str(root))).spec  # noqa: B018
    for split in ("train", "val"):
        tarred(tmp_path / f"{split}.tar", content)
    assert web(tmp_path).notes == (
        f"left out: images in shards, 4 .{ending}; "
        "read are .jpeg, .jpg, .jpe, .jfif, .png, .webp, .bmp",
    )


@pytest.mark.parametrize("kept", [4608, 3072, 3372, 1536])
def test_a_tar_that_was_cut_off_is_refused_wherever_the_cut_is(tmp_path: Path, kept: int) -> None:
    content = {f"{index}.png": encoded(PICTURES[index])[:700].ljust(700) for index in range(3)}
    path = tarred(tmp_path / "whole.tar", content)
    assert list(TarArchive(path).list_names()) == list(content)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(UserError, match="not a complete tar without compression"):
        TarArchive(path).list_names()


@pytest.mark.parametrize("other", ["./a/b.png", "a/./b.png", "a//b.png", "/a/b.png", "a\\b.png"])
def test_two_files_of_one_name_in_an_archive_are_refused(tmp_path: Path, other: str) -> None:
    content = {"a/b.png": b"1", other: b"2", "b.png": b"3", ".DS_Store": b"4", "./.DS_Store": b"5"}
    for archive in (
        ZipArchive(zipped(tmp_path / "twice.zip", content)),
        TarArchive(tarred(tmp_path / "twice.tar", content)),
    ):
        if "\\" in other and isinstance(archive, TarArchive):
            continue  # a tar's names have slashes, and backslashes of their own
        with pytest.raises(
            UserError, match=r"found names more than once, such as a/b\.png; expect"
        ):
            archive.names()


def test_a_name_that_is_given_twice_in_a_zip_or_npz_is_refused(tmp_path: Path) -> None:
    for name, member in (("a.zip", "train/a/0.png"), ("a.npz", "arr_0.npy")):
        with (
            warnings.catch_warnings(action="ignore"),
            zipfile.ZipFile(tmp_path / name, "w") as file,
        ):
            for pixels in (PICTURES[:2], PICTURES[2:4]):
                out = io.BytesIO()
                np.save(out, np.stack([np.asarray(each) for each in pixels]))
                file.writestr(member, out.getvalue())
    with pytest.raises(UserError, match=r"more than once, such as train/a/0\.png"):
        in_classes(tmp_path / "a.zip").spec  # noqa: B018
    with pytest.raises(UserError, match=r"a\.npz: .*found arr_0\.npy twice"):
        ImageFiles(ImageFilesSettings(root=str(tmp_path / "a.npz"))).spec  # noqa: B018


def linked(path: Path, content: dict[str, bytes], **links: Any) -> Path:
    """A tar with members of other kinds, each the fields of its header."""
    tarred(path, content)
    with tarfile.open(path, "a") as file:
        for name, fields in links.items():
            info = tarfile.TarInfo(name)
            for field, value in fields.items():
                setattr(info, field, value)
            file.addfile(info)
    return path


def test_a_hard_link_in_a_tar_is_the_file_that_it_links_to(tmp_path: Path) -> None:
    content = {"./0.png": encoded(PICTURES[0]), "./0.cls": b"1"}
    hard = {
        name: {"type": tarfile.LNKTYPE, "linkname": f"./0.{name[2:]}"}
        for name in ("1.png", "1.cls")
    }
    path = linked(tmp_path / "links.tar", content, **hard)
    found = ImageFiles(ImageFilesSettings(root=str(path)))
    assert found.names("test") == ("0", "1")
    assert found.labels("test").tolist() == [1, 1]
    assert np.array_equal(*found.images("test"))
    for split in ("train", "val"):
        shutil.copy(path, tmp_path / f"{split}.tar")
    assert web(tmp_path).labels("train").tolist() == [1, 1]


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"type": tarfile.SYMTYPE, "linkname": "0.png"}, "a symbolic link"),
        ({"type": tarfile.LNKTYPE, "linkname": "9.png"}, "a hard link to 9.png, which is no file"),
        ({"type": tarfile.GNUTYPE_SPARSE}, "a sparse file"),
        ({"type": tarfile.FIFOTYPE}, "a device or the like"),
    ],
)
def test_what_is_no_file_in_a_tar_is_refused(
    tmp_path: Path, fields: dict[str, Any], what: str
) -> None:
    content = {"0.png": encoded(PICTURES[0])}
    hidden = {".lock": {"type": tarfile.SYMTYPE, "linkname": "0.png"}}
    path = linked(tmp_path / "odd.tar", content, **hidden, **{"1.png": fields, "2.png": fields})
    with pytest.raises(
        UserError, match=rf"found 2 of its members .* as 1\.png \({what}.*; expected"
    ):
        ImageFiles(ImageFilesSettings(root=str(path))).spec  # noqa: B018


def test_a_symbolic_link_in_a_zip_is_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "set.zip", classes())
    with zipfile.ZipFile(path, "a") as file:
        info = zipfile.ZipInfo("set/train/c")
        info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        file.writestr(info, "../elsewhere")
    with pytest.raises(UserError, match=r"such as set/train/c \(a symbolic link\); expected"):
        in_classes(path).spec  # noqa: B018
