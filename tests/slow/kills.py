"""Runs that are killed at any moment, and then go on: nothing is lost, and nothing differs."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
from pathlib import Path
from typing import Any

from attrs import frozen
from safetensors.numpy import load_file

from tests.slow.harness import Campaign, Ending, Fault, Program, faults_of

ABLATION = """
name: killed
title: A run that is killed
data: {use: shapes, size: 14, train_images: 96, test_images: 64}
profile: smoke
tokenizer: {use: prologue}
generator: {use: ar}
vary: {tokenizer.prologue_tokens: [0, 2]}
baseline: {tokenizer.prologue_tokens: 0}
seeds: [0]
tokenizer_training: {steps: 60, checkpoint_steps: 20}
generator_training: {steps: 40}
sampling: {samples: 24, batch_size: 12}
metrics: [rate]
"""
KILLS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
STARTS = ("fresh", "half", "finished", "report")
STOPPED = 130
MOST_KILLS = 4
"""Of one try; then the command is left alone until it ends."""
OWN_TIMES = ("seconds", "finished", "created", "machine", "git")
"""What differs from run to run: wall times and dates."""


@frozen
class Undisturbed:
    """A run that nobody has killed, and one that was stopped half-way."""

    program: Program
    file: Path
    store: Path
    report: Path
    half: Path
    seconds: dict[str, float]
    """How long a command takes, by what it starts from."""


def prepare(folder: Path, program: Program) -> Undisturbed:
    """Run the ablation whole; keep a store of its first half; time each beginning."""
    file = folder / "killed.yaml"
    file.write_text(ABLATION)
    store, report, half = folder / "store", folder / "report", folder / "half"
    whole = _run(program, file, store, report)
    assert whole.code == 0, whole.text
    again = _run(program, file, store, report)
    assert again.code == 0, again.text
    shutil.copytree(store, half)
    keys = sorted(
        (half / "artifacts").iterdir(), key=lambda each: (each / "manifest.json").stat().st_mtime
    )
    for artifact in keys[len(keys) // 2 :]:
        shutil.rmtree(artifact)
    rest = _run(program, file, folder / "half-done", folder / "half-report", half)
    assert rest.code == 0, rest.text
    seconds = {
        "fresh": whole.seconds,
        "half": rest.seconds,
        "finished": again.seconds,
        "report": again.seconds,
    }
    return Undisturbed(program, file, store, report, half, seconds)


def attempt(context: Undisturbed, draw: random.Random, folder: Path) -> list[Fault]:
    """Kill the command once to four times, uniformly, let it end, and compare all that it made."""
    start = draw.choice(STARTS)
    store, report = folder / "store", folder / "report"
    if start != "fresh":
        shutil.copytree(context.half if start == "half" else context.store, store)
    if start == "report":
        shutil.copytree(context.report, report)
    found: list[Fault] = []
    said = f"from {start}"
    for _ in range(draw.randint(1, MOST_KILLS)):
        number = draw.choice(KILLS)
        after = draw.uniform(0, context.seconds[start])
        said += f", {number.name} after {after:.2f} s"
        ending = _run(context.program, context.file, store, report, signals=[(after, number)])
        found += faults_of(ending, said, killed=True)
        if ending.code not in (0, STOPPED if number != signal.SIGKILL else -signal.SIGKILL):
            found.append(Fault("traceback", f"{said}: exit {ending.code}, {ending.err[-200:]!r}"))
        if start == "report" and (what := _mixed(report)):
            found.append(Fault("silent", f"{said}: {what}"))
    last = _run(context.program, context.file, store, report)
    found += faults_of(last, said)
    if last.code != 0:
        return [*found, Fault("stuck", f"{said}: exit {last.code}, {last.err[-200:]!r}")]
    found += [Fault("silent", f"{said}: {what}") for what in differences(context, store, report)]
    return found + [
        Fault("stuck", f"{said}: {what} is left over") for what in leftovers(store, report)
    ]


def _run(
    program: Program, file: Path, store: Path, report: Path, copied: Path | None = None, **more: Any
) -> Ending:
    if copied is not None:
        shutil.copytree(copied, store)
    return program.run(["run", file, "--store", store, "--out", report], timeout=120, **more)


def _mixed(report: Path) -> str:
    """What of a report is not as its results list it."""
    from prologue_bench.storage.files import checksum
    from prologue_bench.storage.placing import NEW, READY

    if any(os.path.lexists(report / name) for name in (NEW, READY)):
        # Whoever comes next finishes it.
        return ""
    try:
        listed = json.loads((report / "results.json").read_text())["files"]
    except (OSError, ValueError) as error:
        return f"results.json: {error}"
    return next(
        (
            f"{name} is not of these results"
            for name in listed
            if checksum(report / name) != listed[name]
        ),
        "",
    )


def differences(context: Undisturbed, store: Path, report: Path) -> list[str]:
    """In what a store and a report differ from those that nobody disturbed."""
    found = []
    names = [
        {each.name for each in (folder / "artifacts").iterdir()}
        for folder in (context.store, store)
    ]
    if names[0] != names[1]:
        found.append(f"artifacts: {len(names[0] ^ names[1])} are in one store alone")
    for path in sorted((context.store / "artifacts").rglob("*")):
        other = store / path.relative_to(context.store)
        if path.is_file() and not _equal(path, other):
            found.append(f"{path.relative_to(context.store)} differs")
    one, two = (
        timeless(json.loads((each / "results.json").read_text()))
        for each in (context.report, report)
    )
    found += [f"results.json: {key} differs" for key in one if one[key] != two.get(key)]
    pictures = {
        each.name for folder in (context.report, report) for each in (folder / "assets").iterdir()
    }
    for name in sorted(pictures):
        if not _equal(context.report / "assets" / name, report / "assets" / name):
            found.append(f"assets/{name} differs")
    return found


def timeless(value: Any) -> Any:
    """Results without wall times, dates, and what is measured of them."""
    if isinstance(value, dict):
        return {
            key: timeless(each) for key, each in value.items() if key not in (*OWN_TIMES, "files")
        }
    return [timeless(each) for each in value] if isinstance(value, list) else value


def _equal(one: Path, other: Path) -> bool:
    if not (one.exists() and other.exists()):
        return False
    if one.suffix == ".safetensors":
        first, second = load_file(one), load_file(other)
        return first.keys() == second.keys() and all(
            first[key].tobytes() == second[key].tobytes() for key in first
        )
    if one.name == "curves.jsonl":
        lines = (
            [timeless(json.loads(line)) for line in each.read_text().splitlines()]
            for each in (one, other)
        )
        return next(lines) == next(lines)
    if one.name == "manifest.json":
        return bool(_content(one) == _content(other))
    if one.suffix in (".log", ".txt"):
        return True
    return one.read_bytes() == other.read_bytes()


def _content(manifest: Path) -> Any:
    """A manifest without times, and without checksums of what holds times."""
    found = timeless(json.loads(manifest.read_text()))
    return {
        key: value
        for key, value in found.items()
        if key in ("kind", "version", "reads", "inputs", "steps")
    }


def leftovers(store: Path, report: Path) -> list[str]:
    """Files that only a run at work has."""
    found = [path for path in report.rglob("*") if path.name.startswith(".")]
    found += [
        path
        for name in ("artifacts", "work")
        for path in (store / name).glob("*")
        if _is_left(path, name)
    ]
    found += [path for path in store.rglob(".*.[0-9]*") if path.is_file()]
    return [str(path.relative_to(store.parent)) for path in found]


def _is_left(path: Path, folder: str) -> bool:
    return folder == "work" or path.name.startswith(".")


CAMPAIGN = Campaign(
    name="kills",
    title=(
        "SIGKILL, SIGTERM and SIGINT at any time in fresh, half and finished stores, "
        "also while a report is written"
    ),
    tries=70,
    share=1,
    prepare=prepare,
    attempt=attempt,
)
