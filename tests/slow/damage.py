"""Damage anywhere in a store.

Whatever was done, `run` gives the results of an undamaged store, without hands.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attrs import frozen

from tests.slow.harness import Campaign, Ending, Fault, Program, faults_of

ABLATION = """
name: tiny
title: A tiny comparison
data: {use: shapes, size: 14, train_images: 48, test_images: 32}
profile: smoke
tokenizer: {use: prologue}
generator: {use: ar}
vary:
  tokenizer.prologue_tokens: [0, 2]
baseline: {tokenizer.prologue_tokens: 0}
tokenizer_training: {steps: 12, checkpoint_steps: 3}
generator_training: {steps: 12, checkpoint_steps: 3}
sampling:
  samples: 24
  batch_size: 6
  search:
    grid: {temperature.default: [0.9, 1.1]}
    metric: {use: kid, subset_size: 4, subsets: 2, resize: 32}
    samples: 12
    validation_images: 12
metrics: [rate, {use: kid, subset_size: 4, subsets: 2, resize: 32}]
"""
VALUES: list[Any] = [None, [], {}, 0, -1, 1e308, "x", "../../x", True, [[]], {"x": None}]
MANIFESTS = [
    b"",
    b"[]",
    b"{}",
    b"null",
    b'"x"',
    b"{",
    b"[" * 100_000,
    b'{"files": {}}',
    b'{"files": null}',
    b"\xff\xfe",
    b"NaN",
    b"9" * 5000,
    b'{"a": ' * 50_000,
    b'{"files": {"../../x": {"bytes": 1, "sha256": ""}}, "key": "", "checksum": ""}',
]


@frozen
class Context:
    """Stores to damage, and what `run` gives of them."""

    program: Program
    folder: Path
    stores: dict[str, Path]
    expected: Any


def prepare(folder: Path, program: Program) -> Context:
    """A finished store, and some whose run was stopped in the middle of a stage."""
    (folder / "tiny.yaml").write_text(ABLATION)
    finished = folder / "finished"
    ending = run(program, folder, finished)
    assert ending.code == 0, ending.text
    expected = measurements(folder / "report")
    stores = {"finished": finished}
    keys = {
        manifest(path)["kind"]: path.name for path in sorted((finished / "artifacts").iterdir())
    }
    for kind in ("train-tokenizer", "train-generator", "sample", "search", "encode"):
        stores[kind] = unfinished(program, folder, finished, kind, keys[kind])
    return Context(program, folder, stores, expected)


def unfinished(program: Program, folder: Path, finished: Path, kind: str, key: str) -> Path:
    """A store in which a stage of some kind was killed after it had sealed a part of its work."""
    store = folder / kind
    shutil.copytree(finished, store)
    shutil.rmtree(store / "artifacts" / key)
    seals = 1 if kind in ("encode", "search") else 2
    argv = (str(seals), "run", "tiny.yaml", "--store", store, "--out", "unused")
    ending = call(program, folder, *argv, call="tests.slow.damage:run_killed")
    assert ending.code == -signal.SIGKILL, ending
    assert any((store / "work" / key / "seals").iterdir())
    return store


def run_killed(argv: list[str]) -> int:
    """The command line, which kills itself once so many parts of unfinished work are sealed."""
    from prologue_bench.cli.app import cli
    from prologue_bench.storage import unfinished

    left, write = int(argv[0]), unfinished.write_text

    def count(path: Path, text: str) -> None:
        nonlocal left
        write(path, text)
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    unfinished.write_text = count  # type: ignore[attr-defined]
    cli(argv[1:], standalone_mode=False)
    return 0


def run(program: Program, folder: Path, store: Path, out: str = "report", **options: Any) -> Ending:
    """`run` of the ablation."""
    argv = ("run", "tiny.yaml", "--store", store, "--out", out)
    return call(program, folder, *argv, call="tests.slow.damage:main_without_plots", **options)


def main_without_plots(argv: list[str]) -> int:
    """The command line; a report's page is left empty, since plots take seconds."""
    from prologue_bench.cli.endings import main
    from prologue_bench.reporting import report

    report.render_html = lambda results, pictures: "no plots"
    main()
    return 0


def call(program: Program, folder: Path, *argv: str | Path, **options: Any) -> Ending:
    """A command in a folder, with a cache of its own there."""
    return program.run(
        argv, cwd=folder, env={"XDG_CACHE_HOME": str(folder / "cache")}, timeout=120, **options
    )


def manifest(folder: Path) -> Any:
    """The manifest of an artifact."""
    return json.loads((folder / "manifest.json").read_text())


