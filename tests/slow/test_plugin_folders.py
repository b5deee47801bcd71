"""Without one of the folders under plugins/, its components are gone, and nothing else."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from prologue_bench.pipeline.workspace import Workspace
from tests.conftest import ROOT, SMOKE

PLUGINS = ROOT / "plugins" / "prologue_plugins"
FOLDERS = sorted(path.name for path in PLUGINS.iterdir() if (path / "__init__.py").exists())
NEEDED = {"datasets", "generators", "layers", "metrics", "tokenizers"}
"""Of these the tiny ablation has something."""
LIBRARIES = (
    *("torch", "torchvision", "torch_fidelity", "mmengine.runner", "scipy.stats"),
    *("sklearn.linear_model", "skimage.metrics", "diffusers", "vector_quantize_pytorch", "lpips"),
)
"""What plugins import, so that it is imported once for all."""


def found_in(folder: Path) -> dict[str, Any]:
    """What there is where the plugins are those of a folder."""
    sys.path.insert(0, str(folder))
    from prologue_bench.config.ablation import load_ablation
    from prologue_bench.pipeline.planner import make_plan
    from prologue_bench.registry import Registry
    from prologue_bench.storage.store import Store

    registry, plan = Registry.load(), []
    components = {}
    for kind, entry in registry:
        try:
            components[f"{kind} {entry.component.name}"] = entry.component.load().__module__
        except Exception as error:
            components[f"{kind} {entry.component.name}"] = str(error)
    if folder.name not in NEEDED:
        ablation = load_ablation(folder / "tiny.yaml", registry)
        plan = [
            each.stage.key
            for each in make_plan(ablation, Workspace(Store(folder / "store"))).stages
        ]
    problems, commands = registry.problems, list(registry.commands)
    return {"components": components, "commands": commands, "problems": problems, "plan": plan}


def look() -> None:
    """Write what is found in each folder of one into its found.json, each in a new process."""
    root = Path(sys.argv[1])
    for name in LIBRARIES:
        importlib.import_module(name)
    for folder in sorted(root.iterdir()):
        if os.fork() == 0:
            (folder / "found.json").write_text(json.dumps(found_in(folder)))
            os._exit(0)
        os.wait()


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """By the folder that is missing, and of "nothing"."""
    root = tmp_path_factory.mktemp("plugins")
    for missing in ("nothing", *FOLDERS):
        package = root / missing / "prologue_plugins"
        package.mkdir(parents=True)
        for path in PLUGINS.iterdir():
            if path.name != missing:
                (package / path.name).symlink_to(path)
        (root / missing / "tiny.yaml").write_text(SMOKE)
    code = "from tests.slow.test_plugin_folders import look; look()"
    subprocess.run([sys.executable, "-c", code, str(root)], cwd=ROOT, check=True)
    return {path.name: json.loads((path / "found.json").read_text()) for path in root.iterdir()}


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_takes_its_own_components_and_nothing_else(
    found: dict[str, Any], name: str
) -> None:
    package = f"prologue_plugins.{name}"
    whole, rest = found["nothing"], found[name]
    assert not whole["problems"]
    own = {key for key, module in whole["components"].items() if module.startswith(f"{package}.")}
    assert set(whole["components"]) - set(rest["components"]) == own
    if name == "layers":  # it brings no component; what builds on it says what is missing
        broken = [text for text in rest["components"].values() if " " in text]
        assert broken
        assert all(f"there is no module '{package}'" in text for text in broken)
        return
    left = {key: module for key, module in whole["components"].items() if key not in own}
    assert rest["components"] == left
    assert len(rest["problems"]) == 1
    assert rest["commands"] == ([] if name == "official" else whole["commands"])
    if name not in NEEDED:
        assert rest["plan"] == whole["plan"]
        assert rest["plan"]
