"""Where images come from, and what is said when they cannot be found."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from prologue_bench.contracts import NoSettings
from prologue_bench.documents import yaml_values
from prologue_bench.errors import MissingDataError, UserError
from prologue_plugins.datasets import fashion_mnist
from prologue_plugins.datasets.fashion_mnist import EmbeddedFashionMnist, FashionMnist, read_idx
from prologue_plugins.datasets.make_embedded import write_idx
from prologue_plugins.datasets.settings import FashionMnistSettings, ShapesSettings
from prologue_plugins.datasets.shapes import COLOURS, Shapes
from tests.conftest import ROOT


def test_the_embedded_images_are_fixed_and_balanced() -> None:
    data = EmbeddedFashionMnist(NoSettings())
    assert data.images("train").shape == (8000, 1, 28, 28)
    assert data.images("test").shape == (2000, 1, 28, 28)
    assert np.bincount(data.labels("train")).tolist() == [800] * 10
    assert np.bincount(data.labels("test")).tolist() == [200] * 10
    assert data.fingerprint == EMBEDDED_FINGERPRINT


EMBEDDED_FINGERPRINT = "f2744d27e804ea1f"


@pytest.mark.skipif(
    not fashion_mnist.DEBIAN_FOLDER.exists(),
    reason="needs the Debian package dataset-fashion-mnist",
)
def test_the_debian_package_is_found_and_is_the_published_data() -> None:
    data = FashionMnist(FashionMnistSettings(download=False))
    assert len(data.labels("train")) == 60000
    assert len(data.images("test")) == 10000
    card = yaml_values.read((ROOT / "registry" / "datasets" / "fashion-mnist.yaml").read_text())
    for path in data.paths.values():
        assert hashlib.sha256(path.read_bytes()).hexdigest() == card["sha256"][path.name]
    embedded = EmbeddedFashionMnist(NoSettings())
    first = np.flatnonzero(data.labels("train") == 3)[:5]
    assert np.array_equal(
        data.images("train")[first],
        embedded.images("train")[np.flatnonzero(embedded.labels("train") == 3)[:5]],
    )


def test_missing_data_names_the_ways_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fashion_mnist, "DEBIAN_FOLDER", tmp_path / "nothing")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("FASHION_MNIST", raising=False)
    with pytest.raises(MissingDataError) as raised:
        FashionMnist(FashionMnistSettings(download=False))
    for way in (
        "apt-get install dataset-fashion-mnist",
        "FASHION_MNIST",
        "data.root",
        "data=fashion-mnist-embedded",
    ):
        assert way in str(raised.value)
    assert raised.value.exit_code == 2


def test_a_failed_download_is_part_of_the_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(fashion_mnist, "DEBIAN_FOLDER", tmp_path / "nothing")
    monkeypatch.setattr("torchvision.datasets.FashionMNIST", fails)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(MissingDataError, match="the download failed: no route to host"):
        FashionMnist(FashionMnistSettings())


def test_the_environment_comes_before_the_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for (split, part), name in fashion_mnist.FILES.items():
        count = {"train": 5, "test": 3}[split]
        array = np.zeros((count, 28, 28)) if part == "images" else np.arange(count)
        write_idx(tmp_path / f"{name}.gz", array)
    monkeypatch.setenv("FASHION_MNIST", str(tmp_path))
    data = FashionMnist(FashionMnistSettings())
    assert data.labels("train").tolist() == [0, 1, 2, 3, 4]
    before = data.fingerprint
    write_idx(tmp_path / "t10k-labels-idx1-ubyte.gz", np.array([1, 1, 1]))
    assert FashionMnist(FashionMnistSettings()).fingerprint != before


def test_a_plan_unpacks_no_images_of_files_that_were_read_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert EmbeddedFashionMnist(NoSettings()).fingerprint == EMBEDDED_FINGERPRINT
    unpacked: list[str] = []

    def read(path: Path) -> NDArray[Any]:
        unpacked.append(path.name)
        return read_idx(path)

    monkeypatch.setattr(fashion_mnist, "read_idx", read)
    data = EmbeddedFashionMnist(NoSettings())
    assert data.fingerprint == EMBEDDED_FINGERPRINT
    assert len(data.labels("train")) == 8000
    assert unpacked == ["train-labels-idx1-ubyte.gz"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            gzip.compress(b"\x00\x00\x08\x01\x00\x00\x00\x05\x01\x02", mtime=0),
            r"found 2 bytes, expected \(5,\)",
        ),
        (gzip.compress(b"hello world", mtime=0), "found no idx file"),
        (b"not gzip at all", "cannot be read"),
        (gzip.compress(b"\x00" * 100)[:-20], "cannot be read"),
    ],
)
def test_a_damaged_file_is_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "x.gz"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_idx(path)


def test_shapes_repeat_with_their_settings_and_hold_every_class() -> None:
    one, two = Shapes(ShapesSettings(size=16)), Shapes(ShapesSettings(size=16))
    assert np.array_equal(one.images("train"), two.images("train"))
    assert one.images("test").shape == (512, 3, 16, 16)
    assert np.bincount(one.labels("test")).tolist() == [128] * 4
    other = Shapes(ShapesSettings(size=16, seed=1))
    assert other.fingerprint != one.fingerprint
    assert not np.array_equal(other.images("train"), one.images("train"))


@pytest.mark.parametrize(
    ("settings", "fingerprint", "checksum"),
    [
        ({}, "shapes-1-32-64-64-0", "1d14a8215f21b2ca"),
        (
            {"objects": 3, "texture": True},
            "shapes-1-32-64-64-0-3-objects-texture",
            "064cbe9ec07b5381",
        ),
    ],
)
def test_scenes_stay_as_they_are_under_their_fingerprint(
    settings: dict[str, Any], fingerprint: str, checksum: str
) -> None:
    data = Shapes(ShapesSettings(train_images=64, test_images=64, **settings))
    assert data.fingerprint == fingerprint
    assert hashlib.sha256(data.images("test").tobytes()).hexdigest()[:16] == checksum


def test_the_factors_of_a_scene_are_what_it_shows() -> None:
    data = Shapes(ShapesSettings(train_images=200, test_images=40))
    images, factors = data.images("train").astype(int), data.factors("train")
    assert factors.keys() == {"shape", "colour", "position_x", "position_y", "size", "background"}
    assert np.array_equal(factors["shape"].values, data.labels("train"))
    for index, image in enumerate(images):
        of = {name: factor.values[index] for name, factor in factors.items()}
        inside = (image == COLOURS[of["colour"]][:, None, None]).all(axis=0)
        assert (image[:, ~inside] == round(255 * of["background"])).all()
        rows, columns = np.nonzero(inside)
        assert columns.mean() + 0.5 == pytest.approx(32 * of["position_x"], abs=0.6)
        assert rows.mean() + 0.5 == pytest.approx(
            32 * of["position_y"], abs=0.3 * 32 * of["size"] + 1
        )
        assert np.ptp(columns) + 1 == pytest.approx(2 * 32 * of["size"], abs=16 * of["size"] + 2)


def test_scenes_with_several_shapes_show_the_largest_whole_and_say_how_many() -> None:
    data = Shapes(ShapesSettings(train_images=300, test_images=40, objects=3))
    images, factors = data.images("train").astype(int), data.factors("train")
    names = factors["objects"].names
    assert names == ("1", "2", "3")
    assert set(factors["objects"].values) == {0, 1, 2}
    assert np.array_equal(factors["shape"].values, data.labels("train"))
    colours = COLOURS[factors["colour"].values]
    x, y = ((32 * factors[f"position_{axis}"].values).astype(int) for axis in "xy")
    assert np.array_equal(images[np.arange(300), :, y, x], colours), "the largest is in front"
    alone = factors["objects"].values == 0
    painted = (images != images[:, :, :1, :1]).any(axis=1)
    others = (painted & (images != colours[:, :, None, None]).any(axis=1)).any(axis=(1, 2))
    assert not others[alone].any()
    assert others[~alone].mean() > 0.7, "in another colour, where it is not the same by chance"


def test_textures_follow_their_factor_and_leave_the_rest() -> None:
    plain, striped = (
        Shapes(ShapesSettings(train_images=200, test_images=4, texture=texture))
        for texture in (False, True)
    )
    factors = striped.factors("train")
    for name, factor in plain.factors("train").items():
        assert np.array_equal(factors[name].values, factor.values)
    assert factors["stripes"].names == ("vertical", "rising", "horizontal", "falling")
    images = striped.images("train").astype(float)
    for image, direction, x, y in zip(
        images,
        factors["stripes"].values,
        *((32 * factors[f"position_{axis}"].values).astype(int) for axis in "xy"),
        strict=True,
    ):
        middle = image[:, y - 1 : y + 2, x - 1 : x + 2]
        across, down = (np.abs(np.diff(middle, axis=axis)).sum() for axis in (2, 1))
        if direction in (0, 2):
            assert (across > down) == (direction == 0)
