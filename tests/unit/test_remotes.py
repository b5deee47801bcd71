"""Stores elsewhere: what is missing moves, and nothing is overwritten, mixed up or trusted."""

from __future__ import annotations

import errno
import hashlib
import importlib.util
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fsspec
import pytest
from click.testing import CliRunner, Result

from prologue_bench.cli.app import cli
from prologue_bench.errors import PrologueBenchError, UserError
from prologue_bench.storage.artifacts import OWN_CHECKSUM
from prologue_bench.storage.remotes import transfer
from prologue_bench.storage.remotes.errors import asking
from prologue_bench.storage.remotes.remote import ARTIFACTS, FILES, INCOMING, Remote, open_remote
from prologue_bench.storage.remotes.transfer import Item, Quiet
from prologue_bench.storage.remotes.urls import place_of
from prologue_bench.storage.store import Store
from tests.factories.stores import put

TOKENIZER, GENERATOR, SAMPLES = "a" * 20, "b" * 20, "c" * 20


@pytest.fixture(params=["file", "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "file":
        yield f"file://{tmp_path / 'remote'}"
        return
    yield "memory://bucket/remote"
    fsspec.filesystem("memory").store.clear()


@pytest.fixture
def other(tmp_path: Path) -> Store:
    """The store of another machine."""
    return Store(tmp_path / "other")


def chain(store: Store, text: str = "weights") -> None:
    """A tokenizer, what was trained on it, and what was drawn from that."""
    put(store, TOKENIZER, text, kind="train-tokenizer")
    put(store, GENERATOR, f"{text} of the generator", kind="train-generator", inputs=[TOKENIZER])
    put(store, SAMPLES, f"{text} as samples", kind="sample", inputs=[GENERATOR])


def send(store: Store, remote: Remote, *keys: str) -> transfer.Moved:
    remote.prepare()
    exchange = transfer.plan_push(store, remote, keys or (TOKENIZER, GENERATOR, SAMPLES))
    moved = transfer.push(store, remote, exchange.going, Quiet())
    moved.problems += exchange.problems
    return moved


def fetch(store: Store, remote: Remote, *keys: str) -> transfer.Moved:
    exchange = transfer.plan_pull(store, remote, keys or (TOKENIZER, GENERATOR, SAMPLES))
    moved = transfer.pull(store, remote, exchange.going, Quiet())
    moved.problems += exchange.problems
    return moved


def keys(moved: transfer.Moved) -> list[str]:
    return [item.key for item in moved.items]


def invoke(store: Store, command: str, *arguments: str) -> Result:
    return CliRunner().invoke(cli, ["store", command, *arguments, "--store", str(store.root)])


def rewrite(remote: Remote, key: str, **changes: Any) -> None:
    """Put another manifest into a remote, with a checksum that is right."""
    path = f"{remote._connected[1]}/{ARTIFACTS}/{key}.json"
    manifest = json.loads(remote._fs.cat_file(path))
    del manifest[OWN_CHECKSUM]
    manifest |= changes
    text = json.dumps(manifest, sort_keys=True, separators=(",", ":"))
    manifest[OWN_CHECKSUM] = hashlib.sha256(text.encode()).hexdigest()
    remote._fs.rm_file(path)
    remote._fs.pipe_file(path, json.dumps(manifest).encode())


def damage(remote: Remote, text: str, content: bytes) -> None:
    """Put other content in the place of a file that a remote has."""
    path = f"{remote._connected[1]}/{FILES}/{hashlib.sha256(text.encode()).hexdigest()}"
    remote._fs.rm_file(path)
    remote._fs.pipe_file(path, content)


def test_what_is_sent_can_be_fetched_and_is_the_same(store: Store, other: Store, url: str) -> None:
    chain(store)
    assert keys(send(store, open_remote(url))) == [TOKENIZER, GENERATOR, SAMPLES]
    assert keys(send(store, open_remote(url))) == []
    assert keys(fetch(other, open_remote(url))) == [TOKENIZER, GENERATOR, SAMPLES]
    assert keys(fetch(other, open_remote(url))) == []
    for path in store.artifacts():
        for file in path.iterdir():
            assert (other.artifact(path.name) / file.name).read_bytes() == file.read_bytes()
        assert other.check(other.artifact(path.name)) == []
    assert not list(other.root.glob("work/*")) + list(other.root.glob("locks/*"))


def test_files_of_the_same_content_are_there_once(store: Store, url: str) -> None:
    put(store, TOKENIZER)
    put(store, GENERATOR)
    remote = open_remote(url)
    send(store, remote, TOKENIZER, GENERATOR)
    assert len(remote._fs.ls(f"{remote._connected[1]}/{FILES}")) == 1


def test_other_contents_under_a_key_stay_on_both_sides(
    store: Store, other: Store, url: str
) -> None:
    chain(store)
    chain(other, "trained elsewhere")
    remote = open_remote(url)
    send(store, remote)
    for moved in (send(other, remote), fetch(other, remote)):
        assert keys(moved) == []
        assert [line[:20] for line in moved.problems] == [TOKENIZER, GENERATOR, SAMPLES]
        assert "other contents under this key" in moved.problems[0]
    assert remote.manifest(TOKENIZER) == store.get(TOKENIZER).manifest
    assert (other.get(TOKENIZER) / "file.txt").read_text() == "trained elsewhere"


def test_when_and_where_something_was_made_is_no_content(
    store: Store, other: Store, url: str
) -> None:
    put(store, TOKENIZER, finished="2026-01-01", machine="one")
    put(other, TOKENIZER, finished="1970-01-01", machine="another, whose clock is wrong")
    remote = open_remote(url)
    send(store, remote, TOKENIZER)
    assert send(other, remote, TOKENIZER) == transfer.Moved()


@pytest.mark.parametrize("key", [GENERATOR, SAMPLES])
def test_what_was_made_from_other_contents_goes_neither_way(
    store: Store, other: Store, url: str, key: str
) -> None:
    chain(store)
    put(other, TOKENIZER, "trained elsewhere", kind="train-tokenizer")
    remote = open_remote(url)
    send(store, remote)
    assert transfer.plan_pull(other, remote, [key]).behind == [key]
    chain(other, "trained elsewhere")
    remote._fs.rm_file(f"{remote._connected[1]}/{ARTIFACTS}/{key}.json")
    exchange = transfer.plan_push(other, remote, [key])
    assert (exchange.behind, exchange.going) == ([key], [])


def test_a_manifest_is_never_written_over_another(store: Store, other: Store, url: str) -> None:
    put(store, TOKENIZER)
    put(other, TOKENIZER, "trained elsewhere")
    remote = open_remote(url)
    remote.prepare()
    late = transfer.plan_push(other, remote, [TOKENIZER]).going
    assert [item.key for item in late] == [TOKENIZER]
    send(store, open_remote(url), TOKENIZER)  # between the other's look and its sending
    moved = transfer.push(other, remote, late, Quiet())
    assert keys(moved) == []
    assert "other contents came under its key meanwhile" in moved.problems[0]
    assert open_remote(url).manifest(TOKENIZER) == store.get(TOKENIZER).manifest


def test_two_pushes_of_the_same_at_once_both_succeed(store: Store, url: str) -> None:
    put(store, TOKENIZER)
    one, two = open_remote(url), open_remote(url)
    one.prepare()
    items = [transfer.plan_push(store, each, [TOKENIZER]).going for each in (one, two)]
    for remote, going in zip((one, two), items, strict=True):
        assert keys(transfer.push(store, remote, going, Quiet())) == [TOKENIZER]


def test_many_pushes_of_the_same_at_once_do_not_disturb_each_other(
    store: Store, other: Store, tmp_path: Path
) -> None:
    chain(store)
    url = str(tmp_path / "remote")
    open_remote(url).prepare()

    def push(_: int) -> transfer.Moved:
        return send(Store(store.root), open_remote(url))

    with ThreadPoolExecutor(8) as pool:
        assert [moved.problems for moved in pool.map(push, range(16))] == [[]] * 16
    assert keys(fetch(other, open_remote(url))) == [TOKENIZER, GENERATOR, SAMPLES]
    assert not list((tmp_path / "remote" / INCOMING).iterdir())


def test_a_push_whose_file_another_has_tidied_away_is_done(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, TOKENIZER)
    remote, faster = (open_remote(str(tmp_path / "remote")) for _ in range(2))
    remote.prepare()
    put_file = remote._put

    def overtaken(path: Path, name: str, moved: Callable[[int], None]) -> None:
        put_file(path, name, moved)
        send(store, faster, TOKENIZER)

    monkeypatch.setattr(remote, "_put", overtaken)
    assert keys(send(store, remote, TOKENIZER)) == [TOKENIZER]
    assert not list((tmp_path / "remote" / INCOMING).iterdir())


class Broken(Quiet):
    """A connection that ends in the middle."""

    def __init__(self, after: int) -> None:
        self.left = after

    def moved(self, count: int) -> None:
        self.left -= count
        if self.left < 0:
            raise KeyboardInterrupt


def test_an_interrupted_push_shows_nothing_and_goes_on(store: Store, url: str) -> None:
    chain(store)
    remote = open_remote(url)
    remote.prepare()
    going = transfer.plan_push(store, remote, [TOKENIZER, GENERATOR]).going
    with pytest.raises(KeyboardInterrupt):
        transfer.push(store, remote, going, Broken(going[0].bytes))
    assert remote.keys() == [TOKENIZER]
    assert keys(send(store, remote, TOKENIZER, GENERATOR)) == [GENERATOR]


def test_an_interrupted_pull_shows_nothing_and_fetches_the_rest_of_the_file(
    store: Store, other: Store, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prologue_bench.storage.remotes.remote.PART", 10)
    put(store, TOKENIZER, "weights " * 10)
    remote = open_remote(url)
    send(store, remote, TOKENIZER)
    going = transfer.plan_pull(other, remote, [TOKENIZER]).going
    with pytest.raises(KeyboardInterrupt):
        transfer.pull(other, remote, going, Broken(55))
    assert other.find(TOKENIZER) is None
    assert not other.artifact(TOKENIZER).exists()
    asked = []
    parts = remote.parts

    def noted(digest: str, start: int, size: int) -> Iterator[bytes]:
        asked.append(start)
        return parts(digest, start, size)

    monkeypatch.setattr(remote, "parts", noted)
    assert keys(transfer.pull(other, remote, going, Quiet())) == [TOKENIZER]
    assert asked == [60]
    assert (other.get(TOKENIZER) / "file.txt").read_text() == "weights " * 10


def test_a_damaged_leftover_of_a_pull_is_fetched_from_its_beginning(
    store: Store, other: Store, url: str
) -> None:
    put(store, TOKENIZER)
    send(store, open_remote(url), TOKENIZER)
    left = other.work(f"fetch-{TOKENIZER}") / "output"
    left.mkdir(parents=True)
    (left / "file.txt").write_text("wro")
    (left / "others.txt").write_text("of nobody")
    assert keys(fetch(other, open_remote(url), TOKENIZER)) == [TOKENIZER]
    assert sorted(path.name for path in other.artifact(TOKENIZER).iterdir()) == [
        "file.txt",
        "manifest.json",
    ]


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"c0ntent", "is not what was written"), (b"con", "is truncated"), (b"", "is truncated")],
)
def test_a_file_that_is_damaged_there_is_not_taken_and_can_be_sent_again(
    store: Store, other: Store, url: str, content: bytes, said: str
) -> None:
    put(store, TOKENIZER)
    put(store, GENERATOR, "sound", inputs=[TOKENIZER])
    put(store, SAMPLES, "sound, too")
    remote = open_remote(url)
    send(store, remote)
    damage(remote, "content", content)
    moved = fetch(other, remote)
    assert keys(moved) == [SAMPLES]
    assert f"file.txt {said}" in moved.problems[0]
    assert GENERATOR in moved.problems[1]
    assert other.find(TOKENIZER) is None
    assert "was damaged" in transfer.repair(store, remote, [TOKENIZER], Quiet())[0]
    assert keys(fetch(other, remote)) == [TOKENIZER, GENERATOR]