def measurements(report: Path) -> Any:
    """What must be equal bit for bit: measurements, curves, and what a search chose."""
    results = json.loads((report / "results.json").read_text())
    runs = [
        {
            **{
                name: each.get(name)
                for name in ("variant", "seed", "failures", "unfinished", "search")
            },
            "measurements": [
                {name: value for name, value in one.items() if name != "artifact"}
                for one in each["measurements"]
            ],
            "curves": {
                stage: {name: points for name, points in curve.items() if name != "seconds"}
                for stage, curve in each["curves"].items()
            },
        }
        for each in results["runs"]
    ]
    pictures = {path.name: path.read_bytes() for path in sorted((report / "assets").glob("*.png"))}
    return runs, pictures


def attempt(context: Context, draw: random.Random, folder: Path) -> list[Fault]:
    """Damage a copy of a store, look at it with every command, run, and compare."""
    shutil.copy(context.folder / "tiny.yaml", folder)
    name = draw.choice(["finished"] * 5 + list(context.stores))
    store = folder / "store"
    shutil.copytree(context.stores[name], store, symlinks=True)
    kind, damage = draw.choice(DAMAGES if name == "finished" else DAMAGES + UNFINISHED * 4)
    (folder / "outside").mkdir()
    (folder / "outside" / "own.txt").write_text("mine")
    done = damage(store, draw)
    what = f"{name} store, {kind}: {done}"
    faults: list[Fault] = []

    def say(fault: Fault) -> None:
        faults.append(fault)

    verify = call(context.program, folder, "store", "verify", "--store", store)
    if kind in NAMED and verify.code != 1:
        say(Fault("silent", f"{what}: `store verify` ends with {verify.code}"))
    for command in (("plan", "tiny.yaml"), ("store", "ls"), ("store", "gc", "--older-than", "0")):
        ending = call(context.program, folder, *command, "--store", store)
        faults += faults_of(ending, f"{what}: {' '.join(command)}")
        if ending.code != 0:
            say(
                Fault(
                    "stuck",
                    (
                        f"{what}: `{' '.join(command)}` ends with {ending.code}: "
                        f"{ending.err.strip()[-200:]}"
                    ),
                )
            )
    faults += faults_of(verify, f"{what}: store verify")
    if collected := draw.random() < 0.2:
        faults += faults_of(
            call(context.program, folder, "store", "gc", "--yes", "--store", store),
            f"{what}: gc --yes",
        )
    ending = run(context.program, folder, store)
    faults += faults_of(ending, f"{what}: run")
    if ending.code != 0:
        say(Fault("stuck", f"{what}: `run` ends with {ending.code}: {ending.err.strip()[-300:]}"))
    elif measurements(folder / "report") != context.expected:
        say(Fault("silent", f"{what}: other results"))
    needed = not verify.out.startswith("cache/")  # features are, where a measurement is missing
    if kind in NAMED and needed and not collected and "is damaged (" not in ending.err:
        say(Fault("silent", f"{what}: `run` says nothing of it"))
    if not needed:
        call(context.program, folder, "store", "gc", "--yes", "--store", store)
    again = call(context.program, folder, "store", "verify", "--store", store)
    if ending.code == 0 and again.code != 0 and not done.startswith("foreign"):
        say(Fault("stuck", f"{what}: still damaged after `run`: {again.out.strip()[-200:]}"))
    if (folder / "outside" / "own.txt").read_text() != "mine":
        say(Fault("lost", f"{what}: a file outside was changed"))
    return faults


def artifacts(store: Path, kind: str | None = None) -> list[Path]:
    """The artifacts of a store that are whole, of one kind where one is named."""
    found = [
        path
        for path in sorted((store / "artifacts").iterdir())
        if (path / "manifest.json").is_file()
    ]
    return [path for path in found if kind is None or manifest(path)["kind"] == kind]


def files_below(folder: Path) -> list[Path]:
    """All regular files below a folder, in a fixed order."""
    return [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink()]


