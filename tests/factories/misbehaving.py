"""A plugin in one file whose metrics end their process, or the run, in every way."""

from __future__ import annotations

import shutil
from pathlib import Path

from prologue_bench.config.ablation import Ablation, load_ablation
from prologue_bench.config.files import Overrides
from prologue_bench.registry import Registry
from prologue_bench.storage.store import Store
from tests.conftest import SMOKE

SOURCE = """
import os
import signal
import time
import warnings

from attrs import frozen

from prologue_bench.contracts import Component, Measurement, Metric, Procedure, hookimpl
from prologue_bench.storage import store

INTERFACE_VERSION = 2


@frozen(kw_only=True)
class HowSettings:
    marker: str = ""


@hookimpl
def prologue_metrics():
    return [
        Component(name=how, target=f"FILE:{how}", settings="FILE:HowSettings", summary="Behaves.")
        for how in HOWS
    ]


class How(Metric):
    needs = ("reconstructions",)

    def __init__(self, settings):
        self.settings = settings

    def measure(self, inputs):
        how = type(self).__name__
        getattr(self, f"_{how}")(inputs)
        value = float(inputs.reconstructions.mean())
        procedure = Procedure(name="how", details={})
        return [
            Measurement(
                name=f"how_{how}", title="how", value=value, unit="levels",
                direction="neutral", count=1, protocol=procedure,
            )
        ]

    def _well(self, inputs):
        pass

    def _raises(self, inputs):
        raise ZeroDivisionError("divided")

    def _prints(self, inputs):
        print("words of a component")
        warnings.warn("a warning of a component")
        os.system("echo words of its child")

    def _exits(self, inputs):
        os._exit(7)

    def _killed(self, inputs):
        os.kill(os.getpid(), signal.SIGKILL)

    def _crashes(self, inputs):
        os.kill(os.getpid(), signal.SIGSEGV)

    def _full(self, inputs):
        raise OSError(28, "No space left on device")

    def _sleeps(self, inputs):
        open(self.settings.marker, "w").close()
        while True:
            time.sleep(0.1)

    def _killed_at_commit(self, inputs):
        if not os.path.exists(self.settings.marker):
            open(self.settings.marker, "w").close()
            store.put_in_place = lambda output, folder: self._killed(inputs)


HOWS = [name[1:] for name in vars(How) if name[0] == "_" != name[1] and name != "_abc_impl"]
globals().update({how: type(how, (How,), {}) for how in HOWS})
"""


def metrics_file(folder: Path, module: str = "how_metric") -> Path:
    """Write the plugin; returns its path."""
    path = folder / f"{module}.py"
    path.write_text(SOURCE.replace("FILE", module))
    return path


def unmeasured(trained: Store) -> Store:
    """The store without its measurements."""
    for manifest in trained.manifests():
        if manifest["kind"] == "measure":
            shutil.rmtree(trained.artifact(manifest["key"]))
    return Store(trained.root)


FIRST = ("vary={}", "baseline=", "tokenizer.prologue_tokens=0")


def behaving(folder: Path, *metrics: str) -> Ablation:
    """The smoke ablation's first variant with metrics of a plugin of its own."""
    metrics_file(folder)
    marker = folder / "marker"
    named = ", ".join(f"{{use: {each}, marker: {marker}}}" for each in metrics)
    text = SMOKE.replace("metrics: [rate]", f"metrics: [rate, {named}]\nplugins: [./how_metric.py]")
    (folder / "tiny.yaml").write_text(text)
    return load_ablation(folder / "tiny.yaml", Registry.load(), Overrides(values=FIRST))
