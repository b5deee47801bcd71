"""ImageNet from a zip and from folders, on a miniature of the same structure."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from prologue_bench.errors import MissingDataError, UserError
from prologue_plugins.datasets.crops import centre_crop, ten_crops
from prologue_plugins.datasets.imagenet import ClassFolders, ImageNet
from prologue_plugins.datasets.settings import ImageFolderSettings, ImageNetSettings
from tests.factories.imagenet import jpeg, make_zip

pytestmark = pytest.mark.usefixtures("own_cache")


def test_the_zip_is_read_in_place_and_equals_its_unpacked_folder(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "imagenet.zip")
    with zipfile.ZipFile(path) as archive:
        archive.extractall(tmp_path / "unpacked")
    zipped, unpacked = (
        ImageNet(ImageNetSettings(root=str(root), size=32))
        for root in (path, tmp_path / "unpacked")
    )
    for source in (zipped, unpacked):
        assert source.spec.class_names == ("tench", "goldfish", "great white shark")
        assert (source.spec.height, source.views) == (32, 10)
        assert source.labels("train").tolist() == [0] * 4 + [1] * 4 + [2] * 4
        assert source.labels("test").tolist() == [2, 1, 0, 0, 1, 2]
        assert (
            len(source.images("train")),
            len(source.training_views()),
            len(source.images("test")),
        ) == (12, 120, 6)
    assert np.array_equal(zipped.images("test")[:], unpacked.images("test")[:])
    assert not (tmp_path / "ILSVRC").exists()


def test_views_are_ten_crops_with_the_centre_first(tmp_path: Path) -> None:
    source = ImageNet(ImageNetSettings(root=str(make_zip(tmp_path / "a.zip")), size=32))
    views = source.training_views()
    one = views[10:20]
    assert one.shape == (10, 3, 32, 32)
    assert np.array_equal(one[5:], one[:5, :, :, ::-1])
    assert len({view.tobytes() for view in one}) == 10
    assert np.array_equal(views[[15, 3, 15]], np.stack([one[5], views[3:4][0], one[5]]))
    image = Image.open(io.BytesIO(jpeg(1)))
    assert np.array_equal(ten_crops(image, 32)[0], one[0])


def test_the_centre_crop_is_adm_s() -> None:
    pixels = np.zeros((40, 100, 3), np.uint8)
    pixels[:, 30:70] = 200  # the middle square
    crop = centre_crop(Image.fromarray(pixels), 10)
    assert crop.shape == (3, 10, 10)
    assert crop[:, :, 1:-1].min() >= 199
    # Halved twice by box filter, 40 -> 20 -> 10, where nothing is left for the bicubic resize.
    expected = (
        Image.fromarray(pixels)
        .resize((50, 20), Image.Resampling.BOX)
        .resize((25, 10), Image.Resampling.BOX)
    )
    assert np.array_equal(crop, np.asarray(expected).transpose(2, 0, 1)[:, :, 7:17])
    wide = Image.fromarray(pixels).resize((30, 18))
    resized = np.asarray(wide.resize((17, 10), Image.Resampling.BICUBIC)).transpose(2, 0, 1)
    assert np.array_equal(centre_crop(wide, 10), resized[:, :, 3:13])


def test_few_broken_images_are_left_out_counted_and_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prologue_plugins.datasets import archives, labelled

    monkeypatch.setattr(labelled, "BROKEN_ALLOWED", 0.2)
    path = make_zip(tmp_path / "a.zip", broken=2)
    source = ImageNet(ImageNetSettings(root=str(path), size=32))
    assert source.labels("train").tolist() == [0] * 2 + [1] * 4 + [2] * 4
    assert len(source.images("train")) == 10
    assert source.notes[0].startswith(
        "left out: 2 images that cannot be read: ILSVRC/Data/CLS-LOC/train/n01440764/"
    )
    whole = ImageNet(ImageNetSettings(root=str(make_zip(tmp_path / "b.zip")), size=32))
    assert source.fingerprint != whole.fingerprint
    monkeypatch.setattr(archives, "read_picture", pytest.fail)  # the answer is kept
    assert len(ImageNet(ImageNetSettings(root=str(path), size=32)).broken) == 2


def test_too_many_broken_images_are_an_error_that_lists_them(tmp_path: Path) -> None:
    source = ImageNet(ImageNetSettings(root=str(make_zip(tmp_path / "a.zip", broken=1)), size=32))
    with pytest.raises(
        UserError,
        match=r"1 of 18 images are broken, expected at most 0.1%; the first is ILSVRC.*listed in",
    ):
        _ = source.fingerprint


def test_an_incomplete_zip_and_missing_data_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("IMAGENET", raising=False)
    with pytest.raises(
        MissingDataError, match=r"was not found. Set IMAGENET or --set data.root=PATH"
    ):
        ImageNet(ImageNetSettings())
    cut = tmp_path / "cut.zip"
    cut.write_bytes(make_zip(tmp_path / "a.zip").read_bytes()[:-200])
    with pytest.raises(UserError, match="not a complete zip file"):
        _ = ImageNet(ImageNetSettings(root=str(cut))).fingerprint
    with pytest.raises(MissingDataError, match="no such folder or zip file"):
        ImageNet(ImageNetSettings(root=str(tmp_path / "nowhere")))


def test_the_zip_is_opened_anew_in_another_process(tmp_path: Path) -> None:
    source = ImageNet(ImageNetSettings(root=str(make_zip(tmp_path / "a.zip")), size=16))
    first = source.images("train")[:2]
    archive = source.archive
    archive._open = (-1, archive._open[1])  # type: ignore[attr-defined]
    assert np.array_equal(source.images("train")[:2], first)


def test_any_folder_of_classes_is_a_data_set(tmp_path: Path) -> None:
    for split, count in (("train", 3), ("test", 2)):
        for name in ("cat", "dog"):
            folder = tmp_path / "mine" / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                (folder / f"{number}.png").write_bytes(jpeg(number))
    source = ClassFolders(ImageFolderSettings(root=str(tmp_path / "mine"), size=24))
    assert source.spec.class_names == ("cat", "dog")
    assert source.images("train")[[5]].shape == (1, 3, 24, 24)
    assert (source.views, len(source.training_views())) == (1, 6)
    with pytest.raises(MissingDataError, match="no root is given"):
        ClassFolders(ImageFolderSettings())