def replace(path: Path, draw: random.Random) -> str:
    """Change the bytes of a file, or put something else in its place."""
    how = draw.choice(
        [
            "flip",
            "flip",
            "cut",
            "lengthen",
            "empty",
            "delete",
            "folder",
            "full folder",
            "fifo",
            "zero",
            "dangling",
            "loop",
            "other",
        ]
    )
    if how == "flip":
        content = bytearray(path.read_bytes() or b"x")
        for _ in range(draw.choice([1, 1, 20])):
            content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        if bytes(content) == path.read_bytes():
            content[0] ^= 1
        path.write_bytes(content)
    elif how == "cut":
        path.write_bytes(path.read_bytes()[: draw.randrange(max(1, path.stat().st_size))])
    elif how == "lengthen":
        path.write_bytes(path.read_bytes() + draw.randbytes(draw.choice([1, 1000])))
    elif how == "empty":
        path.write_bytes(b"")
    else:
        content = path.read_bytes()
        path.unlink()
        if how in ("folder", "full folder"):
            path.mkdir()
            if how == "full folder":
                (path / "x").write_bytes(content)
        elif how == "fifo":
            os.mkfifo(path)
        elif how == "zero":
            path.symlink_to("/dev/zero")
        elif how == "dangling":
            path.symlink_to("nowhere")
        elif how == "loop":
            path.symlink_to(path.name)
        elif how == "other":
            path.write_bytes(draw.randbytes(len(content) or 1))
    return f"{path.name}: {how}"


def a_file(store: Path, draw: random.Random) -> str:
    """A file of an artifact."""
    folder = draw.choice(artifacts(store))
    listed = sorted(manifest(folder)["files"])
    return f"{manifest(folder)['kind']} {replace(folder / draw.choice(listed), draw)}"


def a_manifest(store: Path, draw: random.Random) -> str:
    """A manifest, as bytes."""
    folder = draw.choice(artifacts(store))
    kind = manifest(folder)["kind"]
    return f"{kind} {replace(folder / 'manifest.json', draw)}"


def another_manifest(store: Path, draw: random.Random) -> str:
    """A manifest of another shape."""
    folder = draw.choice(artifacts(store))
    content = draw.choice(MANIFESTS)
    (folder / "manifest.json").write_bytes(content)
    return f"manifest {content[:30]!r}"


def a_field(store: Path, draw: random.Random) -> str:
    """A field of a manifest, or of one within it."""
    folder = draw.choice(artifacts(store))
    found = manifest(folder)
    place = found
    name = draw.choice(sorted(place))
    if isinstance(place[name], dict) and place[name] and draw.random() < 0.5:
        place = place[name]
        name = draw.choice(sorted(place))
    if draw.random() < 0.3:
        del place[name]
        done = f"without {name}"
    else:
        old = place[name]
        place[name] = draw.choice(
            [value for value in VALUES if value != old or type(value) is not type(old)]
        )
        done = f"{name} = {place[name]!r}"
    (folder / "manifest.json").write_text(json.dumps(found))
    return done


def swapped(store: Path, draw: random.Random) -> str:
    """Two artifacts in each other's place, or one copied over, or linked from, another."""
    kind = draw.choice(sorted({manifest(path)["kind"] for path in artifacts(store)}))
    alike = artifacts(store, kind) if draw.random() < 0.8 else artifacts(store)
    if len(alike) < 2:
        alike = artifacts(store)
    one, other = draw.sample(alike, 2)
    how = draw.choice(["swap", "copy", "link", "relative link", "manifests", "files"])
    if how == "swap":
        aside = one.with_name("aside")
        one.rename(aside)
        other.rename(one)
        aside.rename(other)
    elif how == "copy":
        shutil.rmtree(other)
        shutil.copytree(one, other)
    elif how in ("link", "relative link"):
        shutil.rmtree(other)
        other.symlink_to(one if how == "link" else one.name)
    elif how == "manifests":
        shutil.copy(one / "manifest.json", other / "manifest.json")
    else:
        for name in manifest(one)["files"]:
            shutil.copy(one / name, other / name)
        (other / "log.txt").write_text("another")
    return f"{how} of {manifest(one)['kind'] if (one / 'manifest.json').is_file() else 'one'}"


def a_place(store: Path, draw: random.Random) -> str:
    """Something else in the place of an artifact or of something in the cache."""
    folder = draw.choice(artifacts(store) + caches(store))
    how = draw.choice(["file", "fifo", "dangling", "loop", "empty", "zero", "behind", "behind"])
    outside = store.parent / "outside" / folder.name
    if how == "behind":
        folder.rename(outside)
        folder.symlink_to(outside)
        name = draw.choice(sorted(each.name for each in outside.iterdir()))
        return f"behind a link, {replace(outside / name, draw)}"
    shutil.rmtree(folder)
    if how == "file":
        folder.write_text("x")
    elif how == "fifo":
        os.mkfifo(folder)
    elif how in ("dangling", "loop"):
        folder.symlink_to("nowhere" if how == "dangling" else folder.name)
    elif how == "empty":
        folder.mkdir()
    elif how == "zero":
        folder.symlink_to("/dev/zero")
    return how


