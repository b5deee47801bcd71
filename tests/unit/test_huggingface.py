"""Data sets of the Hugging Face hub, from Parquet files as they lie there."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from prologue_bench.contracts.fetching import nothing_fetched
from prologue_bench.errors import MissingDataError, UserError
from prologue_bench.registry import Registry
from prologue_plugins.datasets.crops import centre_crop
from prologue_plugins.datasets.huggingface import HuggingFace
from prologue_plugins.datasets.settings import HuggingFaceSettings
from tests.factories.data_sources import PICTURES, keeps_its_contract
from tests.factories.image_files import encoded
from tests.factories.image_folders import settle

REGISTRY = Registry.load()
CLASSES = ["cat", "dog", "axolotl"]


def rows(places: Sequence[int]) -> dict[str, list[Any]]:
    return {
        "img": [{"bytes": encoded(PICTURES[place]), "path": None} for place in places],
        "label": [place % 3 for place in places],
    }


def write(path: Path, columns: dict[str, list[Any]], classes: Sequence[str] = CLASSES) -> None:
    """A file with what the hub's own library notes of its features."""
    import pyarrow
    from pyarrow import parquet

    features = {"label": {"names": list(classes), "_type": "ClassLabel"}} if classes else {}
    table = pyarrow.table(columns).replace_schema_metadata(
        {"huggingface": json.dumps({"info": {"features": features}})}
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(table, path, row_group_size=2)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """As on the hub: two files of training images, one of test images."""
    root = tmp_path / "repository"
    write(root / "plain" / "train-00000-of-00002.parquet", rows(range(5)))
    write(root / "plain" / "train-00001-of-00002.parquet", rows(range(5, 8)))
    write(root / "plain" / "test-00000-of-00001.parquet", rows(range(8, 12)))
    return root


def data(root: Path | str | None, **settings: Any) -> HuggingFace:
    name = None if root is None else str(root)
    return HuggingFace(HuggingFaceSettings(**{"name": name, "size": 8, "image": "img", **settings}))


def test_a_folder_of_parquet_files_is_read_as_the_hub_means_it(repository: Path) -> None:
    found = data(repository)
    assert found.spec.class_names == tuple(CLASSES)
    assert found.labels("train").tolist() == [0, 1, 2, 0, 1, 2, 0, 1]
    assert found.labels("test").tolist() == [2, 0, 1, 2]
    images = np.asarray(found.images("train")[[6, 0]])
    assert np.array_equal(images[0], centre_crop(PICTURES[6], 8))
    assert np.array_equal(images[1], centre_crop(PICTURES[0], 8))
    assert np.array_equal(found.images("test")[:1][0], centre_crop(PICTURES[8], 8))
    keeps_its_contract("huggingface", {"name": str(repository), "size": 8, "image": "img"})


def test_the_fingerprint_is_that_of_the_images_whatever_the_files_are(
    repository: Path, tmp_path: Path
) -> None:
    write(tmp_path / "other" / "train" / "0000.parquet", rows(range(8)))
    write(tmp_path / "other" / "test" / "0000.parquet", rows(range(8, 12)))
    assert data(tmp_path / "other").fingerprint == data(repository).fingerprint
    write(tmp_path / "other" / "test" / "0000.parquet", rows([8, 9, 10, 0]))
    assert data(tmp_path / "other").fingerprint != data(repository).fingerprint


def test_a_plan_reads_no_image_and_knows_what_was_read_before(repository: Path) -> None:
    outline = data(repository).outline()
    assert outline.fingerprint == "not looked at"
    assert outline.labels("test").tolist() == [2, 0, 1, 2]
    settle()
    fingerprint = data(repository).fingerprint
    assert data(repository).outline().fingerprint == fingerprint


def test_classes_are_named_numbered_or_one(tmp_path: Path) -> None:
    columns = rows(range(4))
    for name, labels in (("texts", ["b", "a", "b", "a"]), ("numbers", [0, 2, 0, 2])):
        for split in ("train", "test"):
            write(tmp_path / name / f"{split}.parquet", {**columns, "label": labels}, ())
    assert data(tmp_path / "texts").spec.class_names == ("a", "b")
    assert data(tmp_path / "texts").labels("test").tolist() == [1, 0, 1, 0]
    assert data(tmp_path / "numbers").spec.class_names == ("0", "1", "2")
    assert data(tmp_path / "numbers", label="").labels("train").tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("names", [(), CLASSES], ids=["numbers", "named"])
def test_classes_without_training_images_are_noted_and_none_is_tested(
    tmp_path: Path, names: Sequence[str]
) -> None:
    columns = rows(range(4))
    write(tmp_path / "train.parquet", {**columns, "label": [1, 2, 1, 2]}, names)
    write(tmp_path / "test.parquet", {**columns, "label": [2, 1, 2, 1]}, names)
    first = names[0] if names else "0"
    note = f"without training images: 1 of 3 classes, {first}; samples are drawn of these too"
    assert data(tmp_path).notes == (note,)
    write(tmp_path / "test.parquet", {**columns, "label": [2, 1, 0, 1]}, names)
    with pytest.raises(UserError, match=rf"of class '{first}', .* such as test/00000002; remove"):
        data(tmp_path).spec  # noqa: B018


def test_a_number_that_the_files_do_not_name_is_one_line(tmp_path: Path) -> None:
    for split in ("train", "test"):
        write(tmp_path / f"{split}.parquet", rows(range(4)), CLASSES[:2])
    with pytest.raises(
        UserError, match="found the class '2', which is none of the 2 that the files"
    ):
        data(tmp_path).spec  # noqa: B018


def test_a_broken_image_is_left_out_or_too_many_are_an_error(repository: Path) -> None:
    columns = rows(range(8, 12))
    columns["img"][1] = {"bytes": None, "path": "elsewhere.png"}
    write(repository / "plain" / "test-00000-of-00001.parquet", columns)
    with pytest.raises(UserError, match=r"1 of 12 images are broken, .* is test/00000001"):
        data(repository).labels("test")


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (
            {"image": "image"},
            r"data\.image: found no column 'image'",
        ),
        ({"image": "label"}, r"data\.image: found int64 in column 'label', expected images"),
        (
            {"label": "fine_label"},
            r"data\.label: found no column 'fine_label'; did",
        ),
        ({"label": "img"}, r"data\.label: found dict in column 'img', expected a whole number or"),
        (
            {"test": "validation"},
            r"data\.test: found no files of split 'validation'; found pl",
        ),
        ({"config": "fancy"}, r"found no files of split 'train' and config 'fancy'"),
        ({"test": "cut"}, r"cut\.parquet: not a Parquet file"),
        ({"name": None}, r"no name is given; set data\.name to ORG/NAME"),
        ({"name": "./none"}, "no such folder; expected one, or ORG/NAME of the hub"),
        ({"name": "org/name"}, r"data\.revision: found none for org/name, which is no"),
    ],
)
def test_what_is_wrong_is_one_line(settings: dict[str, Any], says: str, repository: Path) -> None:
    (repository / "plain" / "cut.parquet").write_bytes(b"PAR1")
    given = {"name": str(repository), "size": 8, "image": "img", **settings}
    with pytest.raises(UserError, match=says) as error:
        HuggingFace(HuggingFaceSettings(**given)).labels("test")
    assert "\n" not in str(error.value)


