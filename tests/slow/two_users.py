"""Two users of a group on one store, under several umasks and on a store that nobody may write."""

from __future__ import annotations

import contextlib
import importlib
import os
import random
import shutil
import sys
from pathlib import Path
from typing import Any

from attrs import frozen

from tests.slow.damage import ABLATION, artifacts, main_without_plots, measurements
from tests.slow.harness import Campaign, Ending, Fault, Program, faults_of

FIRST, SECOND, GROUP = 23451, 23452, 23450


@frozen
class Context:
    """The store of the first user, under each umask, and what `run` gave."""

    program: Program
    folder: Path
    expected: Any


def prepare(folder: Path, program: Program) -> Context:
    """The first user's finished stores."""
    expected = None
    if os.geteuid() == 0:
        folder.chmod(0o755)
        (folder / "tiny.yaml").write_text(ABLATION)
        argv = (folder / "modules", "run", "tiny.yaml", "--store", folder / "root", "--out", "root")
        ending = program.run(
            argv, cwd=folder, timeout=120, call="tests.slow.two_users:note_modules"
        )
        assert ending.code == 0, ending.text
        for umask in (0o002, 0o022):
            own = folder / f"{umask:03o}"
            _group_folder(own)
            ending = call(
                program,
                own,
                FIRST,
                umask,
                "run",
                "tiny.yaml",
                "--store",
                own / "store",
                "--out",
                "first",
            )
            assert ending.code == 0, ending.text
            expected = measurements(own / "first")
    return Context(program, folder, expected)


def _group_folder(folder: Path) -> None:
    """A folder of the group, such as a team has on a shared disk."""
    folder.mkdir()
    (folder / "tiny.yaml").write_text(ABLATION)
    os.chown(folder, FIRST, GROUP)
    folder.chmod(0o2775)


def call(program: Program, folder: Path, user: int, umask: int, *argv: str | Path) -> Ending:
    """A command of one of the users, who has a home of their own."""
    home = folder / f"home-{user}"
    if not home.exists():
        home.mkdir(mode=0o755)
        os.chown(home, user, GROUP)
    env = {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache"), "TMPDIR": str(home)}
    modules = next(
        each / "modules" for each in (folder, *folder.parents) if (each / "modules").exists()
    )
    argv = (str(user), modules, *argv)
    return program.run(
        argv, cwd=folder, env=env, timeout=120, umask=umask, call="tests.slow.two_users:as_user"
    )


def note_modules(argv: list[str]) -> int:
    """The command line, which notes what it has imported."""
    sys.argv[1:] = argv[1:]
    try:
        return main_without_plots(argv[1:])
    finally:
        Path(argv[0]).write_text("\n".join(sorted(sys.modules)))


def as_user(argv: list[str]) -> int:
    """The command line as another user, who may not be allowed to read where Python itself lies."""
    for name in Path(argv[1]).read_text().splitlines():
        with contextlib.suppress(Exception):
            importlib.import_module(name)
    os.setgroups([])
    os.setgid(GROUP)
    os.setuid(int(argv[0]))
    sys.argv[1:] = argv[2:]
    return main_without_plots(argv[2:])


def attempt(context: Context, draw: random.Random, folder: Path) -> list[Fault]:
    """The second user uses what is finished, and makes what is not where that is allowed."""
    if os.geteuid() != 0:
        return []  # only root can be two users
    umask = draw.choice([0o002, 0o022])
    read_only = draw.random() < 0.3
    missing = draw.choice(
        ["nothing", "nothing", "measure", "sample", "train-generator", "damaged", "picture"]
    )
    own = folder / "own"
    shutil.copy(context.folder / "modules", folder)
    # Root's copy keeps the modes; owners come next.
    shutil.copytree(context.folder / f"{umask:03o}", own)
    store = own / "store"
    for path in (own, *sorted(own.rglob("*"))):
        user = SECOND if f"home-{SECOND}" in path.parts else FIRST
        os.chown(path, user, GROUP, follow_symlinks=False)
    own.chmod(0o2775)
    if missing == "picture":
        shutil.rmtree(store / "cache" / "prefixes")
    elif missing == "damaged":
        chosen = draw.choice(artifacts(store, "sample"))
        (chosen / "images.npy").write_bytes(b"x")
    elif missing != "nothing":
        shutil.rmtree(draw.choice(artifacts(store, missing)))
    if read_only:
        for path in (store, *store.rglob("*")):
            path.chmod(path.stat().st_mode & ~0o222)
    may_write = umask == 0o002 and not read_only
    what = f"umask {umask:03o}{', read-only' if read_only else ''}, {missing} missing"
    faults: list[Fault] = []
    for command in (
        ("plan", "tiny.yaml"),
        ("store", "ls"),
        ("store", "verify"),
        ("store", "gc", "--older-than", "0"),
    ):
        ending = call(context.program, own, SECOND, umask, *command, "--store", store)
        faults += faults_of(ending, f"{what}: {' '.join(command)}")
        if ending.code != (1 if command[1] == "verify" and missing == "damaged" else 0):
            faults.append(
                Fault(
                    "stuck",
                    f"{what}: `{' '.join(command)}` ends with {ending.code}: {_end(ending)}",
                )
            )
    ending = call(
        context.program, own, SECOND, umask, "run", "tiny.yaml", "--store", store, "--out", "second"
    )
    faults += faults_of(ending, f"{what}: run")
    if may_write or missing in ("nothing", "picture"):
        if ending.code != 0:
            faults.append(Fault("stuck", f"{what}: `run` ends with {ending.code}: {_end(ending)}"))
        elif measurements(own / "second") != context.expected:
            faults.append(Fault("silent", f"{what}: other results"))
    elif ending.code != 1 or "Permission denied" not in ending.err or "traceback" in ending.err:
        faults.append(
            Fault(
                "message",
                f"{what}: `run` ends with {ending.code} and not with the cause: {_end(ending)}",
            )
        )
    if may_write:
        chosen = draw.choice(artifacts(store))
        ending = call(
            context.program, own, FIRST, umask, "store", "rm", chosen.name, "--store", store
        )
        if ending.code != 0:
            faults.append(
                Fault(
                    "stuck",
                    f"{what}: the first user's `store rm` ends with {ending.code}: {_end(ending)}",
                )
            )
    return faults


def _end(ending: Ending) -> str:
    return " / ".join(ending.err.strip().splitlines()[-2:])[-300:]


CAMPAIGN = Campaign(
    name="two_users",
    title=(
        "Two users of one group on one store, umask 002 and 022, "
        "and a store that may not be written"
    ),
    tries=40,
    share=2,
    prepare=prepare,
    attempt=attempt,
)