def caches(store: Path) -> list[Path]:
    """What is kept in the cache."""
    return [
        path for path in sorted((store / "cache").glob("*/*")) if (path / "manifest.json").is_file()
    ]


def a_cache(store: Path, draw: random.Random) -> str:
    """Something in the cache, and a measurement is missing that would read it."""
    folder = draw.choice(caches(store))
    for path in artifacts(store, "measure"):
        shutil.rmtree(path)
    how = draw.choice(["file", "file", "file", "swap"])
    if (
        how == "swap"
        and len(others := [each for each in caches(store) if each.parent == folder.parent]) > 1
    ):
        one, other = draw.sample(others, 2)
        shutil.rmtree(other)
        shutil.copytree(one, other)
        return f"a copy of another {folder.parent.name}"
    return f"{folder.parent.name} {replace(draw.choice(sorted(folder.iterdir())), draw)}"


def foreign(store: Path, draw: random.Random) -> str:
    """What is not the store's."""
    name = draw.choice(
        ["notes.txt", "Copy of x", "._x", ".DS_Store", "x\n\x1b[2J", "caf\udce9", "k" * 250]
    )
    place = store / draw.choice(["artifacts", "work", "cache", "cache/features", "locks"]) / name
    place.parent.mkdir(exist_ok=True)
    if draw.random() < 0.5:
        place.write_text("x")
    else:
        place.mkdir()
        (place / "manifest.json").write_bytes(draw.choice(MANIFESTS))
    return f"foreign {place.relative_to(store)!r}"


def another_file(store: Path, draw: random.Random) -> str:
    """A file more in an artifact, which nobody wrote there."""
    folder = draw.choice(artifacts(store))
    name = draw.choice(
        [
            "curves.jsonl",
            "search.json",
            "train-00000.npy",
            "test.npy",
            "images.npy",
            "prior.safetensors",
        ]
    )
    donors = [path / name for path in artifacts(store) if (path / name).is_file()]
    if (folder / name).exists():
        return "nothing"
    (folder / name).write_bytes(
        draw.choice(donors).read_bytes() if donors and draw.random() < 0.7 else b"{}\n"
    )
    return f"{manifest(folder)['kind']} with a {name}"


def a_lock(store: Path, draw: random.Random) -> str:
    """Something in the place of the locks that are needed, while artifacts are missing."""
    folder = draw.choice(artifacts(store))
    shutil.rmtree(folder)
    place = store / "locks" / f"{folder.name}.lock"
    place.parent.mkdir(exist_ok=True)
    place.write_text("x")
    return f"lock {replace(place, draw)}"


def work_file(store: Path, draw: random.Random) -> str:
    """A file of unfinished work, or something else in the place of one of its folders."""
    works = sorted((store / "work").glob("*")) or [
        store / "work" / draw.choice(artifacts(store)).name
    ]
    work = draw.choice(works)
    found = files_below(work)
    if found and draw.random() < 0.8:
        path = draw.choice(found)
        done = f"{path.relative_to(work).parent}/{replace(path, draw)}"
        if (work / "seals").is_dir() and draw.random() < 0.1:
            shutil.rmtree(work / "seals")
            done += ", no seals"
        return done
    folders = [path for path in (work, *sorted(work.rglob("*"))) if path.is_dir()]
    place = draw.choice(
        [
            *folders,
            work / "seconds",
            work / "output",
            work / "run",
            work / "drawn",
            work / "traceback.txt",
        ]
    )
    if place.is_dir():
        shutil.rmtree(place)
    place.parent.mkdir(parents=True, exist_ok=True)
    if not place.exists():
        place.write_bytes(b"x")
    return f"{place.relative_to(store)} {replace(place, draw)}"


DAMAGES: list[tuple[str, Callable[[Path, random.Random], str]]] = [
    *(("file", a_file), ("file", a_file), ("manifest", a_manifest), ("manifest", another_manifest)),
    *(("field", a_field), ("swap", swapped), ("swap", swapped), ("place", a_place)),
    *(("cache", a_cache), ("foreign", foreign), ("another file", another_file), ("lock", a_lock)),
]
UNFINISHED = [("work", work_file)]
NAMED = ("file", "manifest", "field", "swap", "place", "cache")
"""What `store verify` has to find."""
CAMPAIGN = Campaign(
    name="damage",
    title=(
        "Damage anywhere in a store, finished or not: swaps, copies, links, manifests, caches, "
        "checkpoints"
    ),
    tries=320,
    share=3,
    prepare=prepare,
    attempt=attempt,
)
