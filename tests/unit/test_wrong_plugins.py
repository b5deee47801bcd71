"""Whatever a plugin does wrong costs itself one line."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from attrs import evolve
from click.testing import CliRunner

from prologue_bench.cli.app import cli
from prologue_bench.config.experiments import Resolved
from prologue_bench.conformance import checks_of
from prologue_bench.conformance.checks import Broken
from prologue_bench.contracts import (
    Component,
    ImageSpec,
    Measurement,
    Procedure,
    ReconstructionLoss,
    hookimpl,
)
from prologue_bench.contracts.checked import CheckedData, check_measurements
from prologue_bench.errors import StageError, UserError
from prologue_bench.pipeline.models import loss_class
from prologue_bench.registry import Registry, built_in_ablations, built_in_cards
from prologue_bench.results.measurements import written
from prologue_bench.results.plain import record
from prologue_bench.results.schema import MeasurementRecord
from prologue_plugins.datasets.settings import ShapesSettings
from prologue_plugins.datasets.shapes import Shapes

GOOD = Component(name="good", target="nowhere:Nothing", summary="a test")


class Boom(BaseException):
    """Neither an Exception nor SystemExit."""


def _endless() -> Iterator[Component]:
    while True:
        yield GOOD


def _half_way() -> Iterator[Component]:
    yield GOOD
    raise Boom("half way")


def _raise(error: BaseException) -> Any:
    raise error


@pytest.mark.parametrize(
    ("gives", "line"),
    [
        (lambda: "a text", "TypeError: found 'a text' (str), expected a list of Components"),
        (lambda: {"a": 1}, "TypeError: found {'a': 1} (dict), expected a list of Components"),
        (lambda: 3, "TypeError: found 3 (int), expected a list of Components"),
        (lambda: [GOOD, None], "TypeError: found None (NoneType), expected a Component"),
        (_endless, "ValueError: found more than 1000 items, expected a list of Components"),
        (_half_way, "Boom: half way"),
        (lambda: _raise(SystemExit(0)), "SystemExit: 0"),
        (lambda: _raise(GeneratorExit()), "GeneratorExit"),
        (
            lambda: [Component(name="a b", target="a:b", summary="")],
            "ValueError: 'name' must match regex",
        ),
        (
            lambda: [Component(name="a", target="a:b", summary=3)],
            "TypeError: found 3 (int), expected a text",
        ),  # type: ignore[arg-type]
        (lambda: [Component(name="a", target="a:b", summary="", version=0.5)], "TypeError: "),  # type: ignore[arg-type]
    ],
)
def test_what_a_hook_does_wrong_is_one_line_and_the_others_stay(
    gives: Callable[[], Any], line: str
) -> None:
    @hookimpl
    def prologue_metrics() -> Any:
        return gives()

    @hookimpl
    def prologue_tokenizers() -> list[Component]:
        return [GOOD]

    registry = Registry()
    plugin = SimpleNamespace(
        prologue_metrics=prologue_metrics, prologue_tokenizers=prologue_tokenizers
    )
    registry.add_plugin(plugin, "mine 1.0")
    assert registry.find("tokenizer", "good")
    assert not registry.entries["metric"]
    (problem,) = registry.problems
    assert problem.startswith(f"prologue_metrics of mine 1.0 is left out: {line}")
    assert len(problem) < 500
    assert problem.isprintable()


def test_cards_that_are_no_folder_are_one_line(tmp_path: Path) -> None:
    @hookimpl
    def prologue_cards() -> list[Path]:
        return [tmp_path, tmp_path / "nowhere"]

    registry = Registry()
    registry.add_plugin(SimpleNamespace(prologue_cards=prologue_cards), "mine 1.0")
    assert registry.card_folders == [tmp_path]
    assert [line.partition(": ")[0] for line in registry.problems] == [
        "cards of mine 1.0 is left out"
    ]


def test_a_card_whose_name_is_taken_is_one_line(tmp_path: Path) -> None:
    for name in ("profiles/micro", "recipes/micro", "tokenizers/vq-2d", "ablations/paper/2d"):
        path = tmp_path / f"{name}.yaml"
        path.parent.mkdir(parents=True)
        path.write_text("summary: mine")

    @hookimpl
    def prologue_cards() -> list[Path]:
        return [tmp_path]

    registry = Registry.load()
    registry.add_plugin(SimpleNamespace(prologue_cards=prologue_cards), "mine 1.0")
    built_in = built_in_cards() / "profiles" / "micro.yaml"
    ablation = built_in_ablations() / "paper" / "2d.yaml"
    assert registry.problems == [
        f"card ablations/paper/2d of mine 1.0 is left out: {ablation} has that name",
        f"card profiles/micro of mine 1.0 is left out: {built_in} has that name",
        "card tokenizers/vq-2d of mine 1.0 is left out: "
        f"a tokenizer of {registry.entries['tokenizer']['vq-2d'].origin} has that name",
    ]
    assert registry.cards("profiles")["micro"] == built_in
    assert registry.cards("recipes")["micro"].is_relative_to(tmp_path)


@pytest.mark.parametrize(
    "name", ["a.b.py", "folder.py", "huge.py", "nul\0.py", "~nosuch/x.py", "x" * 300 + ".py"]
)
def test_a_file_that_cannot_be_a_plugin_is_one_line(tmp_path: Path, name: str) -> None:
    path = Path(name) if name[0] == "~" else tmp_path / name
    if name == "folder.py":
        path.mkdir()
    elif name in ("a.b.py", "huge.py"):
        with path.open("wb") as file:
            file.truncate(100_000_000 if name == "huge.py" else 0)
    with pytest.raises(UserError) as caught:
        Registry().add_file(path, "--plugin")
    assert str(caught.value).startswith("--plugin: ")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500


HOOK = "from prologue_bench.contracts import hookimpl\n\n\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "def prologue_tokenizers():\n    return []\n",
            "prologue_tokenizers brings nothing: it is no hook; write @hookimpl of "
            "prologue_bench.contracts above it",
        ),
        (
            HOOK + "@hookimpl\ndef prologue_metrics():\n    return []\n\n\n"
            "def prologue_losses():\n    return []\n",
            "prologue_losses brings nothing: it is no hook",
        ),
        (
            "def prologue_tokenizer():\n    return []\n",
            "prologue_tokenizer brings nothing: there is no such hook, did you mean "
            "'prologue_tokenizers'",
        ),
        (
            "",
            "it brings nothing: found no hook, expected a function such as prologue_tokenizers; "
            "write @hookimpl of prologue_bench.contracts above it",
        ),
    ],
)
def test_a_file_that_brings_nothing_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "my_hookless_plugin.py"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        Registry().add_file(path, "--plugin")
    assert str(caught.value).startswith(f"--plugin: {path}: {message}")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("hook", ["commands", "cards"])
def test_a_file_may_bring_commands_or_cards_alone(tmp_path: Path, hook: str) -> None:
    path = tmp_path / f"my_plugin_of_{hook}.py"
    path.write_text(f"{HOOK}@hookimpl\ndef prologue_{hook}():\n    return []\n")
    Registry().add_file(path, "--plugin")


def test_settings_that_are_no_attrs_class_are_one_line() -> None:
    component = Component(name="a", target="json:loads", settings="json:JSONDecoder", summary="")
    with pytest.raises(UserError, match=r"json:JSONDecoder is .*, expected a frozen attrs class"):
        component.load_settings()


class Wrong(Shapes):
    """A data source that gives something else in one place."""

    what: str = ""
    gives: Any = None

    def __init__(self, settings: ShapesSettings) -> None:
        super().__init__(settings)

    def labels(self, split: Any) -> Any:
        return self.gives if self.what == "labels" else super().labels(split)

    def images(self, split: Any) -> Any:
        return self.gives if self.what == "images" else super().images(split)

    @property
    def fingerprint(self) -> Any:
        return self.gives if self.what == "fingerprint" else super().fingerprint


SMALL = ShapesSettings(size=14, train_images=30, test_images=20)


@pytest.mark.parametrize(
    ("what", "gives", "message"),
    [
        ("labels", [0, 1], r"`labels\('train'\)`: found \[0, 1\] \(list\), expected a ndarray"),
        ("labels", np.zeros(30), r"`labels\('train'\)` gave float64 \[30\], expected int64 \[N\]"),
        (
            "images",
            np.zeros((30, 3, 14, 14)),
            r"`images\('train'\)` gave float64 .*, expected uint8 \[30, 3, 14, 14\]",
        ),
        (
            "images",
            np.zeros((9, 3, 14, 14), np.uint8),
            r"`images\('train'\)` gave 9 images, expected 30",
        ),
        ("images", None, r"`images\('train'\)` gave None"),
        ("fingerprint", 7, r"`fingerprint`: found 7 \(int\), expected a str"),
        ("fingerprint", "", r"`fingerprint` is empty"),
    ],
)
def test_what_a_data_source_gives_wrong_names_it(what: str, gives: Any, message: str) -> None:
    made = Wrong(SMALL)
    made.what, made.gives = what, gives
    data = CheckedData(made, "data 'wrong' of mine 1.0")
    with pytest.raises(UserError, match=f"data 'wrong' of mine 1.0: .*{message}"):
        _ = data.labels("train"), data.images("train"), data.fingerprint


def measured(**changes: Any) -> Any:
    values = {
        "name": "a",
        "title": "A",
        "value": 1.0,
        "unit": "",
        "direction": "lower",
        "count": 2,
        "protocol": Procedure(name="p"),
        **changes,
    }
    return Measurement(**values)


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (lambda: None, "`measure` gave None"),
        (lambda: "text", "`measure` gave 'text'"),
        (
            lambda: [1.0],
            "found 1.0 .float., expected a prologue_bench.contracts.metric.Measurement",
        ),
        (lambda: [measured(direction="sideways")], "direction"),
        (lambda: [measured(value=float("nan"))], "a is not a finite number"),
        (lambda: [measured(), measured()], "found a twice"),
        (lambda: [measured(protocol=None)], "protocol is None"),
        (
            lambda: [measured(protocol=Procedure(name="p", details={"sizes": [1, 2]}))],
            r"a: sizes of its protocol is \[1, 2\] .list., expected a text, a number",
        ),
    ],
)
def test_what_a_metric_gives_wrong_names_it(found: Callable[[], Any], message: str) -> None:
    with pytest.raises((StageError, ValueError, TypeError), match=message):
        check_measurements(found(), "metric 'wrong'")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"value": 1e101}, "a: value: found 1e+101, expected a number of at most 1e+100"),
        ({"half_width": 1e101}, "a: half_width: found 1e+101, expected a number of at most 1e+100"),
        ({"count": 20.25}, "a: count: found 20.25, expected a whole number"),
        ({"count": 2**60}, "a: count: found "),
        ({"positions": ((1, 2), (3, 4))}, "a: positions[0]: found a list of 2, expected a number"),
        ({"positions": ("1", "2")}, "a: positions[0]: found '1', expected a number"),
        ({"title": "caf\udce9"}, "a: title: found "),
        (
            {"protocol": Procedure(name="p", details={"size": 1e200})},
            "a: protocol.details.size: found 1e+200, expected a number of at most 1e+100",
        ),
        (
            {"positions": (1.0,) * 5, "positions_of": "visual"},
            "a: found 5 positions, expected at most 4, the tokens of visual",
        ),
        (
            {"positions": (1.0,), "positions_of": "prologue"},
            "a: found positions of 'prologue', expected one of visual, the segments of the layout",
        ),
    ],
)
def test_what_no_reader_of_results_would_take_is_not_written(
    changes: dict[str, Any], message: str
) -> None:
    lengths = {"visual": 4}
    with pytest.raises(ValueError, match=re.escape(message)) as raised:
        written(measured(**changes), lengths)
    assert "\n" not in str(raised.value)


def test_what_is_written_of_a_measurement_is_what_results_read() -> None:
    fine = measured(positions=(1.0, 2.0), positions_of="visual", half_width=0.5)
    assert record(written(fine, {"visual": 4}), MeasurementRecord).positions == (1.0, 2.0)


class _Loss(ReconstructionLoss):
    learns = False

    def __init__(self, settings: object, images: ImageSpec) -> None:
        super().__init__()


class NoGradient(_Loss):
    def forward(
        self, reconstruction: torch.Tensor, images: torch.Tensor, step: int
    ) -> dict[str, torch.Tensor]:
        return {"a": reconstruction.detach().mean()}


class NoScalar(_Loss):
    def forward(
        self, reconstruction: torch.Tensor, images: torch.Tensor, step: int
    ) -> dict[str, torch.Tensor]:
        return {"a": reconstruction - images}


class Writes(_Loss):
    def forward(
        self, reconstruction: torch.Tensor, images: torch.Tensor, step: int
    ) -> dict[str, torch.Tensor]:
        return {"a": (reconstruction - images.sub_(0.5)).square().mean()}


class Unmade(_Loss):
    def __init__(self, settings: object, images: ImageSpec) -> None:
        raise RuntimeError("not today")

    def forward(
        self, reconstruction: torch.Tensor, images: torch.Tensor, step: int
    ) -> dict[str, torch.Tensor]:
        return {}


class HiddenParameters(_Loss):
    def __init__(self, settings: object, images: ImageSpec) -> None:
        super().__init__(settings, images)
        self.weight = torch.nn.Parameter(torch.ones(1))

    def forward(
        self, reconstruction: torch.Tensor, images: torch.Tensor, step: int
    ) -> dict[str, torch.Tensor]:
        return {"a": (self.weight * (reconstruction - images)).square().mean()}


class Unseeded(Shapes):
    """Another order, another subset and another fingerprint each time."""

    def labels(self, split: Any) -> Any:
        return np.random.default_rng().permutation(super().labels(split))

    def subset(self, split: Any, count: int, seed: int = 0) -> Any:
        return np.random.default_rng().permutation(len(self.labels(split)))[:count]

    @property
    def fingerprint(self) -> str:
        return str(id(self))


class Counting(Shapes):
    """Other images in the same array at each call."""

    def images(self, split: Any) -> Any:
        kept = self.__dict__.setdefault(split, np.array(super().images(split)))
        kept += 1
        return kept


class Leaking(Shapes):
    """Tests on images that it trains on."""

    def images(self, split: Any) -> Any:
        kept = self.__dict__.setdefault("kept", np.array(super().images("train")))
        return kept[: len(self.labels(split))]


class Nameless(Shapes):
    """Has a class without a name."""

    @property
    def spec(self) -> ImageSpec:
        found = super().spec
        return evolve(found, class_names=("", *found.class_names[1:]))


class Halves(Shapes):
    """Keeps both splits in one array."""

    def images(self, split: Any) -> Any:
        both = self.__dict__.setdefault(
            "both", np.concatenate([super(Halves, self).images(of) for of in ("train", "test")])
        )
        count = len(self.labels("train"))
        return both[:count] if split == "train" else both[count:]


def broken(
    kind: Any,
    target: str,
    settings: str = "prologue_bench.contracts.components:NoSettings",
    **values: Any,
) -> set[str]:
    """The checks that a component of this module does not pass."""
    registry = Registry.load()
    registry.add(
        kind,
        Component(name="wrong", target=f"{__name__}:{target}", summary="", settings=settings),
        "mine 1.0",
    )
    found = set()
    for check in checks_of(kind, "wrong", values, registry=registry):
        try:
            check.run()
        except Broken:
            found.add(check.name)
        except Exception:
            found.add(check.name)
    return found


def test_a_constructor_that_fails_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = Registry.load()
    registry.add("loss", Component(name="unmade", target=f"{__name__}:Unmade", summary=""), "mine")
    monkeypatch.setattr("prologue_bench.cli.commands.check_plugin.the_registry", lambda: registry)
    found = CliRunner().invoke(cli, ["check-plugin", "unmade"])
    assert found.exit_code == 1
    assert found.output.count("not today") == 1
    assert found.output.count("not tried: the constructor failed") >= 6
    assert "breaks 1 of " in str(found.exception)


@pytest.mark.parametrize(
    ("target", "names"),
    [
        ("NoGradient", {"gradient"}),
        ("NoScalar", {"terms"}),
        ("Writes", {"inputs"}),
        ("HiddenParameters", {"learns", "sides"}),
    ],
)
def test_check_plugin_finds_what_a_loss_does_wrong(target: str, names: set[str]) -> None:
    assert names <= broken("loss", target)


def test_check_plugin_finds_what_a_data_source_does_wrong() -> None:
    values = {"size": 14, "train_images": 40, "test_images": 20}
    assert broken(
        "data", "Unseeded", "prologue_plugins.datasets.settings:ShapesSettings", **values
    ) == {
        "fingerprint",
        "repeats",
        "subset",
    }


@pytest.mark.parametrize(
    ("target", "names"),
    [
        ("Counting", {"repeats"}),
        ("Leaking", {"repeats"}),
        ("Nameless", {"spec"}),
        ("Halves", set[str]()),
    ],
)
def test_check_plugin_finds_wrong_images_and_classes_of_a_data_source(
    target: str, names: set[str]
) -> None:
    values = {"size": 14, "train_images": 40, "test_images": 20}
    settings = "prologue_plugins.datasets.settings:ShapesSettings"
    assert broken("data", target, settings, **values) == names


def test_a_loss_that_does_not_say_whether_it_learns_is_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(NoScalar, "learns", np.zeros(0))
    component = Component(name="wrong", target=f"{__name__}:NoScalar", summary="")
    with pytest.raises(UserError, match=r"loss 'wrong': `learns`: found .*, expected a bool"):
        loss_class(Resolved(component, None))
