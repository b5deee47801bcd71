"""Run campaigns, and write their table into docs/reliability.md."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial

import click

from tests.slow.harness import KINDS, ROOT, Campaign, Program, Tally, campaigns, carry_out

PAGE = ROOT / "docs" / "reliability.md"
START, END = "<!-- campaigns: written by make campaign -->", "<!-- end of campaigns -->"


@click.command()
@click.argument("names", nargs=-1)
@click.option(
    "--tries", type=click.IntRange(min=1), help="How many of each  [each campaign's own number]"
)
@click.option("--seed", default=0, help="Of all draws.")
@click.option("--only", type=click.IntRange(min=0), help="Make the one try of this number.")
@click.option("--jobs", type=click.IntRange(min=1), default=1, help="Tries at a time.")
@click.option("--write", is_flag=True, help="Write the table into docs/reliability.md.")
def main(
    names: tuple[str, ...], tries: int | None, seed: int, only: int | None, jobs: int, write: bool
) -> None:
    """Make the tries of campaigns NAMES, all without any. Exits 1 where a fault was found."""
    chosen = [each for each in campaigns() if not names or each.name in names]
    if unknown := set(names) - {each.name for each in chosen}:
        raise click.UsageError(f"no campaign {', '.join(sorted(unknown))}; there are {_known()}")
    tallies = []
    with ExitStack() as stack:
        programs = [stack.enter_context(Program()) for _ in range(jobs)]
        for campaign in chosen:
            numbers = range(tries or campaign.tries) if only is None else [only]
            start = time.monotonic()
            tally = _carry_out(campaign, numbers, seed, programs)
            took = time.monotonic() - start
            click.echo(
                f"{campaign.name}: {tally.tries} tries, {len(tally.faults)} faults, {took:.0f} s"
            )
            tallies.append(tally)
            if write:
                _write(tallies)
    sys.exit(any(tally.faults for tally in tallies))


def _carry_out(
    campaign: Campaign, numbers: Sequence[int], seed: int, programs: Sequence[Program]
) -> Tally:
    """Make the tries, shared out to the programs."""
    shares = [numbers[index :: len(programs)] for index in range(len(programs))]
    carry = partial(carry_out, campaign, seed=seed, say=lambda text: click.echo(text))
    with ThreadPoolExecutor(len(programs)) as pool:
        tallies = pool.map(
            lambda each: carry(each[0], program=each[1]), zip(shares, programs, strict=True)
        )
    faults = [fault for tally in tallies for fault in tally.faults]
    return Tally(campaign, seed, len(numbers), sorted(faults, key=lambda fault: fault[0]))


def _known() -> str:
    return ", ".join(each.name for each in campaigns())


def _write(tallies: Sequence[Tally]) -> None:
    """Put the rows of these campaigns in the page's table; the others stay."""
    before, rest = PAGE.read_text(encoding="utf-8").split(START)
    table, after = rest.split(END)
    rows = {
        line.split("|")[1].strip(): line for line in table.splitlines() if line.startswith("| `")
    }
    rows |= {f"`{tally.campaign.name}`": _row(tally) for tally in tallies}
    head = ["campaign", "what is tried", "seed", "tries", *KINDS.values()]
    lines = [f"| {' | '.join(head)} |", f"| --- | --- |{' ---: |' * (len(head) - 2)}"]
    text = "\n".join([*lines, *(rows[name] for name in sorted(rows))])
    PAGE.write_text(f"{before}{START}\n\n{text}\n\n{END}{after}", encoding="utf-8")


def _row(tally: Tally) -> str:
    counts = [f"{tally.count(kind):,}" for kind in KINDS]
    name, title = tally.campaign.name, tally.campaign.title
    return f"| {' | '.join([f'`{name}`', title, str(tally.seed), f'{tally.tries:,}', *counts])} |"


if __name__ == "__main__":
    main()
