"""Which folder has the test images is never guessed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from prologue_bench.errors import MissingDataError, UserError
from prologue_plugins.datasets.imagenet import ImageNet
from prologue_plugins.datasets.settings import ImageNetSettings
from tests.factories.image_files import folder, plain, source
from tests.factories.imagenet import make_zip

pytestmark = pytest.mark.usefixtures("own_cache")


def with_both(root: Path) -> Path:
    folder(root, plain)
    for number, name in enumerate("ab"):
        (root / "test" / name).mkdir(parents=True)
        (root / "test" / name / "0.png").write_bytes(plain(50 + number))
    return root


def test_val_and_test_without_a_word_are_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"both under val/ and under test/.*set data.test_split to val or test"
    ):
        _ = source(with_both(tmp_path / "set")).fingerprint


def test_a_setting_names_the_split_and_the_other_is_not_touched(tmp_path: Path) -> None:
    root = with_both(tmp_path / "set")
    val, test = (source(root, test_split=name) for name in ("val", "test"))  # type: ignore[arg-type]
    assert (len(val.labels("test")), len(test.labels("test"))) == (4, 2)
    assert len(val.labels("train")) == len(test.labels("train")) == 4
    assert val.fingerprint != test.fingerprint
    assert (val.images("test")[[0]] != test.images("test")[[0]]).any()
    (root / "test/a/0.png").write_bytes(b"broken")
    assert source(root, test_split="val").broken == {}


@pytest.mark.parametrize("name", ["val", "test"])
def test_one_folder_needs_no_setting(tmp_path: Path, name: str) -> None:
    root = folder(tmp_path / "set", plain)
    if name == "test":
        (root / "val").rename(root / "test")
    unsaid, said = source(root), source(root, test_split=name)
    assert unsaid.labels("test").tolist() == said.labels("test").tolist() == [0, 0, 1, 1]
    assert unsaid.fingerprint == said.fingerprint


def test_a_split_that_is_not_there_is_named(tmp_path: Path) -> None:
    root = folder(tmp_path / "set", plain)
    with pytest.raises(MissingDataError, match=r"found no test images in test/CLASS/"):
        _ = source(root, test_split="test").spec


def test_two_data_sets_in_one_folder_are_not_merged(tmp_path: Path) -> None:
    root = tmp_path / "all"
    for name in ("birds", "cars"):
        folder(root / name, plain)
    with pytest.raises(
        UserError,
        match=r"found class folders in 2 places, in birds and cars; expected one data",
    ):
        _ = source(root).spec
    shutil.rmtree(root / "cars")
    assert len(source(root).labels("train")) == 4


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    root = folder(tmp_path / "set", plain)
    for split in ("train", "val"):
        (root / split / "b").rename(root / split / "train")
    assert source(root).spec.class_names == ("a", "train")


def test_imagenet_s_table_of_validation_images_is_its_val(tmp_path: Path) -> None:
    path = str(make_zip(tmp_path / "a.zip"))
    unsaid, said = (
        ImageNet(ImageNetSettings(root=path, size=16, test_split=name)) for name in (None, "val")
    )  # type: ignore[arg-type]
    assert unsaid.labels("test").tolist() == said.labels("test").tolist()
    assert unsaid.fingerprint == said.fingerprint
    with pytest.raises(MissingDataError, match="found no test images in test/CLASS/"):
        _ = ImageNet(ImageNetSettings(root=path, size=16, test_split="test")).spec
