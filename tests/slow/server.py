"""Imports everything once and forks one child per request, so that a command costs no start-up.

Requests and endings are lines of JSON on standard input and output; `harness.Program` is the other
end.
"""

from __future__ import annotations

import contextlib
import encodings
import functools
import importlib
import json
import os
import pkgutil
import resource
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
LONGEST_OUTPUT = 2_000_000
POLL_SECONDS = 0.005


def serve() -> None:
    """Answer requests until an empty line comes, or standard input ends."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    _import_everything()
    replies.write("ready\n")
    replies.flush()
    for line in sys.stdin:
        if not line.strip():
            return
        replies.write(json.dumps(_answer(json.loads(line))) + "\n")
        replies.flush()


def _import_everything() -> None:
    plugins = sorted(path.name for path in (ROOT / "plugins").glob("prologue_*"))
    for name in ["prologue_bench", *plugins]:
        package = importlib.import_module(name)
        for module in pkgutil.walk_packages(
            package.__path__, f"{name}.", onerror=lambda name: None
        ):
            if not module.name.endswith("__main__"):
                with contextlib.suppress(Exception):  # an extra that is not installed
                    importlib.import_module(module.name)


@functools.cache
def _import_standard_library() -> None:
    """Another user may not be allowed to read where Python itself lies."""
    left_out = {
        "antigravity",
        "this",
        "idlelib",
        "turtle",
        "turtledemo",
        "tkinter",
        "lib2to3",
        "test",
    }
    names = [f"encodings.{module.name}" for module in pkgutil.iter_modules(encodings.__path__)]
    names += ["concurrent.futures.process", "concurrent.futures.thread", "multiprocessing.pool"]
    for name in sorted(sys.stdlib_module_names - left_out) + names:
        with contextlib.suppress(Exception):  # of another system
            importlib.import_module(name)


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    if request["user"] is not None:
        _import_standard_library()
    out, err = (Path(request["files"], name) for name in ("out", "err"))
    start = time.monotonic()
    child = os.fork()
    if child == 0:
        _run(request, out, err)
    signals = sorted(request["signals"])
    timed_out = False
    while True:
        done, status, usage = os.wait4(child, os.WNOHANG)
        if done:
            break
        passed = time.monotonic() - start
        if signals and passed >= signals[0][0]:
            os.kill(child, signals.pop(0)[1])
        elif passed > request["timeout"] and not timed_out:
            timed_out = True
            os.killpg(child, signal.SIGKILL)
        time.sleep(POLL_SECONDS)
    with contextlib.suppress(ProcessLookupError):  # what it has started and left behind
        os.killpg(child, signal.SIGKILL)
    return {
        "code": os.waitstatus_to_exitcode(status),
        "out": _text(out),
        "err": _text(err),
        "seconds": time.monotonic() - start,
        "processor_seconds": usage.ru_utime + usage.ru_stime,
        "timed_out": timed_out,
    }


def _text(path: Path) -> str:
    if not path.exists():  # killed before it could say anything
        return ""
    with path.open("rb") as file:
        return file.read(LONGEST_OUTPUT).decode("utf-8", errors="replace")


def _run(request: dict[str, Any], out: Path, err: Path) -> None:
    """In the child: be the process that the request asks for, and end."""
    code = 70
    try:
        os.setsid()
        for descriptor, path in ((1, out), (2, err)):
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
            os.dup2(file, descriptor)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.umask(request["umask"])
        if request["user"] is not None:
            uid, gid = request["user"]
            os.setgroups([])
            os.setgid(gid)
            os.setuid(uid)
        for name, value in request["env"].items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        tempfile.tempdir = None  # it is found anew, as the environment says
        os.chdir(request["cwd"])
        if request["memory"] is not None:
            limit = _data_bytes() + request["memory"]
            resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
        code = _call(request)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    with contextlib.suppress(Exception):
        sys.stdout.flush()
    with contextlib.suppress(Exception):
        sys.stderr.flush()
    os._exit(code & 0xFF)


def _call(request: dict[str, Any]) -> int:
    module, _, function = request["call"].partition(":")
    found = getattr(importlib.import_module(module), function)
    sys.argv = ["prologue-bench", *request["argv"]]
    returned = (
        found() if request["call"] == "prologue_bench.cli.endings:main" else found(request["argv"])
    )
    return returned if isinstance(returned, int) else 0


def _data_bytes() -> int:
    """What the limit of data counts already: heap and private memory."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) * 1024
    return 0


if __name__ == "__main__":
    serve()