def test_several_configurations_must_be_told_apart(repository: Path) -> None:
    write(repository / "fancy" / "train-00000-of-00001.parquet", rows(range(2)))
    with pytest.raises(UserError, match=r"splits in several folders, fancy, plain; say which"):
        data(repository)
    assert len(data(repository, config="plain").labels("train")) == 8


def test_the_hub_is_asked_for_a_revision_of_parquet_files(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, Any]] = []

    def snapshot(name: str, **given: Any) -> str:
        asked.append({"name": name, **given})
        return str(repository)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    found = data("org/name", revision="abc123")
    assert found.fingerprint == data(repository).fingerprint
    with nothing_fetched():
        data("org/name", revision="abc123")
    assert [each["local_files_only"] for each in asked] == [False, True]
    assert asked[0]["revision"] == "abc123"
    assert asked[0]["repo_type"] == "dataset"


def test_a_hub_out_of_reach_or_not_installed_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class RevisionNotFoundError(Exception):
        pass

    def fails(error: Exception) -> None:
        def snapshot(*_: object, **__: object) -> None:
            raise error

        monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)

    def refused(says: str) -> None:
        with pytest.raises(MissingDataError, match=says) as error:
            data("org/name", revision="abc123")
        assert "\n" not in str(error.value)

    fails(ConnectionError("no route\nto host"))
    refused(r"org/name@abc123: .* the hub is not reached; .*`hf download org/name --repo-type")
    with nothing_fetched():
        refused(r"not in the hub's cache; it is fetched when it runs")
    fails(RevisionNotFoundError("404"))
    refused("it has no such revision")
    fails(ValueError("of a kind\nthat nobody knows"))
    refused("cannot be fetched: ValueError: of a kind")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    refused(r"needs huggingface_hub; pip install 'prologue-bench\[hub\]'")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "set").mkdir()
    for split in ("train", "test"):
        (tmp_path / "set" / f"{split}.parquet").write_bytes(b"")
    with pytest.raises(UserError, match=r"needs pyarrow; pip install 'prologue-bench\[hub\]'"):
        data(tmp_path / "set")


def test_grey_images_become_colours(tmp_path: Path) -> None:
    grey = {"bytes": encoded(Image.new("L", (8, 8), 7)), "path": "a.png"}
    for split in ("train", "test"):
        write(tmp_path / "set" / f"{split}.parquet", {"img": [grey], "label": [0]})
    found = data(tmp_path / "set")
    assert np.asarray(found.images("test")[:]).shape == (1, 3, 8, 8)
    assert (np.asarray(found.images("test")[:]) == 7).all()


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (["01", "02", "01", "10"], ("01", "02", "10")),
        (["2021", "99999999999", "2021", "3"], ("2021", "3", "99999999999")),
        ([2, 0, 2, 4], ("0", "1", "2", "3", "4")),
    ],
)
def test_texts_of_digits_are_names_and_numbers_are_numbers(
    tmp_path: Path, labels: list[Any], classes: tuple[str, ...]
) -> None:
    for split in ("train", "test"):
        write(tmp_path / f"{split}.parquet", {**rows(range(4)), "label": labels}, classes=())
    found = data(tmp_path, label="label")
    assert found.spec.class_names == classes
    assert [classes[label] for label in found.labels("train")] == list(map(str, labels))


def test_a_column_of_paths_without_images_is_told_before_a_run(repository: Path) -> None:
    import pyarrow

    path = repository / "plain" / "train-00000-of-00002.parquet"
    paths = [{"bytes": None, "path": f"{row}.png"} for row in range(4)]
    kind = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    message = (
        r"train-00000.*: data\.image: found no bytes in column 'img', expected the images them"
    )
    for images in (
        paths,
        pyarrow.array(paths, kind),
        [{"path": each["path"]} for each in paths],
    ):
        write(path, {**rows(range(4)), "img": images})
        with pytest.raises(UserError, match=message):
            data(repository)
    write(path, {**rows(range(4)), "img": [*rows([0])["img"], *paths[1:]]})
    assert data(repository).spec.class_names == tuple(CLASSES), "one image is there"
