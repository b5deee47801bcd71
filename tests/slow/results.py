"""Results, baselines and benchmarks that others wrote, through every command that reads them."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attrs import frozen

from tests.conftest import SMOKE
from tests.slow.harness import ROOT, Campaign, Ending, Fault, Program, faults_of
from tests.slow.mutations import SPOIL, png, replaced, spoiled

YAML = SMOKE.replace("[rate]", "[rate, codebook]")
SECRET = "a private line"


@frozen
class Context:
    """Whole documents, a store with all artifacts of the first, and the program."""

    program: Program
    folder: Path
    reports: tuple[Path, ...]
    baseline: Path
    benchmarks: Path


def prepare(folder: Path, program: Program) -> Context:
    """One finished run with its store, and short copies of the committed reports."""
    (folder / "tiny.yaml").write_text(YAML)
    where = ["--store", folder / "store", "--out", folder / "report"]
    ending = program.run(["run", folder / "tiny.yaml", *where], cwd=folder, timeout=300)
    assert ending.code == 0, ending.text
    reports = [folder / "report"]
    for name in ("guidance", "prologue_count", "tokenizers"):
        reports.append(folder / name)
        _shortened(ROOT / "reports" / name, folder / name)
    reports.append(folder / "both")
    ending = program.run(["report", *reports[:2], "--out", folder / "both"], timeout=300)
    assert ending.code == 0, ending.text
    benchmarks = folder / "benchmarks.json"
    stats = {"min": 0.5, "max": 1.0, "median": 0.6, "iqr": 0.1}
    benchmarks.write_text(
        json.dumps(
            {
                "benchmarks": [
                    {"name": "encode", "stats": stats, "extra_info": {"calibration_seconds": 0.1}}
                ]
            }
        )
    )
    ending = program.run(
        ["bless", reports[0], "--out", folder / "baseline.json", "--benchmarks", benchmarks]
    )
    assert ending.code == 0, ending.text
    (folder / "secret.txt").write_text(SECRET)
    return Context(program, folder, tuple(reports), folder / "baseline.json", benchmarks)


def _shortened(source: Path, target: Path) -> None:
    """A report of two variants and two runs each, with a few points of each curve."""
    results = json.loads((source / "results.json").read_text())
    kept = {results["baseline"], results["variants"][-1]["name"]}
    results["variants"] = [each for each in results["variants"] if each["name"] in kept]
    results["seeds"] = results["seeds"][:2]
    results["runs"] = [
        each
        for each in results["runs"]
        if each["variant"] in kept and each["seed"] in results["seeds"]
    ]
    for run in results["runs"]:
        run["curves"] = {
            stage: {name: values[:8] for name, values in columns.items()}
            for stage, columns in run["curves"].items()
        }
    shutil.copytree(source, target)
    (target / "results.json").write_text(json.dumps(results))


def attempt(context: Context, draw: random.Random, folder: Path) -> list[Fault]:
    """Damage one document or picture, and read it."""
    base = draw.choice([0, 0, *range(len(context.reports))])
    report = folder / "report"
    shutil.copytree(context.reports[base], report)
    what = draw.choice(
        ["document", "document", "document", "text", "file", "picture", "baseline", "benchmarks"]
    )
    if what in ("baseline", "benchmarks"):
        return _of_file(context, draw, folder, what)
    path = report / "results.json"
    if what in SPOIL:
        told = SPOIL[what](draw, path, context.folder / "secret.txt")
    else:
        told = _damage_pictures(draw, report / "assets", context.folder / "secret.txt")
    name, command = draw.choice(COMMANDS)
    if what == "picture":
        name, command = draw.choice(COMMANDS[:2])
    ending = command(context, report, folder)
    told = f"{name} of {context.reports[base].name}, {what}: {told}"
    return [*_faults(ending, told), *_unwhole(folder, ending, told), *_told_secrets(folder, told)]


def _of_file(context: Context, draw: random.Random, folder: Path, what: str) -> list[Fault]:
    path = folder / f"{what}.json"
    shutil.copy(context.baseline if what == "baseline" else context.benchmarks, path)
    told = spoiled(draw, path, context.folder / "secret.txt")
    report = context.reports[0]
    if what == "baseline":
        commands = [
            ["regress", report, "--against", path, "--json"],
            [
                "regress",
                report,
                "--against",
                path,
                "--benchmarks",
                context.benchmarks,
                "--markdown",
                folder / "x.md",
            ],
            [
                "regress",
                report,
                "--against",
                path,
                "--fail-on",
                "rate:+5%",
                "--junit",
                folder / "x.xml",
            ],
            ["compare", report, path],
            ["report", path, "--out", folder / "x"],
            ["bless", path, "--out", folder / "x"],
        ]
    else:
        commands = [
            ["regress", report, "--against", context.baseline, "--benchmarks", path],
            ["bless", report, "--benchmarks", path, "--out", folder / "x.json"],
        ]
    command = draw.choice(commands)
    return _faults(context.program.run(command, cwd=folder), f"{command[0]}, {what}, {told}")


def _damage_pictures(draw: random.Random, assets: Path, secret: Path) -> str:
    names = sorted(assets.glob("*.png"))
    path = draw.choice(names)
    kind = draw.choice(["file", "cut", "flip", "size", "text", "name", "folder"])
    if kind == "file":
        return f"{path.name} is {replaced(draw, path, secret)}"
    content = path.read_bytes()
    if kind == "cut":
        path.write_bytes(content[: draw.randrange(len(content))])
    elif kind == "flip":
        at = draw.randrange(len(content))
        path.write_bytes(
            content[:at] + bytes([content[at] ^ 1 << draw.randrange(8)]) + content[at + 1 :]
        )
    elif kind == "size":
        path.write_bytes(
            png(
                *draw.choice(
                    [(20_000, 20_000), (1, 60_000), (2**31 - 1, 2**31 - 1), (0, 5), (70_000, 9)]
                )
            )
        )
    elif kind == "text":
        path.write_bytes(
            draw.choice([b"", b"GIF89a", b"<svg onload='alert(1)'/>", draw.randbytes(500)])
        )
    elif kind == "name":
        path.rename(
            assets
            / draw.choice(["originals-999999999999.png", "x.png", "samples-².png", "caf\udce9.png"])
        )
    else:
        shutil.rmtree(assets)
        assets.symlink_to(draw.choice([secret.parent, Path("/dev/zero"), assets, secret]))
    return f"{path.name}, {kind}"


Command = Callable[[Context, Path, Path], Ending]


def _command(*arguments: Any) -> Command:
    """A command line, in which words in capitals stand for places."""

    def run(context: Context, report: Path, folder: Path) -> Ending:
        known = {
            "REPORT": report,
            "OUT": folder / "out",
            "STORE": context.folder / "store",
            "OTHER": context.reports[1],
            "BASELINE": context.baseline,
            "YAML": context.folder / "tiny.yaml",
            "PICTURE": folder / "out.png",
        }
        words = [known.get(each, each) for each in arguments]
        return context.program.run(
            words, cwd=folder, call="tests.slow.results:main_without_library"
        )

    return run


def _studio(context: Context, report: Path, folder: Path) -> Ending:
    return context.program.run(
        [report, context.folder / "store"], cwd=folder, call="tests.slow.results:open_studio"
    )


COMMANDS: list[tuple[str, Command]] = [
    ("report", _command("report", "REPORT")),
    ("report of two", _command("report", "REPORT", "OTHER", "--out", "OUT")),
    ("compare", _command("compare", "REPORT", "OTHER")),
    ("compare with itself", _command("compare", "REPORT", "REPORT", "--json")),
    ("regress", _command("regress", "REPORT", "--against", "BASELINE")),
    ("bless", _command("bless", "REPORT", "--out", "OUT")),
    ("claims", _command("claims", "REPORT", "--markdown")),
    ("validate", _command("validate", "REPORT", "--extract", "OUT")),
    ("reuse", _command("run", "YAML", "--store", "STORE", "--reuse", "REPORT", "--dry-run")),
    ("sample", _command("sample", "REPORT", "--store", "STORE", "--rows", "2", "--out", "PICTURE")),
    ("export", _command("export", "REPORT", "--store", "STORE", "--out", "OUT")),
    ("gc", _command("store", "gc", "--keep", "REPORT", "--store", "STORE")),
    ("demo", _studio),
]


def main_without_library(argv: list[str]) -> None:
    """The command line, but reports lack the JavaScript of their plots.

    Putting it together takes seconds.
    """
    from prologue_bench.cli import endings
    from prologue_bench.reporting import report

    report.library = lambda: ""
    endings.main()


def open_studio(argv: list[str]) -> None:
    """What the demo does before and behind its page."""
    import sys

    from prologue_bench.errors import PrologueBenchError
    from prologue_bench.registry import Registry
    from prologue_bench.results.loading import load_results
    from prologue_bench.runs.demo.studio import Request, Studio
    from prologue_bench.storage.store import Store

    try:
        studio = Studio(load_results(Path(argv[0])), Store(Path(argv[1])), Registry.load())
        for name in studio.opening():
            studio.draw(name, Request(count=2))
    except PrologueBenchError as error:
        print(f"prologue-bench: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


def _faults(ending: Ending, told: str) -> list[Fault]:
    found = faults_of(ending, told)
    if not found and ending.code not in (0, 1, 2):
        found.append(Fault("traceback", f"{told}: exit {ending.code}"))
    if not found and ending.code and len(ending.err.strip().splitlines()) > 12:
        found.append(Fault("message", f"{told}: {len(ending.err.splitlines())} lines"))
    return found


def _unwhole(folder: Path, ending: Ending, told: str) -> list[Fault]:
    """Results that were written and are no JSON."""
    if ending.code != 0:
        return []
    found = []
    for path in (
        folder / "report" / "results.json",
        folder / "out" / "results.json",
        folder / "out" / "config.json",
    ):
        if path.is_file() and not path.is_symlink():
            try:
                json.loads(path.read_bytes().decode(), parse_constant=_no_constant)
            except (ValueError, RecursionError) as error:
                found.append(Fault("silent", f"{told}: {path.name} is no JSON: {error!s:.100}"))
    return found


def _no_constant(name: str) -> None:
    raise ValueError(name)


def _told_secrets(folder: Path, told: str) -> list[Fault]:
    """A private file behind a link that stands in a report now."""
    import base64

    page = [
        path
        for path in (folder / "report" / "report.html", folder / "out" / "report.html")
        if path.is_file()
    ]
    hidden = base64.b64encode(SECRET.encode()).decode().rstrip("=")[:-1]
    return [
        Fault("silent", f"{told}: a private file is in the report")
        for path in page
        if hidden in path.read_text()
    ]


CAMPAIGN = Campaign(
    name="results",
    title=(
        "results, baselines, benchmarks and pictures with random damage, "
        "through every command that reads them"
    ),
    tries=1500,
    share=6,
    prepare=prepare,
    attempt=attempt,
)
