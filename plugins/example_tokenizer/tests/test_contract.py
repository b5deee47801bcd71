"""The tokenizer keeps prologue-bench's contract."""

import pytest

from prologue_bench.conformance import Check, Skipped, checks_of


@pytest.mark.parametrize(
    "check", checks_of("tokenizer", "example-fsq"), ids=lambda check: check.name
)
def test_contract(check: Check) -> None:
    try:
        check.run()
    except Skipped as reason:
        pytest.skip(str(reason))