@pytest.mark.parametrize("content", [b"", b"{", b"{}", b"[]", b"\xff" * 100])
def test_a_manifest_that_is_damaged_there_is_not_taken_and_is_written_again(
    store: Store, other: Store, url: str, content: bytes
) -> None:
    put(store, TOKENIZER)
    remote = open_remote(url)
    send(store, remote, TOKENIZER)
    remote._fs.pipe_file(f"{remote._connected[1]}/{ARTIFACTS}/{TOKENIZER}.json", content)
    moved = fetch(other, remote, TOKENIZER)
    assert "manifest.json" in moved.problems[0]
    assert keys(send(store, remote, TOKENIZER)) == [TOKENIZER]
    assert keys(fetch(other, remote, TOKENIZER)) == [TOKENIZER]


@pytest.mark.parametrize(
    "name",
    ["../outside", "/etc/outside", "a/../../outside", "manifest.json", "a\\b", "./a", "\x1b"],
)
def test_a_name_that_leaves_the_artifact_is_refused(
    store: Store, other: Store, url: str, name: str
) -> None:
    put(store, TOKENIZER)
    remote = open_remote(url)
    send(store, remote, TOKENIZER)
    files = store.get(TOKENIZER).manifest["files"]
    rewrite(remote, TOKENIZER, files={name: files["file.txt"]})
    moved = fetch(other, remote, TOKENIZER)
    assert keys(moved) == []
    assert "manifest.json: " in moved.problems[0]
    assert not other.root.exists()


