"""A name becomes a path that lies directly in its folder, or an error."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prologue_bench.errors import UserError
from prologue_bench.storage.names import LONGEST_NAME, named_path

REFUSED = [
    *("", " ", ".", "..", ".hidden", "a/b", "../a", "/etc", "a\\b", "a\0b", "a\nb", "\x1b[2J"),
    *("\u202egnp", "caf\udce9", "a" * (LONGEST_NAME + 1), "é" * LONGEST_NAME, None, 3, ["a"]),
]


@pytest.mark.parametrize("name", REFUSED, ids=lambda name: ascii(name)[:20])
def test_a_name_that_could_leave_its_folder_or_is_no_file_name_is_refused(name: object) -> None:
    with pytest.raises(UserError, match=r"^--name: found .* expected ") as error:
        named_path(Path("folder"), name, "--name")
    assert len(str(error.value)) < 500
    assert str(error.value).isprintable()


@pytest.mark.parametrize(
    "name", ["a", "prologue_count", "a.b", "=1+1", "café", "two words", "a..b", "-x", "名前"]
)
def test_ordinary_names_are_taken(name: str) -> None:
    assert named_path(Path("folder"), name, ending=".json") == Path("folder") / f"{name}.json"


@given(st.one_of(st.text(), st.text(alphabet="./\\a\0~ ")))
def test_whatever_the_name_the_path_lies_directly_in_its_folder(name: str) -> None:
    try:
        path = named_path(Path("/folder"), name)
    except UserError:
        return
    assert path.parent == Path("/folder")
    assert path.resolve().parent == Path("/folder")
    assert path.name == name
