"""What exists is documented."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from click.testing import CliRunner

from pages import zoo as zoo_page
from prologue_bench.cli.app import cli
from prologue_bench.cli.commands import COMMANDS
from prologue_bench.config.presets import find_preset
from prologue_bench.contracts import hooks as hookspecs
from prologue_bench.documents import yaml_values
from prologue_bench.registry import Registry
from prologue_bench.results.frame import summary
from prologue_bench.results.loading import load_results
from prologue_bench.storage.remotes.urls import KINDS
from prologue_bench.texts.ranges import parse_ranges
from prologue_plugins.official.claims import examine
from tests.conftest import ROOT

CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
README = (ROOT / "README.md").read_text()
DOCS = {path.name: path.read_text() for path in (ROOT / "docs").glob("*.md")}
RESULTS = DOCS["results.md"]
HOOKS = [name for name in vars(hookspecs) if name.startswith("prologue_")]


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_is_in_the_plugin_guide(hook: str) -> None:
    assert f"`{hook}`" in DOCS["plugins.md"]


@pytest.mark.parametrize("command", sorted({*COMMANDS, *Registry.load().commands}))
def test_every_command_is_in_the_readme(command: str) -> None:
    assert f"prologue-bench {command}" in README


def test_every_metric_and_profile_is_documented() -> None:
    registry = Registry.load()
    for name in registry.cards("profiles"):
        assert f"`{name}`" in DOCS["ablations.md"], name
    for kind, entry in registry:
        # Whatever else is installed documents itself.
        if entry.origin.startswith("prologue-bench "):
            assert f"`{entry.component.name}`" in (
                DOCS["metrics.md"] if kind == "metric" else README
            )


def test_the_page_of_published_models_is_made_from_their_cards(registry: Registry) -> None:
    assert zoo_page.PAGE.read_text(encoding="utf-8") == zoo_page.page(registry), (
        "run python -m pages.zoo"
    )


def test_every_kind_of_remote_is_documented_with_its_extra() -> None:
    for protocol, kind in KINDS.items():
        if protocol not in ("memory", "gcs"):
            assert f"`{protocol}://" in DOCS["stores.md"], protocol
        assert not kind.extra or f"'prologue-bench[{kind.extra}]'" in DOCS["stores.md"]


@pytest.mark.parametrize("text", [README, CONTRIBUTING, *DOCS.values()])
def test_links_lead_somewhere(text: str) -> None:
    for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", text):
        assert (ROOT / target).exists() or (ROOT / "docs" / target).exists(), target


def test_the_demo_is_what_the_readme_says_it_is() -> None:
    recipe = (ROOT / "Makefile").read_text().partition("\ndemo: install\n")[2].partition("\n\n")[0]
    words = shlex.split(recipe.replace("$(BIN)/", "").replace("\\\n", " "))
    options = dict(pairwise(words))
    seeds = parse_ranges(options["--seeds"], below=100)
    assert len(seeds) == 3, "the least that gives a verdict"
    (tokens,) = (word.partition("=")[2] for word in words if word.startswith("vary."))
    line = next(line for line in README.splitlines() if line.startswith("make demo"))
    compared = " and ".join(map(str, yaml_values.read(tokens)))
    assert f"compares {compared} prologue tokens, three seeds each" in line


def test_make_targets_that_are_named_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.M))
    assert {"demo", "test"} <= targets
    for text in (README, CONTRIBUTING):
        named = set(re.findall(r"^make ([a-z-]+)", text, flags=re.M))
        assert named
        assert named <= targets
    workflows = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
    run = [
        step["run"]
        for path in workflows
        for job in yaml_values.read(path.read_text())["jobs"].values()
        for step in job["steps"]
        if "run" in step
    ]
    made = {words[1] for command in run if (words := command.split())[0] == "make"}
    assert made == {"docs", "test-slow"}
    assert made <= targets
    assert any(".ci/run" in command for command in run)


def test_the_readme_s_example_is_what_new_writes_and_can_be_planned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    invoke = CliRunner().invoke
    assert invoke(cli, ["new", "tokenizer", "my-tokenizer"]).exit_code == 0
    (code,) = re.findall(r"```python\n(.*?)```", README, flags=re.S)
    assert set(code.splitlines()) <= set(Path("my_tokenizer.py").read_text().splitlines())
    (text,) = re.findall(r"```yaml\n(.*?)```", README, flags=re.S)
    Path("compare.yaml").write_text(text)
    planned = invoke(cli, ["plan", "compare.yaml", "--store", "store"])
    assert planned.exit_code == 0, planned.output
    assert "mine" in planned.output


def test_every_row_of_the_paper_s_table_has_its_command_and_every_preset_its_place() -> None:
    for path in (ROOT / "ablations" / "paper").glob("*.yaml"):
        assert f"`prologue-bench run ablations/paper/{path.name}`" in DOCS["paper.md"]
    registry = Registry.load()
    for name in (*registry.cards("tokenizers"), "ar-b", "ar-l", "ar-xl"):
        preset = find_preset("tokenizer", name, registry)
        if preset is None or preset.release is None:  # others are not the paper's
            assert f"`{name}`" in DOCS["paper.md"], name


TUTORIAL = DOCS["tutorial.md"]
EXAMPLE = ROOT / "plugins" / "example_tokenizer"


@pytest.mark.parametrize(
    "path",
    [
        "pyproject.toml",
        "src/example_tokenizer/__init__.py",
        "src/example_tokenizer/settings.py",
        "src/example_tokenizer/tokenizer.py",
        "compare.yaml",
        "tests/test_contract.py",
    ],
)
def test_the_tutorial_builds_the_example_word_by_word(path: str) -> None:
    assert (EXAMPLE / path).read_text().rstrip() in TUTORIAL


def test_the_example_is_as_short_as_the_tutorial_promises() -> None:
    lines = sum(len(path.read_text().splitlines()) for path in (EXAMPLE / "src").rglob("*.py"))
    assert lines < 100


def test_the_workflows_in_the_docs_are_yaml_whose_commands_exist() -> None:
    found = [
        yaml_values.read(text)
        for text in re.findall(r"```yaml\n(.*?)```", DOCS["ci.md"], flags=re.S)
    ]
    commands = [
        words[1]
        for workflow in found
        for job in workflow["jobs"].values()
        for step in job["steps"]
        if (words := str(step.get("run", "")).split())[:1] == ["prologue-bench"]
    ]
    assert len(found) == 2
    assert set(commands) == {"run", "regress", "bless"}
    assert set(commands) <= {*COMMANDS, *Registry.load().commands}


def rates(report: str) -> dict[str, float]:
    """The mean rates of a report's variants, in bits per image."""
    cells = summary(load_results(ROOT / "reports" / report))
    return {name: row["rate"].mean for name, row in cells.items()}


