"""What `make demo` costs, beside that of an older revision.

    OMP_NUM_THREADS=1 python benchmarks/demo.py [--against REVISION]

Each revision runs the command of its own Makefile once, with its own profile, into a temporary
folder and with an empty store. Times are CPU seconds of all processes; on a machine that does other
work too they say more than the clock. It takes about ten minutes.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import tempfile
from pathlib import Path

from revisions import BASELINE, ROOT, checkout
from startup import Revision


def arguments_of_demo(checkout: Path) -> list[str]:
    """What the Makefile of a checkout gives `prologue-bench`, but for the report's place."""
    printed = subprocess.run(
        ["make", "--dry-run", "--always-make", "demo"],
        cwd=checkout,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout
    command = printed.replace("\\\n", " ").strip().splitlines()[-1]
    words = shlex.split(command)
    return words[words.index("run") : words.index("--out")]


def main() -> None:
    """Print a table of one row."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--against", default=BASELINE, help=f"the older revision ({BASELINE})")
    asked = parser.parse_args()
    seconds = []
    with tempfile.TemporaryDirectory() as folder, checkout(asked.against) as older:
        for name, place in (("old", older), ("new", ROOT)):
            revision = Revision(place, Path(folder, name))
            arguments = arguments_of_demo(place)
            seconds.append(revision.cpu_seconds(*arguments, *revision.places))
    before, after = seconds
    print(f"| | {asked.against}, s | now, s | ratio |\n| --- | ---: | ---: | ---: |")
    print(f"| `make demo`, CPU | {before:.0f} | {after:.0f} | {before / after:.2f} |")


if __name__ == "__main__":
    main()