def test_what_a_manifest_says_of_its_inputs_leads_nowhere_else(
    store: Store, other: Store, url: str
) -> None:
    put(store, TOKENIZER)
    put(store, GENERATOR, "circle")
    remote = open_remote(url)
    send(store, remote, TOKENIZER, GENERATOR)
    rewrite(remote, TOKENIZER, inputs=["../../etc", GENERATOR])
    rewrite(remote, GENERATOR, inputs=[TOKENIZER])
    assert sorted(keys(fetch(other, remote))) == [TOKENIZER, GENERATOR]


def test_an_import_never_takes_the_name_of_another(store: Store, other: Store, url: str) -> None:
    put(store, TOKENIZER, "mine", kind="imported-tokenizer", name="b")
    put(other, GENERATOR, "other weights", kind="imported-tokenizer", name="b")
    remote = open_remote(url)
    send(store, remote, TOKENIZER)
    moved = fetch(other, remote, TOKENIZER)
    assert keys(moved) == []
    assert f"imported as 'b', {GENERATOR}" in moved.problems[0]


def test_a_damaged_artifact_is_not_sent_and_is_replaced_by_a_fetch(store: Store, url: str) -> None:
    folder = put(store, TOKENIZER)
    remote = open_remote(url)
    send(store, remote, TOKENIZER)
    (folder / "file.txt").write_text("c0ntent")
    fresh = Store(store.root)
    remote._fs.rm_file(f"{remote._connected[1]}/{ARTIFACTS}/{TOKENIZER}.json")
    assert "is damaged" in send(fresh, remote, TOKENIZER).problems[0]
    sound = Store(store.root.with_name("sound"))
    put(sound, TOKENIZER)
    send(sound, remote, TOKENIZER)
    assert keys(fetch(fresh, remote, TOKENIZER)) == [TOKENIZER]
    assert (fresh.get(TOKENIZER) / "file.txt").read_text() == "content"


