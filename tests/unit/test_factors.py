"""Known factors of the data: what sources give, and what probes read of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, r2_score

from prologue_bench.conformance import Broken, Skipped, checks_of
from prologue_bench.contracts import Component, Factor, PlannedInputs, Split
from prologue_bench.contracts.checked import CheckedData
from prologue_bench.errors import DoesNotApply, UserError
from prologue_bench.pipeline.held_out import HeldOut, WithoutHeldOut
from prologue_bench.registry import Registry
from prologue_plugins.datasets.settings import ShapesSettings
from prologue_plugins.datasets.shapes import Shapes
from prologue_plugins.metrics.factors import Factors, explained, recalls
from prologue_plugins.metrics.settings import ProbeSettings
from tests.factories.measuring import DATA, LAYOUT, by_name, ids, inputs
from tests.factories.models import prologue

COLOUR = {split: DATA.factors(split)["colour"].values for split in ("train", "test")}


class Told(Shapes):
    """Scenes with factors of the test's choice."""

    told: Mapping[Split, Mapping[str, Any]]

    def __init__(self, train: Mapping[str, Any], test: Mapping[str, Any] | None = None) -> None:
        super().__init__(ShapesSettings(size=8, train_images=6, test_images=6))
        self.told = {"train": train, "test": train if test is None else test}

    def factors(self, split: Split) -> Mapping[str, Factor]:
        return self.told[split]


ANY = np.array([0, 1, 0, 1, 0, 1])


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        ({"kind": ANY}, None, "its value: found .*, expected a prologue_bench.*Factor"),
        ({1: Factor(np.ones(6))}, None, r"the name of a factor: found 1 \(int\), expected a str"),
        ({"kind": Factor(ANY)}, None, r"values are int64 \[6\], expected floats \[N\]"),
        (
            {"kind": Factor(np.ones(6), ("a", "b"))},
            None,
            r"values are float64 \[6\], expected int64 \[N\], places in its names",
        ),
        ({"kind": Factor(ANY[:5], ("a", "b"))}, None, r"values are \[5\], expected \[6\]"),
        ({"kind": Factor(ANY, ("a",))}, None, "values go from 0 to 1, expected 0 to 0"),
        ({"kind": Factor(ANY, (1, 2))}, None, "expected a tuple of texts"),
        ({"kind": Factor(ANY * np.nan)}, None, "values hold NaN or infinity"),
        ({"kind": Factor(ANY, ("a", "b"))}, {}, "`factors` of the two splits differ"),
        (
            {"kind": Factor(ANY, ("a", "b"))},
            {"kind": Factor(ANY, ("b", "a"))},
            "`factors` of the two splits differ in name or names of values",
        ),
    ],
)
def test_wrong_factors_are_one_line(train: Any, test: Any, message: str) -> None:
    with pytest.raises(UserError, match=message) as raised:
        CheckedData(Told(train, test), "data 'told'").factors("train")
    assert "\n" not in str(raised.value)
    assert str(raised.value).startswith("data 'told': `factors")


def test_images_that_are_held_out_take_their_factors_with_them() -> None:
    colours = DATA.factors("train")["colour"]
    kept, held_out = WithoutHeldOut(DATA, 40), HeldOut(DATA, 40)
    for data, split, expected in (
        (kept, "train", colours.values[kept.kept]),
        (kept, "test", COLOUR["test"]),
        (held_out, "train", colours.values[kept.kept]),
        (held_out, "test", colours.values[kept.held_out]),
    ):
        factors = CheckedData(data, "it").factors(split)
        assert np.array_equal(factors["colour"].values, expected)
        assert factors["colour"].names == colours.names


def test_a_segment_that_holds_a_factor_is_read_and_others_come_to_chance(tmp_path: Path) -> None:
    data = Shapes(ShapesSettings(size=8, train_images=600, test_images=400))
    tokens = {"train": ids(600, 1), "test": ids(400, 2)}
    for split, of in tokens.items():
        factors = data.factors(split)
        of[:, 0] = np.minimum(factors["colour"].values, 4)  # five codes for six colours
        of[:, 3] = np.digitize(factors["size"].values, np.linspace(0.15, 0.35, 7)[1:-1])
    measured = Factors(ProbeSettings(inverse_regularisation=(1.0,))).measure(
        inputs(tmp_path, data=data, train_ids=tokens["train"], test_ids=tokens["test"])
    )
    found = by_name(measured)
    assert len(found) == 2 * 6, "each factor from each segment"
    assert found["factor_colour_prologue"] == pytest.approx(100 * 5 / 6, abs=2), "two share a code"
    assert found["factor_colour_visual"] == pytest.approx(100 / 6, abs=8)
    assert found["factor_size_visual"] == pytest.approx(1 - 1 / 36, abs=0.01), "six equal steps"
    assert found["factor_size_prologue"] == pytest.approx(0, abs=0.1)
    colour, size = (
        next(each for each in measured if each.name == f"factor_{name}_prologue")
        for name in ("colour", "size")
    )
    assert colour.title == "colour from prologue (chance 16.7%)"
    assert (colour.unit, size.unit) == ("%", "R²")
    assert colour.protocol.details["score"] == "balanced accuracy of 6 values"
    assert colour.half_width is not None
    assert colour.half_width < 5


def test_scores_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    truth, found = rng.integers(4, size=(2, 90))
    assert recalls(truth, found).mean() == pytest.approx(balanced_accuracy_score(truth, found))
    assert explained(truth / 1, found / 1).mean() == pytest.approx(r2_score(truth, found))


def test_factors_apply_to_data_that_have_some_which_vary() -> None:
    planned = PlannedInputs(data=DATA, layout=LAYOUT, prefixes=(), samples=0, tokenizer=prologue())
    Factors(ProbeSettings()).check(planned)
    for settings, told, error, message in (
        (ProbeSettings(), {}, DoesNotApply, "the data have no known factors"),
        (ProbeSettings(), {"one": Factor(np.ones(6))}, UserError, "found no factor with two"),
        (ProbeSettings(train_images=1), {"one": Factor(ANY / 1)}, UserError, "raise them"),
    ):
        with pytest.raises(error, match=message):
            Factors(settings).check(attrs.evolve(planned, data=Told(told)))


class Restless(Shapes):
    """Its factors differ from one instance to the next."""

    made = 0

    def __init__(self, settings: ShapesSettings) -> None:
        super().__init__(settings)
        Restless.made = self.number = Restless.made + 1

    def factors(self, split: Split) -> Mapping[str, Factor]:
        return {"made": Factor(np.full(len(self.labels(split)), float(self.number)))}


def test_conformance_holds_factors_to_their_contract() -> None:
    registry = Registry.load()
    component = Component(
        name="restless",
        target=f"{__name__}:Restless",
        settings="prologue_plugins.datasets.settings:ShapesSettings",
        summary="broken",
    )
    registry.add("data", component, "a test")
    values = {"size": 8, "train_images": 8, "test_images": 8}

    def run(name: str, values: Mapping[str, Any]) -> None:
        checks = checks_of("data", name, dict(values), registry=registry)
        next(each for each in checks if each.name == "factors").run()

    run("shapes", values)
    with pytest.raises(Skipped, match="it knows no factors"):
        run("fashion-mnist-embedded", {})
    with pytest.raises(Broken, match="factor 'made' of train differs the second time"):
        run("restless", values)
