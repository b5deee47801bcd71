"""What a run takes of the machine, in one line."""

from __future__ import annotations

from pathlib import Path

from rich.filesize import decimal

from prologue_bench.pipeline.memory import available_memory
from prologue_bench.pipeline.needs import PlanNeeds
from prologue_bench.storage.files import free_disk
from prologue_bench.storage.leftovers import bytes_in
from prologue_bench.storage.store import Store


def needs_line(needs: PlanNeeds, jobs: int, root: Path) -> str:
    """About how much disk and memory a run takes, beside what is free of both."""
    jobs = min(jobs, len(needs.stages))
    at_a_time = f" for {jobs} stages at a time" if jobs > 1 else ""
    return (
        f"Needs about {decimal(needs.disk_of(jobs))} of disk ({decimal(free_disk(root))} free) and "
        f"{decimal(needs.memory_of(jobs))} of memory{at_a_time} "
        f"({decimal(available_memory())} free)"
    )


def disk_line(needs: PlanNeeds, jobs: int, root: Path) -> str:
    """About how much disk a run takes of a store that nodes share, beside what is free."""
    return (
        f"Needs about {decimal(needs.disk_of(jobs))} of disk ({decimal(free_disk(root))} free) and "
        f"up to {decimal(needs.memory_of(1))} of memory per stage"
    )


def store_line(store: Store) -> str:
    """What a store takes of the disk, which part of it can be made again, and how to free it."""
    sizes = {path.name: bytes_in(path) for path in store.root.iterdir()}
    cache, unfinished = (sizes.get(name, 0) for name in (store.cache.name, "work"))
    parts = [f"{decimal(cache)} of it cached features"] if cache else []
    if unfinished:
        parts.append(f"{decimal(unfinished)} unfinished work")
    freeing = "; `prologue-bench store gc` shows what can go" if parts else ""
    return f"Store: {', '.join([decimal(sum(sizes.values())), *parts])}, in {store.root}{freeing}"
