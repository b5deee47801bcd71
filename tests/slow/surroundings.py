"""Odd surroundings: environments, users, encodings, standard streams, arguments, early signals."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from attrs import frozen

from tests.slow.harness import Campaign, Ending, Fault, Program, faults_of

ABLATION = """
name: tiny
title: "Größe ± 日本"
data: {use: shapes, size: 14, train_images: 96, test_images: 64}
profile: smoke
tokenizer: {use: prologue}
generator: {use: ar}
vary: {tokenizer.prologue_tokens: [0, 2]}
seeds: [0]
baseline: {tokenizer.prologue_tokens: 0}
sampling: {samples: 24, batch_size: 12}
metrics: [rate]
"""
PATHS = [".", "..", "/", "~", "~nosuch/x", "caf\udce9", "x" * 300, "x" * 5000]
TEXTS = [*PATHS, "", " ", "-", "--", "é", "\x1b[31m", "a\nb", "²", "%s", "{}"]
NUMBERS = [
    *("-1", "0", "1e3", "1" * 30, "nan", "inf", "0x10", "½", "1,2", "0-2", "1_000", "+1"),
    *("1.5", "٣"),
]
VARIABLES: dict[str, list[str | None]] = {
    "HOME": [None, "", "/nonexistent", "relative", "/"],
    "XDG_CACHE_HOME": [None, "", " ", "relative", "~"],
    "PROLOGUE_BENCH_STORE": [None, "", "~nosuch/x", "/dev/null", "/proc/x", "caf\udce9"],
    "TMPDIR": ["", "/nonexistent", "relative"],
    "LANG": ["C", "de_DE.ISO-8859-1", "nosuch"],
    "LC_ALL": ["C", "POSIX", "ja_JP.eucJP", ""],
    "PYTHONIOENCODING": ["latin-1", "ascii", "cp1252", "utf-16"],
    "PYTHONUTF8": ["0", "1"],
    "PYTHONWARNINGS": ["error::UserWarning", "default"],
    "TERM": [None, "", "dumb", "nosuch"],
    "COLUMNS": ["", "0", "1", "-5", "abc", "100000"],
    "NO_COLOR": ["1"],
    "FORCE_COLOR": ["1"],
    "RANK": ["0", "x", "-1"],
    "WORLD_SIZE": ["1", "2", "x", "", "-1"],
    "OMP_NUM_THREADS": ["1", "0", "x"],
    "FASHION_MNIST": ["/nonexistent", "", "~nosuch"],
    "IMAGENET": ["/nonexistent", "", "/dev/null"],
    "CUDA_VISIBLE_DEVICES": ["", "0", "-1"],
    "USER": [None, ""],
}
STREAMS = ["", ">&-", "2>&-", ">&- 2>&-", "<&-", "| head -c 20", ">/dev/full", "2>/dev/full"]
LIMITS = ["", "", "", "umask 077;", "umask 000;", "ulimit -n 64;", "ulimit -c 0;"]
NOBODY = (12345, 12345)


@frozen
class Context:
    """A finished run."""

    program: Program
    ablation: Path
    store: Path
    report: Path

    def commands(self, out: Path) -> list[list[str]]:
        """Commands that all end with 0 in ordinary surroundings."""
        ablation, store, report = map(str, (self.ablation, self.store, self.report))
        return [
            ["list"],
            ["plan", ablation, "--store", store],
            ["run", ablation, "--store", store, "--out", str(out)],
            ["report", report, "--out", str(out)],
            ["compare", report, "prologue_tokens=0", "prologue_tokens=2"],
            ["store", "ls", "--store", store],
            ["store", "verify", "--store", store],
            ["store", "ls"],
            ["doctor"],
            ["show", "tokenizer", "prologue"],
            ["sample", report, "--store", store, "--out", str(out / "s.png")],
        ]


def prepare(folder: Path, program: Program) -> Context:
    """Run the ablation once."""
    folder.chmod(0o755)
    ablation = folder / "tiny.yaml"
    ablation.write_text(ABLATION, encoding="utf-8")
    context = Context(program, ablation, folder / "store", folder / "report")
    ending = program.run(
        ["run", ablation, "--store", context.store, "--out", context.report],
        cwd=folder,
        timeout=300,
    )
    assert ending.code == 0, ending.err
    return context


def attempt(context: Context, draw: random.Random, folder: Path) -> list[Fault]:
    """One command in one odd surrounding."""
    kind: Callable[[Context, random.Random, Path], list[Fault]]
    (kind,) = draw.choices([arguments, environment, another_user, starting], [8, 2, 4, 1])
    return kind(context, draw, folder)


def arguments(context: Context, draw: random.Random, folder: Path) -> list[Fault]:
    """A command with one to three arguments changed, added or dropped."""
    command = [*draw.choice(context.commands(folder / "out"))]
    options = [
        "--seeds",
        "--set",
        "--profile",
        "--out",
        "--store",
        "--plugin",
        "--reuse",
        "--launcher",
        "--seed",
        "--class",
        "--rows",
    ]
    for _ in range(draw.randint(1, 3)):
        odd = draw.choice([*TEXTS, *NUMBERS])
        place = draw.randrange(1, len(command) + 1)
        act = draw.randrange(4)
        if act == 0 and place < len(command):
            command[place] = odd
        elif act == 1 and place < len(command):
            del command[place]
        elif act == 2:
            command.insert(place, odd)
        else:
            command += [draw.choice(options), odd]
    ending = context.program.run(command, cwd=folder, timeout=120)
    return faults_of(ending, repr(command))


def another_user(context: Context, draw: random.Random, folder: Path) -> list[Fault]:
    """A command of a user without a name, with some variables changed."""
    if os.getuid() != 0:
        return []
    folder.chmod(draw.choice([0o777, 0o755]))
    names = draw.sample(["HOME", "XDG_CACHE_HOME", "PROLOGUE_BENCH_STORE", "TMPDIR", "USER"], 3)
    variables = {name: draw.choice(VARIABLES[name]) for name in names}
    command = draw.choice(context.commands(folder / "out"))
    ending = context.program.run(command, cwd=folder, env=variables, user=NOBODY, timeout=120)
    return faults_of(ending, f"{variables} as {NOBODY[0]}: {command}")


def environment(context: Context, draw: random.Random, folder: Path) -> list[Fault]:
    """A process of its own, with variables, limits and standard streams changed."""
    variables = {
        name: draw.choice(VARIABLES[name])
        for name in draw.sample(sorted(VARIABLES), draw.randint(1, 5))
    }
    streams = draw.choice(STREAMS)
    command = draw.choice(context.commands(folder / "out"))
    line = (
        f"{draw.choice(LIMITS)} {sys.executable} -m prologue_bench "
        f"{' '.join(map(_quoted, command))} {streams}"
    )
    where = {"PYTHONPATH": os.environ.get("PYTHONPATH", ""), "PATH": os.environ["PATH"]}
    kept = {
        name: value
        for name, value in {**os.environ, **where, **variables}.items()
        if value is not None
    }
    start = time.monotonic()
    try:
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", line],
            cwd=folder,
            env=kept,
            capture_output=True,
            timeout=180,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return [Fault("hang", f"{variables}: {line}")]
    out, err = (text.decode(errors="replace") for text in (done.stdout, done.stderr))
    ending = Ending(done.returncode, out, err, time.monotonic() - start, 0.0, False)
    return faults_of(ending, f"{variables}: {line}")


def starting(context: Context, draw: random.Random, folder: Path) -> list[Fault]:
    """A signal once Python has started, up to the end of the command."""
    number = draw.choice([signal.SIGTERM, signal.SIGINT])
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "prologue_bench",
            *context.commands(folder / "out")[draw.randrange(1, 4)],
        ],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while process.poll() is None and not _catches(process.pid, number):
        time.sleep(0.002)
    after = draw.uniform(0, 5)
    time.sleep(after)
    process.send_signal(number)
    out, err = process.communicate(timeout=180)
    ending = Ending(process.returncode, out, err, after, 0.0, False)
    if ending.code not in (0, 130):
        return [
            Fault(
                "traceback",
                f"{number.name} after {after:.2f} s: exit {ending.code}, {err[-300:]!r}",
            )
        ]
    return faults_of(ending, f"{number.name} after {after:.2f} s")


def _catches(pid: int, number: signal.Signals) -> bool:
    """Whether the process has a handler for a signal; before that it is Python that starts."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return True
    (caught,) = [line for line in status.splitlines() if line.startswith("SigCgt")]
    mask = int(caught.split()[1], 16)
    return bool(mask >> (signal.SIGTERM - 1) & 1) and bool(mask >> (number - 1) & 1)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


CAMPAIGN = Campaign(
    name="surroundings",
    title="Homes, users, encodings, streams, limits, arguments, signals while starting",
    tries=400,
    share=4,
    prepare=prepare,
    attempt=attempt,
)
