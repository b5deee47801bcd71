"""Files are known by what they hold.

Folders of images, broken images, plugin files, and the state that saves time.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from prologue_bench.storage.checksums import known_checksums
from tests.factories.image_folders import reads, settle

pytestmark = pytest.mark.usefixtures("own_cache")


def test_processes_side_by_side_share_one_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(300):
        (folder / str(number)).write_text(str(number))
    settle()
    code = (
        "import sys; from pathlib import Path; from prologue_bench.storage.checksums import "
        "known_checksums\n"
        f"print(len(known_checksums(sorted(Path({str(folder)!r}).iterdir()))))"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) for _ in range(3)
    ]
    assert [process.communicate()[0] for process in processes] == [b"300\n"] * 3
    read = reads(monkeypatch)
    assert len(known_checksums(folder.iterdir())) == 300
    assert read == []