def test_the_readme_s_savings_are_those_of_the_reports_and_tell_what_each_is_held_to() -> None:
    base, *counts = rates("prologue_count").values()
    saved = [base - each for each in counts]
    shares = [f"{100 * each / base:.0f}" for each in saved]
    bits = [f"{each:.1f}" for each in saved]
    weights = rates("ce_weight")
    claims = examine(load_results(ROOT / "reports" / "ce_weight"))
    (claim,) = (each for each in claims if each.number == "6f")
    (loss,) = (each.difference for each in claim.evidence if each.variant == "weight 3")
    assert loss.half_width is not None
    readme, results = (" ".join(text.split()) for text in (README, RESULTS))
    assert (
        f"by {bits[0]}, {bits[1]} and {bits[2]} of {base:.0f} bits per image, "
        f"which is {shares[0]}, {shares[1]} and {shares[2]}%"
    ) in readme
    for digits, text in ((0, readme), (1, results)):
        told = f"{-loss.mean:.{digits}f} ± {loss.half_width:.{digits}f}"
        assert f"That difference of {told} bits is beyond the noise" in text
    for told in (
        f"have a rate of {weights['weight 3']:.1f} bits",
        f"one of {weights['weight 0']:.1f} bits",
        f"The rate without a prologue, {weights['2d']:.1f} bits, lies between them",
    ):
        assert told in readme
        assert told in results
    assert weights["weight 3"] < weights["2d"] < weights["weight 0"]


def test_the_readme_says_that_most_of_what_gfd_falls_by_is_one_seed() -> None:
    found = load_results(ROOT / "reports" / "prologue_count")
    values = {
        (run.variant, run.seed): each.value or 0.0
        for run in found.runs
        for each in run.measurements
        if each.name == "gfid"
    }

    def falls(seeds: Sequence[int]) -> list[float]:
        """Shares of the baseline, in percent, over some seeds."""
        base, *others = (
            sum(values[variant.name, seed] for seed in seeds) for variant in found.variants
        )
        return [100 * (1 - each / base) for each in others]

    whole = falls(found.seeds)
    assert f"It is {min(whole):.0f} to {max(whole):.0f}% lower, but most of that" in " ".join(
        README.split()
    )
    rest = falls([seed for seed in found.seeds if seed != 3])
    assert f"(without seed 3, {min(rest):.0f} to {max(rest):.0f}%)" in " ".join(RESULTS.split())


def test_the_results_shown_are_those_of_the_report() -> None:
    report = (ROOT / "reports" / "prologue_count" / "results.md").read_text().splitlines()
    shown = [line for line in RESULTS.splitlines() if line.startswith("| prologue_tokens=")]
    assert len(shown) == 4
    assert set(shown) <= set(report)


def test_the_falls_of_the_generation_gap_are_those_of_the_report() -> None:
    base, *counts = summary(load_results(ROOT / "reports" / "prologue_count")).values()
    for metric in ("generation_gap", "generation_gap_fashion_mnist_cnn"):
        before = base[metric].mean
        falls = [f"{100 * (before - each[metric].mean) / before:.0f}" for each in counts]
        assert f"by {falls[0]}, {falls[1]} and {falls[2]}%" in RESULTS
        assert {each[metric].verdict for each in counts} == {"better"}


def test_the_claims_shown_are_what_the_command_beside_them_prints(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(ROOT)
    found = re.findall(r"<!-- prologue-bench (claims .*?) -->\n(.*?)\n\n", RESULTS, flags=re.S)
    assert found
    for arguments, table in found:
        printed = CliRunner().invoke(cli, ["claims", *arguments.split()[1:]])
        assert printed.output.strip() == table.strip(), (
            f"put the output of prologue-bench {arguments} into docs/results.md"
        )