def test_what_killed_pushes_left_goes_when_the_same_is_sent(store: Store, tmp_path: Path) -> None:
    put(store, TOKENIZER)
    remote = open_remote(str(tmp_path / "remote"))
    remote.prepare()
    digest = hashlib.sha256(b"content").hexdigest()
    left = tmp_path / "remote" / INCOMING / f"{digest}.0123"
    left.write_text("con")
    assert remote.keys() == []
    send(store, remote, TOKENIZER)
    assert not list((tmp_path / "remote" / INCOMING).iterdir())


def test_a_full_disk_says_so_and_the_next_attempt_goes_on(
    store: Store, other: Store, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, TOKENIZER)
    send(store, open_remote(url), TOKENIZER)
    with monkeypatch.context() as patch:
        patch.setattr("shutil.disk_usage", lambda path: type("", (), {"free": 3}))
        with pytest.raises(PrologueBenchError, match="no space is left on the disk"):
            fetch(other, open_remote(url), TOKENIZER)
    with monkeypatch.context() as patch:

        def full(store: Store, key: str, output: Path) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        patch.setattr(Store, "place", full)
        with pytest.raises(PrologueBenchError, match="free some, and the same command goes on"):
            fetch(other, open_remote(url), TOKENIZER)
    assert keys(fetch(other, open_remote(url), TOKENIZER)) == [TOKENIZER]


