"""What commands cost before anything is trained, beside an older revision.

    python benchmarks/startup.py [--against REVISION] [--rounds N]

Each revision is checked out from git into a temporary folder and runs commands of its own, in turns
with the other. Times are CPU seconds of the whole process; the first line's is what passes until a
terminal shows something.
"""

from __future__ import annotations

import argparse
import os
import pty
import statistics
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable
from pathlib import Path

from revisions import BASELINE, ROOT, checkout

ABLATION = "ablations/prologue_count.yaml"
SMOKE = ["--profile", "smoke", "--set", "data=fashion-mnist-embedded", "--seeds", "0"]
ONE_VARIANT = ["--seeds", "0", "--set", "vary.tokenizer.prologue_tokens=[8]", "--set", "baseline="]


class Revision:
    """The commands of one checkout, with a store of its own."""

    def __init__(self, checkout: Path, folder: Path) -> None:
        self.checkout = checkout
        self.nowhere = ["--store", str(folder / "empty")]
        self.places = ["--store", str(folder / "store"), "--out", str(folder / "report")]
        plugins = checkout / "plugins"
        write_metadata(checkout, folder / "metadata")
        paths = [
            folder / "metadata",
            checkout,
            plugins,
            *(path for path in plugins.iterdir() if path.is_dir()),
        ]
        self.environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(map(str, paths)),
            "OMP_NUM_THREADS": "1",
        }
        # As for a user: modules are compiled once.
        self.environment.pop("PYTHONDONTWRITEBYTECODE", None)

    def run(self) -> float:
        """The smoke profile; nothing is left to do the second time."""
        return self.cpu_seconds("run", ABLATION, *SMOKE, *self.places)

    def plan(self) -> float:
        """One variant of `micro`, of which nothing is there yet."""
        return self.cpu_seconds("run", ABLATION, "--dry-run", *ONE_VARIANT, *self.nowhere)

    def first_line(self) -> float:
        """Until a terminal shows something of a plan."""
        start = time.monotonic()
        process, terminal = pty.fork()
        if process == 0:
            os.chdir(self.checkout)
            os.execve(sys.executable, self._command("run", ABLATION, "--dry-run"), self.environment)
        os.read(terminal, 1)
        seconds = time.monotonic() - start
        os.kill(process, 9)
        os.waitpid(process, 0)
        os.close(terminal)
        return seconds

    def _command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "prologue_bench.cli", *arguments]

    def cpu_seconds(self, *arguments: str) -> float:
        """What a command takes, with the processes that it starts."""
        process = subprocess.Popen(
            self._command(*arguments),
            cwd=self.checkout,
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"{self.checkout}: {' '.join(arguments)} ended with {status}")
        return usage.ru_utime + usage.ru_stime


def write_metadata(checkout: Path, folder: Path) -> None:
    """What installing a checkout would write: its plugins are found by their entry points."""
    project = tomllib.loads((checkout / "pyproject.toml").read_text())["project"]
    info = folder / "prologue_bench-0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: prologue-bench\nVersion: 0\n")
    groups = {"console_scripts": project["scripts"], **project["entry-points"]}
    (info / "entry_points.txt").write_text(
        "\n".join(
            f"[{group}]\n" + "\n".join(f"{name} = {value}" for name, value in entries.items())
            for group, entries in groups.items()
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--against", default=BASELINE, help=f"revision [{BASELINE}]")
    parser.add_argument("--rounds", type=int, default=3, help="of each command [3]")
    asked = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        checkout(asked.against) as older,
    ):
        old, new = Revision(older, Path(folder, "old")), Revision(ROOT, Path(folder, "new"))
        for each in (old, new):
            each.run()
        print(f"| what | {asked.against}, s | now, s | ratio |\n| --- | ---: | ---: | ---: |")
        rows: dict[str, Callable[[Revision], float]] = {
            "second `run`, CPU": Revision.run,
            "`plan` of one variant, CPU": Revision.plan,
            "first line of `run`": Revision.first_line,
        }
        for name, measure in rows.items():
            pairs = [(measure(old), measure(new)) for _ in range(asked.rounds)]
            before, after = (statistics.median(times) for times in zip(*pairs, strict=True))
            ratio = statistics.median(first / second for first, second in pairs)
            print(f"| {name} | {before:.2f} | {after:.2f} | {ratio:.1f} |", flush=True)


if __name__ == "__main__":
    main()
