from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.slow.harness import Campaign, Program, campaigns, carry_out, faults_of

SEED = 1


@pytest.fixture(scope="module")
def program() -> Iterator[Program]:
    with Program() as each:
        yield each


@pytest.mark.parametrize("campaign", [pytest.param(each, id=each.name) for each in campaigns()])
def test_a_share_of_each_campaign_finds_no_fault(campaign: Campaign, program: Program) -> None:
    found: list[str] = []
    tally = carry_out(campaign, range(campaign.share), SEED, program, found.append)
    assert not tally.faults, "\n".join(found)


def test_an_error_that_nobody_has_foreseen_is_a_fault(program: Program) -> None:
    ending = program.run(["2", "3"], call="tests.slow.test_campaigns:divide_by_nothing")
    assert [fault.kind for fault in faults_of(ending)] == ["traceback"]


def test_a_command_that_does_not_end_is_a_fault(program: Program) -> None:
    ending = program.run(call="tests.slow.test_campaigns:sleep", timeout=0.2)
    assert ending.timed_out
    assert [fault.kind for fault in faults_of(ending)] == ["hang"]


def test_memory_beyond_the_limit_is_refused(program: Program) -> None:
    ending = program.run(call="tests.slow.test_campaigns:take_a_gigabyte", memory=100_000_000)
    assert "MemoryError" in ending.err


def divide_by_nothing(argv: list[str]) -> None:
    print(int(argv[0]) / 0)


def sleep(argv: list[str]) -> None:
    import time

    time.sleep(60)


def take_a_gigabyte(argv: list[str]) -> None:
    print(len(bytearray(1_000_000_000)))
