"""Artifacts of published results: where they are, and how they come into a store that lacks them.

What a report says of the contents of its artifacts is held against what comes, so that models are
those whose numbers it shows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from attrs import evolve, frozen

from prologue_bench.errors import PrologueBenchError, UserError
from prologue_bench.notices import notice
from prologue_bench.results.schema import RemoteRecord, Results
from prologue_bench.storage.artifacts import contents_of
from prologue_bench.storage.remotes.remote import Remote, open_remote
from prologue_bench.storage.remotes.transfer import Exchange, Progress, Quiet, plan_pull, pull
from prologue_bench.storage.store import Store


def _quietly(exchange: Exchange) -> AbstractContextManager[Progress]:
    return nullcontext(Quiet())


@frozen
class Elsewhere:
    """Where a run's artifacts are looked for that the store lacks.

    `url`: a remote in place of those that the results name. `showing`: who is told of a transfer.
    """

    url: str | None = None
    showing: Callable[[Exchange], AbstractContextManager[Progress]] = _quietly

    def fetch(self, keys: Sequence[str], results: Results, store: Store) -> None:
        """Fetch those of some artifacts that the store lacks, where a remote for them is known.

        Raises UserError where they do not belong to what the store has, and PrologueBenchError
        where they cannot be had.
        """
        lacking = [key for key in keys if store.find(key) is None]
        urls = [self.url] if self.url is not None else _urls_of(lacking, results)
        if not lacking or not urls:
            return
        published = _contents(results)
        for key in (each for each in keys if each not in lacking):
            _check_own(store, key, published)
        problems: list[str] = []
        for url in urls:
            try:
                problems += self._fetch_from(url, lacking, published, store)
            except PrologueBenchError as error:
                problems.append(str(error))
            lacking = [key for key in lacking if store.find(key) is None]
            if not lacking:
                return
        raise PrologueBenchError("; ".join(problems))

    def _fetch_from(
        self, url: str, keys: Sequence[str], published: Mapping[str, str], store: Store
    ) -> list[str]:
        remote = open_remote(url)
        remote.check()
        exchange = plan_pull(store, remote, keys)
        problems = [*exchange.problems]
        problems += [f"{key}: is not in {remote.url}" for key in exchange.absent]
        problems += [
            f"{key}: the store has other contents of what it was made from than {remote.url}; "
            "take another store by --store"
            for key in exchange.behind
        ]
        for item in [*exchange.going]:
            if published.get(item.key, found := contents_of(item.manifest)) != found:
                exchange.going.remove(item)
                problems.append(
                    f"{item.key}: {remote.url} has other contents under this key than the results "
                    "say; it is not taken"
                )
        if exchange.going and not problems:
            count = len(exchange.going)
            notice(f"fetching {count} artifact{'s' * (count > 1)} from {remote.url}")
            with self.showing(exchange) as progress:
                problems += pull(store, remote, exchange.going, progress).problems
        return problems


HERE = Elsewhere()
"""Only where the results say, without a display."""


def _urls_of(keys: Sequence[str], results: Results) -> list[str]:
    """The remotes that results name for some of these keys."""
    found = [each.url for each in results.remotes if any(key in each.artifacts for key in keys)]
    return list(dict.fromkeys(found))


def _contents(results: Results) -> dict[str, str]:
    return {key: each for remote in results.remotes for key, each in remote.artifacts.items()}


def _check_own(store: Store, key: str, published: Mapping[str, str]) -> None:
    """Raises UserError for an artifact that is another than the published one.

    What is fetched would not belong to it.
    """
    manifest = store.manifest(key)
    if manifest is not None and published.get(key, found := contents_of(manifest)) != found:
        raise UserError(
            f"{store.artifact(key)}: has other contents than the results were made from; "
            "take another store by --store"
        )


def keys_of(results: Results) -> list[str]:
    """The keys of all artifacts that results were made from."""
    return list(dict.fromkeys(stage.key for run in results.runs for stage in run.stages))


def publish(results: Results, folder: Path, remote: Remote) -> None:
    """Write a report again that says that a remote has its artifacts, and what they hold.

    Raises UserError where the URL is not for everybody, and PrologueBenchError where one of the
    artifacts is not there.
    """
    from prologue_bench.reporting.report import write_report
    from prologue_bench.results.pictures import load_pictures

    check_publishable(remote)
    remote.refresh()
    artifacts = {}
    for key, manifest in remote.manifests(keys_of(results)).items():
        if not isinstance(manifest, Mapping):
            raise PrologueBenchError(f"{remote.url}: {key}: {manifest or 'is not there'}")
        artifacts[key] = contents_of(manifest)
    others = [each for each in results.remotes if each.url != remote.url]
    record = RemoteRecord(url=remote.url, artifacts=artifacts)
    pictures = load_pictures(folder, results)
    write_report(evolve(results, remotes=(*others, record)), pictures, folder)


def check_publishable(remote: Remote) -> None:
    """Raises UserError for a URL that nobody else can use, or that says a password."""
    if remote.has_password:
        raise UserError(
            f"{remote.url}: is given with a password, which whoever reads the report would need; "
            "name it without, or one for readers by --publish-as"
        )
