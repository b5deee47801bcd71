"""Names with little room still tell variants apart."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prologue_bench.reporting.formatting import unbroken
from prologue_bench.reporting.names import fitted_names, listed_names

ROOM = 20


@given(st.lists(st.text(max_size=60), max_size=8), st.integers(3, 40))
def test_a_fitted_name_is_no_longer_than_asked_and_the_name_itself_where_that_fits(
    names: list[str], most: int
) -> None:
    for name, shown in fitted_names(names, most).items():
        assert len(shown) <= most
        if len(name) <= most and shown != name:
            assert any(other != name and len(other) > most for other in names)


@pytest.mark.parametrize(
    "names",
    [
        [f"first report: prologue_tokens={count}" for count in (0, 4, 16)],
        [f"a tokenizer of {count} tokens that was trained for long" for count in (0, 4, 16)],
        [f"{first} of many words, {last}" for first in ("one", "two") for last in ("a", "b")],
        ["x" * 60 + tail for tail in ("", "1", "12")],
    ],
)
def test_fitted_names_differ_where_the_names_do(names: list[str]) -> None:
    shown = fitted_names(names, ROOM)
    assert list(shown) == names
    assert len(set(shown.values())) == len(names)
    assert max(map(len, shown.values())) <= ROOM


def test_a_list_names_the_one_setting_once() -> None:
    assert list(listed_names(["n=4", "n=8", "n=16"]).values()) == ["n=4", "8", "16"]
    assert list(listed_names(["n=4", "m=8"]).values()) == ["n=4", "m=8"]
    assert listed_names([]) == {}


def test_a_number_stays_on_the_line_of_what_it_is_of() -> None:
    assert unbroken("the rate (better: n=4 −8.3%, 16 +4%), −1.0 ± 0.3, all open").split(" ") == [
        *("the", "rate", "(better:", "n=4\N{NO-BREAK SPACE}−8.3%,", "16\N{NO-BREAK SPACE}+4%),"),
        "−1.0\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}0.3,",
        *("all", "open"),
    ]
