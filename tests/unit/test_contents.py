"""Files are known by what they hold.

Folders of images, broken images, plugin files, and the state that saves time.
"""

from __future__ import annotations

import gzip
import os
import re
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest
from PIL import Image

from prologue_bench.config.ablation import Ablation
from prologue_bench.errors import UserError
from prologue_bench.pipeline.planner import make_plan
from prologue_bench.pipeline.workspace import Workspace
from prologue_bench.registry import Registry
from prologue_bench.storage import checksums
from prologue_bench.storage.checksums import STATE, known_checksum, known_checksums
from prologue_bench.storage.files import checksum, user_cache
from prologue_bench.storage.store import Store
from prologue_plugins.datasets import imagenet, labelled
from prologue_plugins.datasets.fashion_mnist import FashionMnist
from prologue_plugins.datasets.settings import FashionMnistSettings
from tests.factories.image_folders import data, keep_times, make_images, reads, settle

pytestmark = pytest.mark.usefixtures("own_cache")


def test_other_pixels_in_a_file_of_the_same_size_change_the_fingerprint(tmp_path: Path) -> None:
    root = make_images(tmp_path / "set")
    settle()
    before = data(root).fingerprint
    path = root / "train/a/0.bmp"
    size = path.stat().st_size
    keep_times(path, lambda: Image.new("RGB", (8, 8), (90, 90, 90)).save(path))
    assert path.stat().st_size == size
    assert data(root).fingerprint != before


def test_images_that_change_places_between_classes_change_the_fingerprint(tmp_path: Path) -> None:
    root = make_images(tmp_path / "set")
    before = data(root).fingerprint
    one, other = root / "train/a/0.bmp", root / "train/b/0.bmp"
    content = one.read_bytes(), other.read_bytes()
    other.write_bytes(content[0])
    one.write_bytes(content[1])
    assert data(root).fingerprint != before


def test_what_is_not_read_is_not_in_the_fingerprint(tmp_path: Path) -> None:
    root = make_images(tmp_path / "set")
    before = data(root).fingerprint
    (root / "README.txt").write_text("notes")
    (root / "train/a/Thumbs.db").write_bytes(b"0")
    shutil.move(root / "train/a/0.bmp", root / "train/a/00.bmp")  # still the first
    assert data(root).fingerprint == before
    shutil.copytree(root, tmp_path / "elsewhere")
    assert data(tmp_path / "elsewhere").fingerprint == before
    assert data(root, size=16).fingerprint != before


def test_repaired_images_are_seen_and_images_that_break_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(labelled, "BROKEN_ALLOWED", 0.2)
    root = make_images(tmp_path / "set", "png")
    path = root / "train/a/1.png"
    good = path.read_bytes()
    whole = data(root)
    assert whole.broken == {}
    path.write_bytes(bytes(len(good)))  # preallocated, not downloaded yet
    assert data(root).broken.keys() == {"train/a/1.png"}
    assert len(data(root).labels("train")) == 11
    with pytest.raises(
        UserError, match=r"set: train/a/1\.png cannot be read .*but could be before"
    ):
        whole.images("train")[:]
    path.write_bytes(good)
    assert data(root).broken == {}
    assert data(root).fingerprint == whole.fingerprint


def test_a_damaged_list_of_broken_images_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(labelled, "BROKEN_ALLOWED", 0.2)
    root = make_images(tmp_path / "set", "png")
    (root / "train/a/1.png").write_bytes(b"no image")
    assert len(data(root).broken) == 1
    for kept in (user_cache() / "data").glob("images-*.json"):
        kept.write_text("[")
    assert len(data(root).broken) == 1


def test_a_link_to_nothing_is_a_broken_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(labelled, "BROKEN_ALLOWED", 0.2)
    root = make_images(tmp_path / "set")
    (root / "train/a/9.bmp").symlink_to(tmp_path / "nowhere.bmp")
    assert data(root).broken.keys() == {"train/a/9.bmp"}


def test_fashion_mnist_is_known_by_content_and_not_by_time(tmp_path: Path) -> None:
    shutil.copytree(Path(imagenet.__file__).parent / "embedded", tmp_path / "set")
    settle()
    before = FashionMnist(FashionMnistSettings(root=str(tmp_path / "set"))).fingerprint
    labels = tmp_path / "set/t10k-labels-idx1-ubyte.gz"
    raw = bytearray(gzip.decompress(labels.read_bytes()))
    raw[-1] = (raw[-1] + 1) % 10
    keep_times(labels, lambda: labels.write_bytes(gzip.compress(bytes(raw))))
    assert FashionMnist(FashionMnistSettings(root=str(tmp_path / "set"))).fingerprint != before