def named(name: str, base: type[Exception], text: str) -> Exception:
    """An error of a library that is not imported here."""
    error: Exception = type(name, (base,), {})(text)
    return error


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (named("EndpointConnectionError", Exception, "no"), "cannot be reached"),
        (TimeoutError("no answer"), "cannot be reached"),
        (named("NoCredentialsError", Exception, "none"), "no credentials were found; set AWS_"),
        (PermissionError("Access Denied"), "no permission, or credentials not"),
        (PermissionError("RequestTimeTooSkewed"), "clock differs from the server's; set it"),
        (OSError(errno.ENOSPC, "No space left on device"), "no space is left there"),
        (RuntimeError("whatever else"), "RuntimeError: whatever else"),
    ],
)
def test_what_a_library_raises_is_one_line_with_the_url(error: Exception, said: str) -> None:
    with pytest.raises(PrologueBenchError, match=said) as raised, asking("s3://b/x", "s3"):
        raise error
    assert str(raised.value).startswith("s3://b/x: ")
    assert raised.value.exit_code == 1


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("s4://bucket/x", "unknown protocol 's4'"),
        ("file://tmp/x", "found no slash behind file://"),
        ("simplecache::s3://bucket/x", "without '::'"),
        ("s3://", "expected a URL such as s3://PLACE/FOLDER"),
        ("s3://bucket/a b", "expected a URL"),
        ("", "expected a folder, or a URL"),
    ],
)
def test_a_url_that_is_none_is_refused(url: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        place_of(url)


@pytest.mark.parametrize(
    ("url", "extra"), [("s3://b/x", "s3"), ("gs://b/x", "gcs"), ("ssh://h/x", "ssh")]
)
def test_a_missing_extra_is_named(url: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=rf"pip install 'prologue-bench\[{extra}\]'"):
        place_of(url)


def test_a_password_is_never_shown() -> None:
    place = place_of("sftp://user:secret@host:22/folder/")
    assert place.url == "sftp://user@host:22/folder"
    assert place.has_password


def test_a_folder_that_is_no_remote_is_said_to_be_none(
    store: Store, other: Store, tmp_path: Path
) -> None:
    put(store, TOKENIZER)
    nowhere = invoke(other, "pull", str(tmp_path / "nowhere"))
    assert isinstance(nowhere.exception, PrologueBenchError)
    assert "there is no remote here" in str(nowhere.exception)
    of_a_store = invoke(other, "pull", str(store.root))
    assert "is a store, not a remote" in str(of_a_store.exception)
    into_itself = invoke(store, "push", str(store.root / "remote"))
    assert "lies in the store itself" in str(into_itself.exception)
    later = tmp_path / "later"
    later.mkdir()
    (later / "prologue-bench.json").write_text('{"format": 2}')
    assert "later version of prologue-bench" in str(invoke(other, "pull", str(later)).exception)
    (later / "prologue-bench.json").write_text("{")
    other.root.mkdir(exist_ok=True)
    assert "is damaged" in str(invoke(other, "push", str(later)).exception)


def test_keys_and_kinds_choose_what_moves(store: Store, other: Store, url: str) -> None:
    chain(store)
    planned = invoke(store, "push", url, "--kind", "train-*", "--dry-run")
    assert "2 artifacts" in planned.output
    assert not open_remote(url).is_made()
    assert invoke(store, "push", url, "--kind", "train-*").exit_code == 0
    assert open_remote(url).keys() == [TOKENIZER, GENERATOR]
    assert invoke(store, "push", url, "c").exit_code == 0
    assert invoke(other, "pull", url, TOKENIZER).exit_code == 0
    assert [path.name for path in other.artifacts()] == [TOKENIZER]
    assert "found 0 artifacts" in str(invoke(other, "pull", url, "d").exception)
    assert "name artifacts by one" in str(invoke(other, "pull", url, "a", "--for", "x").exception)
    absent = invoke(other, "pull", url, "d" * 20)
    assert isinstance(absent.exception, PrologueBenchError)
    assert f"not in {url}" in absent.output


def test_a_push_with_other_contents_there_ends_with_one(
    store: Store, other: Store, url: str
) -> None:
    chain(store)
    chain(other, "trained elsewhere")
    assert invoke(store, "push", url).exit_code == 0
    refused = invoke(other, "push", url)
    assert isinstance(refused.exception, PrologueBenchError)
    assert refused.exception.exit_code == 1
    assert f"{TOKENIZER} (train-tokenizer): {url} has other contents" in refused.output


def test_an_item_counts_its_bytes(store: Store) -> None:
    put(store, TOKENIZER)
    assert Item(TOKENIZER, store.get(TOKENIZER).manifest).bytes == 7
