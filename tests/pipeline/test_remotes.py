"""Stores elsewhere, with real servers and processes: killed transfers, runs, published reports."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from attrs import evolve
from click.testing import CliRunner, Result

from prologue_bench.cli.app import cli
from prologue_bench.errors import PrologueBenchError
from prologue_bench.registry import Registry
from prologue_bench.results.loading import load_results
from prologue_bench.results.merge import merge_results
from prologue_bench.results.pictures import Pictures
from prologue_bench.results.strict import to_json
from prologue_bench.runs.demo.studio import Request, Studio
from prologue_bench.storage.artifacts import Damage
from prologue_bench.storage.remotes.remote import open_remote
from prologue_bench.storage.store import Store
from tests.conftest import ROOT
from tests.factories.servers import BUCKET, object_store, web_server
from tests.factories.stores import put
from tests.slow.harness import Ending

Call = Callable[..., Ending]
MODULE = (sys.executable, "-m", "prologue_bench.cli")


@pytest.fixture(scope="module")
def server() -> Iterator[dict[str, str]]:
    with object_store() as environment:
        yield environment


@pytest.fixture
def url(
    server: dict[str, str], request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> str:
    """A place of the test's own on the object server."""
    for name, value in server.items():
        monkeypatch.setenv(name, value)
    return f"s3://{BUCKET}/{request.node.name}"


@pytest.fixture(scope="module")
def published(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The smoke ablation's report, which names the remote beside it, and tiny.yaml; read only."""
    folder = shutil.copytree(finished, tmp_path_factory.mktemp("published") / "finished")
    pushed = invoke(
        *("store", "push", str(folder / "remote"), "--for", str(folder / "report"), "--publish"),
        *("--store", str(finished / "store")),
    )
    assert pushed.exit_code == 0, (pushed.output, pushed.exception)
    shutil.rmtree(folder / "store")
    return folder


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments)


def same(one: Store, other: Store) -> bool:
    """Whether two stores have the same artifacts, all of them sound."""
    names = [path.name for path in one.artifacts()]
    return (
        names == [path.name for path in other.artifacts()]
        and all(one.manifest(name) == other.manifest(name) for name in names)
        and not any(other.check(path) for path in other.artifacts())
    )


