"""A tokenizer on a data set without an ablation: two functions, or a Tokenizer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import prologue_bench as pb
from prologue_bench.contracts import ImageSpec, Segment, TokenLayout
from prologue_bench.contracts.tokenizer import ContinuousTokenizer, Tokenizer, TokenizerOutput
from prologue_bench.errors import PrologueBenchError, UserError
from prologue_bench.measuring import ImageMeasurements
from prologue_bench.measuring.sources import ArrayImages
from prologue_bench.registry import Registry
from prologue_plugins.datasets.settings import ShapesSettings
from prologue_plugins.datasets.shapes import Shapes

REGISTRY = Registry.load()
DATA = Shapes(ShapesSettings(size=16, train_images=20, test_images=40))
LEVELS, CELL = 8, 4


def encode(images: Tensor) -> Tensor:
    """The mean of each cell of the first channel, in eight levels: [B, 4, 4]."""
    mean = nn.functional.avg_pool2d(images[:, :1], CELL)[:, 0]
    return ((mean + 1) / 2 * LEVELS).long().clamp(0, LEVELS - 1)


def decode(ids: Tensor) -> Tensor:
    grey = (ids + 0.5) / LEVELS * 2 - 1
    return nn.functional.interpolate(grey[:, None], scale_factor=CELL).expand(-1, 3, -1, -1)


def none(images: Tensor) -> Tensor:
    return images


class Cells(Tokenizer):
    """The same as the functions, by the contract."""

    frozen = True

    def __init__(self) -> None:
        super().__init__()
        self.layout = TokenLayout((Segment("first", 4, LEVELS), Segment("rest", 12, LEVELS)))
        self.dropped = nn.Dropout(0.5)

    def encode(self, images: Tensor) -> Tensor:
        assert not torch.is_grad_enabled()
        return encode(self.dropped(images)).flatten(1)

    def decode(self, ids: Tensor) -> Tensor:
        return decode(ids.reshape(-1, 4, 4))

    def losses(self, images: Tensor) -> TokenizerOutput:
        raise NotImplementedError


def evaluated(tmp_path: Path, *coder: Any, **given: Any) -> ImageMeasurements:
    values = {"data": DATA, "registry": REGISTRY, "cache": tmp_path / "cache", **given}
    found: ImageMeasurements = pb.evaluate(*coder, **values)
    return found


def test_functions_and_a_tokenizer_give_the_same_numbers(tmp_path: Path) -> None:
    names = ["psnr", "ssim", "codebook"]
    functions = evaluated(tmp_path, encode, decode, metrics=names, codes=LEVELS)
    tokenizer = Cells()
    own = evaluated(tmp_path, tokenizer, metrics=names)
    for name in ("psnr", "ssim", "token_bits"):
        assert own[name] == functions[name]
    assert functions["token_bits"] == 16 * 3
    assert functions["token_bits_per_pixel"] == 16 * 3 / 16**2
    assert functions["codebook_perplexity_tokens"] <= LEVELS
    assert own["bits_joint_first"] > 0
    assert tokenizer.training
    assert tokenizer.dropped.training
    images = DATA.images("test")
    with torch.no_grad():
        there = decode(encode(torch.from_numpy(images).float() / 127.5 - 1))
    back = ((there + 1) * 127.5).round().numpy()
    error = np.square(images.astype(float) - back).mean(axis=(1, 2, 3))
    assert functions["psnr"] == pytest.approx(np.mean(10 * np.log10(255**2 / error)), rel=1e-9)


def test_it_is_what_measure_and_an_ablation_say_of_the_same_images(tmp_path: Path) -> None:
    found = evaluated(tmp_path, encode, decode, metrics=["psnr"])
    images = torch.from_numpy(DATA.images("test")).float() / 127.5 - 1
    back = ((decode(encode(images)) + 1) * 127.5).round().to(torch.uint8).numpy()
    measured = pb.measure(back, DATA, ["psnr"], registry=REGISTRY, cache=tmp_path)
    assert found.records[0] == measured.records[0]


def test_without_names_it_is_what_there_is_something_for(tmp_path: Path) -> None:
    cnn = {"extractor": "fashion-mnist-cnn", "few_samples": "shrink"}
    grey = ArrayImages(DATA.images("test")[:, 0], "grey")
    found = evaluated(tmp_path, encode, lambda x: decode(x)[:, :1], data=grey, settings=cnn)
    names = [each.name for each in found.records]
    assert names[:3] == ["rfid", "psnr", "ssim"]
    assert "codebook_use_tokens" in names
    assert found.records[3].protocol.details["vocabulary"] == "as the largest id tells"
    assert [each.name for each in found.records[-2:]] == ["token_bits", "token_bits_per_pixel"]
    assert found.records[-1].protocol.details["vocabulary"] == "as the largest id tells"
    bits = evaluated(tmp_path, encode, decode, metrics=["token-bits"], codes=LEVELS)
    assert [each.name for each in bits.records] == ["token_bits", "token_bits_per_pixel"]
    latents = evaluated(tmp_path, none, none, settings=cnn)
    assert [each.name for each in latents.records] == ["psnr", "ssim"]
    assert latents["psnr"] == 100
    assert latents.notes == (
        "tokens are not counted: encode gives float32 [40, 3, 16, 16], no integers",
        "rfid is left out: extractor: found images of 3 channels, expected 1, "
        "which fashion-mnist-cnn sees",
    )


class Blur(ContinuousTokenizer):
    """An autoencoder without ids."""

    def reconstruct(self, images: Tensor) -> Tensor:
        return nn.functional.avg_pool2d(images, 3, 1, 1)


def test_autoencoders_numpy_and_ranges_of_their_own_are_measured(tmp_path: Path) -> None:
    assert 15 < evaluated(tmp_path, Blur(), metrics=["psnr"])["psnr"] < 40
    expected = evaluated(tmp_path, encode, decode, metrics=["psnr"])["psnr"]
    found = evaluated(
        tmp_path,
        lambda images: encode(images * 2 - 1).numpy(),
        lambda ids: ((decode(torch.from_numpy(ids)) + 1) / 2).numpy(),
        metrics=["psnr"],
        value_range=(0, 1),
        batch_size=7,
    )
    assert found["psnr"] == pytest.approx(expected, rel=1e-6)


def test_a_limit_is_balanced_and_part_of_the_protocol(tmp_path: Path) -> None:
    seen: list[int] = []

    def counted(images: Tensor) -> Tensor:
        seen.append(len(images))
        return encode(images)

    found = evaluated(tmp_path, counted, decode, metrics=["psnr", "codebook"], limit=12)
    assert sum(seen) == 12
    assert {each.count for each in found.records if each.unit[:4] != "bits"} == {12}
    assert found.records[0].protocol.details["chosen"] == (
        "class-balanced subset of 12 of 40, seed 0"
    )


def test_metrics_of_training_tokens_have_them_encoded(tmp_path: Path) -> None:
    found = evaluated(tmp_path, Cells(), metrics=["conditional-entropy"], limit=12)
    assert found.records[0].protocol.details["images"] == "train split, 20 images, first views"


def test_the_result_prints_saves_and_shows_itself(tmp_path: Path) -> None:
    found = evaluated(tmp_path, encode, decode, metrics=["psnr"], codes=LEVELS)
    lines = str(found).splitlines()
    assert lines[0] == "reconstructions against data (Shapes)"
    assert lines[2].startswith("PSNR (dB)")
    assert len({len(line) for line in lines[1:5]}) == 1
    written = json.loads(found.save(tmp_path / "found.json").read_text())
    assert [each["name"] for each in written["measurements"]] == found.frame()["name"].tolist()
    assert written["measurements"][0]["protocol"]["name"] == "psnr"
    assert "<table>" in found._repr_html_()
    with pytest.raises(UserError, match=r"found\.json: cannot be written"):
        found.save(tmp_path / "found.json" / "found.json")


def raising(images: Tensor) -> Tensor:
    raise KeyError("codebook")


@pytest.mark.parametrize(
    ("coder", "given", "says"),
    [
        (
            (encode, None),
            {},
            "decode: found none, expected a function that turns what encode gives",
        ),
        ((3, decode), {}, r"encode: found 3 \(int\), expected a function or a Tokenizer"),
        ((Cells, None), {}, "encode: found the class Cells, expected an instance of it"),
        (
            (raising, decode),
            {},
            r"encode, given float32 \[40, 3, 16, 16\]: KeyError: 'codebook' \(t",
        ),
        ((encode, raising), {}, r"decode, given int64 \[40, 4, 4\]: KeyError"),
        ((none, lambda x: x[:, :1]), {}, r"float32 \[40, 1, 16, 16\], expected floats \[40, 3, 16"),
        (
            (none, lambda x: x.to(torch.uint8)),
            {},
            r"decode gave uint8 \[40, 3, 16, 16\], expected f",
        ),
        ((none, lambda x: [x]), {}, r"decode gave \[tensor.*\(list\), expected floats \[40"),
        ((none, lambda x: x / 0), {}, "decode gave NaN or infinity in 40 of 40 images"),
        ((none, lambda x: (x + 1) * 127.5), {}, r"expected images in \[-1, 1\].*value_range=\(LOW"),
        (
            (none, lambda x: (x + 1) / 2),
            {},
            r"decode gave values from .*value_range=\(0, 1\) if enc",
        ),
        ((lambda x: encode(x)[:3], decode), {}, r"gave int64 \[3, 4, 4\], expected ids of each im"),
        ((lambda x: encode(x) - 9, decode), {}, r"encode gave the id -\d, expected ids from 0 on"),
        ((encode, decode), {"codes": 3}, r"the id \d, expected ids from 0 to 2, as codes=3"),
        ((Cells(),), {"codes": 3}, "codes: found beside a Tokenizer, whose layout says it"),
        ((Cells(), decode), {}, "decode: found one beside a Tokenizer"),
        ((none, none), {"metrics": ["codebook"]}, "codebook: encode gave float32 .*, expected ids"),
        (
            (encode, decode),
            {"metrics": ["gfid"]},
            "'gfid' needs samples, expected a metric of recon",
        ),
        ((encode, decode), {"metrics": ["pnsr"]}, "did you mean 'psnr'"),
        ((encode, decode), {"device": "gpu"}, "device: found 'gpu', expected one of this machine"),
        ((encode, decode), {"data": "shpes"}, "did you mean 'shapes'"),
        ((encode, decode), {"limit": 0.5}, r"limit: found 0\.5 \(float\), expected a whole number"),
        (
            (encode, decode),
            {"value_range": 1},
            r"value_range: found 1 \(int\), expected the lowest",
        ),
    ],
)
def test_what_is_wrong_is_one_line(
    coder: tuple[Any, ...], given: dict[str, Any], says: str, tmp_path: Path
) -> None:
    with pytest.raises(PrologueBenchError, match=says) as error:
        evaluated(tmp_path, *coder, **{"metrics": ["psnr"], **given})
    assert "\n" not in str(error.value)


def test_ids_beyond_a_tokenizer_s_layout_name_it(tmp_path: Path) -> None:
    tokenizer = Cells()
    tokenizer.layout = TokenLayout((Segment("cells", 16, 2),))
    with pytest.raises(UserError, match=r"Cells\.encode: ValueError: segment 'cells' has ids from"):
        evaluated(tmp_path, tokenizer, metrics=["psnr"])


def test_whatever_happens_gradients_and_modes_are_as_before(tmp_path: Path) -> None:
    tokenizer = Cells()
    tokenizer.decode = raising  # type: ignore[method-assign]
    with pytest.raises(UserError, match=r"Cells\.decode, given int64 \[40, 16\]: KeyError") as held:
        evaluated(tmp_path, tokenizer, metrics=["psnr"])
    assert held.value.__traceback__ is not None  # as a notebook holds it
    assert torch.is_grad_enabled()
    assert tokenizer.training
    assert tokenizer.dropped.training


def test_grey_data_has_no_range_to_guess(tmp_path: Path) -> None:
    """A decoder of one grey level is not taken for one of another range."""
    data = ArrayImages(np.random.default_rng(0).integers(0, 256, (9, 8, 8), np.uint8), "noise")
    assert data.spec == ImageSpec(1, 8, 8)
    found = evaluated(tmp_path, lambda x: x, torch.zeros_like, data=data, metrics=["psnr"])
    assert 5 < found["psnr"] < 15


def test_latents_may_be_of_types_that_numpy_lacks() -> None:
    found = pb.evaluate(
        lambda images: images.bfloat16(),
        lambda codes: codes,
        data="shapes",
        limit=5,
        metrics="psnr, ssim",
    )
    assert [each.name for each in found.records] == ["psnr", "ssim"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"metrics": [3]}, "metrics: found 3, expected a name"),
        ({"metrics": 3}, "metrics: found 3 .int., expected a list of names"),
        ({"settings": 3}, "settings: found 3 .int., expected a mapping"),
    ],
)
def test_what_is_no_list_or_mapping_is_one_line(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        pb.evaluate(lambda images: images, lambda codes: codes, data="shapes", limit=5, **given)


def test_settings_of_a_run_are_a_mapping() -> None:
    with pytest.raises(UserError, match=r"set: found \['a=3'\] .list., expected a mapping"):
        pb.run("prologue_count", profile="smoke", set=["a=3"])  # type: ignore[arg-type]