def test_who_reads_the_images_is_part_of_keys(
    load: Callable[..., Ablation], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    ablation = load()
    before = make_plan(ablation, Workspace(store)).pipelines[0].tokens.key
    newer = attrs.evolve(ablation.experiments[0].data.component, version=9)
    changed = [
        attrs.evolve(each, data=attrs.evolve(each.data, component=newer))
        for each in ablation.experiments
    ]
    plan = make_plan(attrs.evolve(ablation, experiments=tuple(changed)), Workspace(store))
    assert plan.pipelines[0].tokens.key != before


def test_a_file_is_read_once_until_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_text("one")
    settle()
    read = reads(monkeypatch)
    one = known_checksum(path)
    assert known_checksum(path) == one == checksum(path)
    assert read == [path]
    keep_times(path, lambda: path.write_text("two"))
    assert known_checksum(path) == checksum(path) != one
    os.replace(shutil.copy2(path, tmp_path / "copy"), path)  # another inode
    assert known_checksum(path) == checksum(path)
    assert len(read) == 3


def test_a_change_in_the_same_tick_as_the_hashing_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The times and the size of the second content are those of the first, as on a coarse clock."""
    path = tmp_path / "file"
    path.write_text("one")
    status = checksums.status_of(path)
    known_checksum(path)
    path.write_text("two")
    monkeypatch.setattr(checksums, "status_of", lambda path: status)
    assert known_checksum(path) == checksum(path)


@pytest.mark.parametrize("damage", [b"", b"no database at all" * 100, None])
def test_a_damaged_state_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: bytes | None
) -> None:
    path = tmp_path / "file"
    path.write_text("one")
    state = user_cache() / STATE
    state.parent.mkdir(parents=True)
    if damage is None:
        database = sqlite3.connect(state)
        database.execute("CREATE TABLE files (other TEXT)")
        database.commit()
        database.close()
    else:
        state.write_bytes(damage)
    settle()
    for _ in range(3):
        assert known_checksum(path) == checksum(path)
    read = reads(monkeypatch)
    assert known_checksum(path) == checksum(path)
    assert read == []


def test_without_a_state_files_are_hashed_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    path = tmp_path / "file"
    path.write_text("one")
    assert known_checksum(path) == checksum(path)


# Plugins in one file


BRINGS = (
    "from prologue_bench.contracts import Component, hookimpl\n"
    "@hookimpl\n"
    "def prologue_metrics():\n"
    "    return [Component(name='carried', target='my_plugin:M', summary='a metric')]\n"
)


def source_of(plugin: Path) -> str:
    """The checksum that the component of a plugin's file carries."""
    registry = Registry()
    registry.add_file(plugin, "test")
    return registry.find("metric", "carried").source


def test_a_plugin_s_checksum_covers_the_files_beside_it_that_it_imports(tmp_path: Path) -> None:
    (tmp_path / "unrelated.py").write_text("x = 1\n")
    (tmp_path / "my_helpers.py").write_text("from my_package.deep import y\n")
    (tmp_path / "my_package").mkdir()
    (tmp_path / "my_package/__init__.py").write_text("")
    (tmp_path / "my_package/deep.py").write_text("from . import deeper\ny = 2\n")
    (tmp_path / "my_package/deeper.py").write_text("z = 3\n")
    plugin = tmp_path / "my_plugin.py"
    plugin.write_text(f"import os\n\n\ndef late():\n    import my_helpers\n\n\n{BRINGS}")
    seen = {source_of(plugin)}
    assert all(re.fullmatch("[0-9a-f]{16}", each) for each in seen)
    (tmp_path / "unrelated.py").write_text("x = 2\n")
    assert source_of(plugin) in seen
    for name in (
        "my_helpers.py",
        "my_package/__init__.py",
        "my_package/deep.py",
        "my_package/deeper.py",
    ):
        path = tmp_path / name
        path.write_text(path.read_text() + "# changed\n")
        assert source_of(plugin) not in seen
        seen.add(source_of(plugin))


def test_checksums_come_in_the_order_of_the_files_also_where_only_some_are_known(
    tmp_path: Path,
) -> None:
    paths = [tmp_path / f"{number}.bin" for number in (7, 3, 9, 1, 8, 2, 6, 0, 5, 4)]
    for path in paths:
        path.write_bytes(path.name.encode())
        os.utime(path, ns=(10**18, 10**18))
    known_checksums(paths[3:7])
    assert list(known_checksums(paths)) == paths
    assert list(known_checksums(paths)) == paths