def begun(command: str, url: str, store: Path, lines: int) -> subprocess.Popen[str]:
    """A transfer in a process of its own, which has said so many lines."""
    process = subprocess.Popen(
        [*MODULE, "store", command, url, "--store", str(store)],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for _ in range(lines):
        assert process.stderr.readline()
    return process


def killed(store: Store, command: str, url: str, lines: int) -> None:
    """Begin a transfer and kill its process when it has said so many lines."""
    with begun(command, url, store.root, lines) as process:
        process.kill()


def test_killed_transfers_show_nothing_half_and_go_on(
    finished: Path, store: Store, url: str
) -> None:
    source, remote = Store(finished / "store"), open_remote(url)
    killed(source, "push", url, lines=3)
    there = remote.keys()
    assert 3 <= len(there) < len(source.artifacts())
    assert not any(isinstance(each, Damage | None) for each in remote.manifests(there).values())
    pushed = invoke("store", "push", url, "--store", str(source.root))
    assert pushed.exit_code == 0, pushed.output
    assert f"{len(there)} were there already" in pushed.output

    killed(store, "pull", url, lines=3)
    assert 3 <= len(store.artifacts()) < len(source.artifacts())
    assert not any(store.check(path) for path in store.artifacts())
    pulled = invoke("store", "pull", url, "--store", str(store.root))
    assert pulled.exit_code == 0, pulled.output
    assert same(source, store)
    assert not list((store.root / "work").iterdir())


@pytest.mark.parametrize("content", [b"c0ntent", b"con", b""])
def test_an_object_that_is_damaged_is_not_taken_and_can_be_sent_again(
    store: Store, url: str, tmp_path: Path, content: bytes
) -> None:
    key, other = "a" * 20, str(tmp_path / "other")
    artifact = put(store, key)
    assert invoke("store", "push", url, "--store", str(store.root)).exit_code == 0
    remote = open_remote(url)
    digest = store.get(key).manifest["files"]["file.txt"]["sha256"]
    remote._fs.pipe_file(remote._path("files", digest), content)
    refused = invoke("store", "pull", url, "--store", other)
    assert isinstance(refused.exception, PrologueBenchError)
    assert f"{key} (test): file.txt is " in refused.output
    mended = invoke("store", "push", url, "--check", "--store", str(store.root))
    assert "file.txt was damaged" in mended.output
    assert invoke("store", "pull", url, "--store", other).exit_code == 0
    assert same(store, Store(Path(other)))
    assert artifact.exists()


def test_an_object_server_keeps_the_first_of_two_contents(
    store: Store, url: str, tmp_path: Path
) -> None:
    key, other = "b" * 20, Store(tmp_path / "other")
    put(store, key)
    put(other, key, "made elsewhere")
    remote = open_remote(url)
    remote.prepare()
    content = {each: (each.artifact(key) / "manifest.json").read_bytes() for each in (store, other)}
    remote.send_manifest(key, content[store])
    with pytest.raises(Damage, match="other contents came under its key meanwhile"):
        remote.send_manifest(key, content[other])
    assert open_remote(url).manifest(key) == store.manifest(key)


@pytest.mark.parametrize(
    ("place", "environment", "said"),
    [
        ("s3://nowhere/x", {}, "no such bucket"),
        ("s3://bucket/x", {"AWS_ACCESS_KEY_ID": None}, "credentials"),
        ("s3://bucket/x", {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "cannot be reached"),
        ("ssh://127.0.0.1:9/x", {}, "cannot be reached"),
        ("http://127.0.0.1:9/x", {}, "can be read only"),
    ],
)
def test_a_place_that_cannot_be_written_is_one_line(
    call: Call, server: dict[str, str], place: str, environment: dict[str, str | None], said: str
) -> None:
    ended = call("store", "push", place, **{**server, **environment})
    assert ended.code in (1, 2)
    (line,) = ended.err.splitlines()
    assert line.startswith(f"prologue-bench: {place}: ")
    assert said in line


def test_an_interrupted_transfer_ends_with_130_and_says_how_to_go_on(
    finished: Path, tmp_path: Path
) -> None:
    with begun("push", str(tmp_path / "remote"), finished / "store", lines=1) as process:
        process.send_signal(signal.SIGINT)
        said = process.communicate()[1].splitlines()
    assert process.returncode == 130
    assert said[-1] == "prologue-bench: interrupted; the same command goes on from here"


def test_a_run_fetches_what_a_remote_has_and_sends_what_it_lacks(
    published: Path, tmp_path: Path, call: Call
) -> None:
    remote = shutil.copytree(published / "remote", tmp_path / "remote")
    there = open_remote(str(remote))
    rate = next(
        key
        for key, each in there.manifests(there.keys()).items()
        if isinstance(each, dict) and each["kind"] == "measure"
    )
    (remote / "artifacts" / f"{rate}.json").unlink()
    tiny, out = str(published / "tiny.yaml"), str(tmp_path / "report")
    so_far = call("run", tiny, "--remote", str(remote), "--so-far", "--out", out)
    assert so_far.code == 0, so_far.text
    ran = call("run", tiny, "--remote", str(remote), "--out", out)
    assert ran.code == 0, ran.text
    assert [line for line in ran.err.splitlines() if ": starts" in line] == [
        line for line in ran.err.splitlines() if line.startswith("[1/1] measure rate")
    ][:1]
    assert open_remote(str(remote)).manifest(rate) is not None
    before, after = (load_results(folder) for folder in (published / "report", Path(out)))
    assert [each.measurements for each in after.runs] == [each.measurements for each in before.runs]


def test_a_run_is_not_lost_over_a_remote_that_fails(
    trained: Store, finished: Path, tmp_path: Path, call: Call
) -> None:
    out = tmp_path / "report"
    where = ["--store", str(trained.root), "--out", str(out)]
    ran = call("run", str(finished / "tiny.yaml"), *where, "--remote", "ssh://127.0.0.1:9/x")
    assert ran.code == 1
    assert load_results(out).runs
    last = ran.err.splitlines()[-1]
    assert last.startswith("prologue-bench: ssh://127.0.0.1:9/x: cannot be reached")
    assert last.endswith(
        f"`prologue-bench store push ssh://127.0.0.1:9/x --for {out}` sends the rest"
    )
    refused = call("run", str(finished / "tiny.yaml"), *where, "--remote", "s4://x")
    assert (refused.code, len(refused.err.splitlines())) == (2, 1)


def test_an_empty_store_gets_what_a_published_report_needs(
    published: Path, finished: Path, tmp_path: Path, call: Call
) -> None:
    report = str(published / "report")
    drawn = call("sample", report, "--out", "one.png", "--rows", "1")
    assert drawn.code == 0, drawn.text
    assert "fetching 2 artifacts from file://" in drawn.err
    assert len(Store(tmp_path / "store").artifacts()) == 2
    here = ["--store", str(finished / "store")]
    assert call("sample", report, "--out", "other.png", "--rows", "1", *here).code == 0
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "other.png").read_bytes()
    again = call("export", report, "--out", "model")
    assert again.code == 0, again.text
    assert "fetching" not in again.err


def test_a_report_s_artifacts_are_fetched_from_a_plain_web_server(
    published: Path, call: Call
) -> None:
    with web_server(published) as url:
        drawn = call(
            *("export", str(published / "report"), "--out", "model"),
            *("--remote", f"{url}/remote"),
        )
        assert drawn.code == 0, drawn.text
        elsewhere = call(
            *("sample", str(published / "report"), "--store", "empty"),
            *("--remote", f"{url}/nowhere"),
        )
        assert elsewhere.code == 1
        assert "there is no remote here" in elsewhere.err


def test_the_demo_fetches_the_run_that_is_drawn_from(published: Path, store: Store) -> None:
    studio = Studio(load_results(published / "report"), store, Registry.load())
    assert len(studio.draw(studio.names[-1], Request(count=1)).images) == 1
    assert len(store.artifacts()) == 2


def test_results_put_together_have_the_remotes_of_all(published: Path) -> None:
    one = load_results(published / "report")
    there = evolve(one.remotes[0], url="s3://bucket/there")
    other = evolve(one, name="other", remotes=(there,))
    merged, _ = merge_results([(one, Pictures({})), (other, Pictures({}))], None)
    assert [each.url for each in merged.remotes] == [one.remotes[0].url, "s3://bucket/there"]


def test_what_is_not_as_published_is_not_taken(
    published: Path, finished: Path, tmp_path: Path, call: Call
) -> None:
    results = load_results(published / "report")
    (remote,) = results.remotes
    forged = evolve(remote, artifacts=dict.fromkeys(remote.artifacts, "0" * 64))
    (tmp_path / "forged").mkdir()
    (tmp_path / "forged" / "results.json").write_text(to_json(evolve(results, remotes=(forged,))))
    refused = call("sample", "forged", "--out", "grid.png")
    assert refused.code == 1
    assert "has other contents under this key than the results say" in refused.err
    assert not Store(tmp_path / "store").artifacts()
    own = Store(tmp_path / "store")
    stages = {stage.stage: stage.key for stage in results.runs[-1].stages}
    put(own, stages["train-tokenizer"], "trained here")
    mixed = call("sample", str(published / "report"), "--out", "grid.png")
    assert mixed.code == 2
    assert "has other contents than the results were made from" in mixed.err


def test_a_report_that_is_written_again_still_says_where_its_artifacts_are(
    published: Path, finished: Path, tmp_path: Path
) -> None:
    report = shutil.copytree(published / "report", tmp_path / "report")
    before = load_results(report).remotes
    again = invoke(
        *("run", str(published / "tiny.yaml"), "--out", str(report)),
        *("--store", str(finished / "store")),
    )
    assert again.exit_code == 0, again.output
    assert load_results(report).remotes == before
    assert before[0].url in (report / "report.html").read_text()


def test_nothing_is_published_that_is_not_there(
    finished: Path, store: Store, tmp_path: Path
) -> None:
    report = shutil.copytree(finished / "report", tmp_path / "report")
    before = (report / "results.json").read_bytes()
    store.root.mkdir()
    arguments = ["store", "push", str(tmp_path / "remote"), "--store", str(store.root)]
    missing = invoke(*arguments, "--for", str(report), "--publish")
    assert isinstance(missing.exception, PrologueBenchError)
    assert f"20 artifacts not in {store.root}" in missing.output
    assert "--for" in str(invoke(*arguments, "--publish").exception)
    assert (report / "results.json").read_bytes() == before


def test_an_ablation_s_file_chooses_what_moves(
    trained: Store, finished: Path, tmp_path: Path
) -> None:
    put(trained, "f" * 20)
    place = str(tmp_path / "remote")
    pushed = invoke(
        *("store", "push", place, "--for", str(finished / "tiny.yaml")),
        *("--store", str(trained.root)),
    )
    assert pushed.exit_code == 0, pushed.output
    assert len(open_remote(place).keys()) == len(trained.artifacts()) - 1
