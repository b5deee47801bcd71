"""Published tokenizers: golden tensors, names of released files, and what is no released file."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from prologue_bench.contracts import ImageSpec
from prologue_bench.contracts.external import files_within
from prologue_bench.contracts.fetching import nothing_fetched
from prologue_bench.errors import MissingDataError, UserError
from prologue_bench.registry import Registry
from prologue_bench.storage.giving import giving_weights
from prologue_plugins.zoo.golden import check_zoo_folder
from prologue_plugins.zoo.llamagen import LlamaGenVq
from prologue_plugins.zoo.parts.codebooks import ids_to_signs, nearest, signs_to_ids
from prologue_plugins.zoo.reading import read_state
from prologue_plugins.zoo.settings import LlamaGenVqSettings, VarVqSettings
from prologue_plugins.zoo.var import VarVq, chosen_convolutions
from tests.factories.presets import shapes_of

GOLDEN = Path(__file__).parent.parent / "golden_zoo"
PRESETS = {
    "llamagen_vq": {"VQ-16": "llamagen-vq16", "VQ-8": "llamagen-vq8"},
    "taming_vqgan": {
        "imagenet_f16_1024": "taming-f16-1024",
        "imagenet_f16_16384": "taming-f16-16384",
        "ldm_vq_f4_8192": "ldm-vq-f4",
        "ldm_vq_f4_noattn_8192": "ldm-vq-f4-noattn",
        "ldm_vq_f8_16384": "ldm-vq-f8",
        "ldm_vq_f8_256": "ldm-vq-f8-n256",
        "ldm_vq_f16_16384": "ldm-vq-f16",
    },
    "ibq": {f"imagenet256_{codes}": f"ibq-{codes}" for codes in (1024, 8192, 16384, 262144)},
    "open_magvit2": {
        "imagenet_256_L": "open-magvit2-256",
        "imagenet_128_L": "open-magvit2-128",
        "pretrain256_16384": "open-magvit2-pretrain-16384",
        "pretrain256_262144": "open-magvit2-pretrain-262144",
    },
    "var_vq": {"vae_ch160v4096z32": "var-vq-256"},
}
IMAGES = ImageSpec(channels=3, height=16, width=8)


def tiny(**changes: Any) -> LlamaGenVq:
    return LlamaGenVq(LlamaGenVqSettings(**changes), IMAGES)


def released(model: LlamaGenVq) -> dict[str, Tensor]:
    """What a released file with these weights holds."""
    return {
        LlamaGenVq.official_name(name, model.settings): value.clone()
        for name, value in model.state_dict().items()
    }


# golden folders


@pytest.mark.parametrize("folder", sorted(PRESETS))
def test_every_golden_tensor_is_reproduced(folder: str) -> None:
    found = check_zoo_folder(GOLDEN / folder, 1e-4)
    assert not [each for each in found if not each.holds(1e-4)]
    assert {"ids", "latents", "quant", "reconstructions"} <= {each.name for each in found}


@pytest.mark.parametrize(
    ("folder", "change"),
    [
        ("taming_vqgan", lambda weights: weights["quantize.embedding.weight"].neg_()),
        ("ibq", lambda weights: weights["encoder.mid.attn_1.proj_out.weight"].neg_()),
        ("llamagen_vq", lambda weights: weights["decoder.mid.1.v.bias"].add_(0.1)),
        ("open_magvit2", lambda weights: weights["decoder.adaptive.2.gamma.bias"].add_(0.1)),
        ("var_vq", lambda weights: weights["quantize.quant_resi.qresi_ls.1.bias"].add_(0.1)),
    ],
)
def test_a_changed_weight_is_seen(
    tmp_path: Path, folder: str, change: Callable[[dict[str, Tensor]], object]
) -> None:
    copy = Path(shutil.copytree(GOLDEN / folder, tmp_path / "other name"))
    weights = load_file(copy / "weights.safetensors")
    change(weights)
    save_file(weights, copy / "weights.safetensors")
    assert any(not each.holds(1e-4) for each in check_zoo_folder(copy, 1e-4))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda config: config.pop("ddconfig"), "no published model known here"),
        (lambda config: config["ddconfig"].update(ch=16), "conv_in.bias has shape [32]"),
        (lambda config: config["ddconfig"].update(ch="x"), "ch"),
        (lambda config: config.update(norm_groups=3), "cannot be computed"),
    ],
)
def test_a_configuration_that_does_not_fit_is_one_line(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    copy = Path(shutil.copytree(GOLDEN / "ibq", tmp_path / "ibq"))
    config = json.loads((copy / "config.json").read_text())
    change(config)
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError) as caught:
        check_zoo_folder(copy, 1e-4)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


# released sizes


@pytest.mark.parametrize("folder", sorted(PRESETS))
def test_presets_have_the_names_and_shapes_of_released_files(
    folder: str, registry: Registry
) -> None:
    keys = json.loads((GOLDEN / folder / "keys.json").read_text())
    assert set(keys) == set(PRESETS[folder])
    for variant, preset in PRESETS[folder].items():
        expected = {name: tuple(shape) for name, shape in keys[variant].items()}
        plain = {name for name in expected if not name.startswith("model_ema.")}
        assert shapes_of(preset, registry) == {name: expected[name] for name in plain}
        averages = set(expected) - plain - {"model_ema.decay", "model_ema.num_updates"}
        if averages:
            assert averages == {"model_ema." + name.replace(".", "") for name in plain}


@pytest.mark.parametrize(("levels", "chosen"), [(10, "0011122333"), (5, "01223")])
def test_levels_take_the_official_convolutions(levels: int, chosen: str) -> None:
    assert "".join(map(str, chosen_convolutions(levels, 4))) == chosen


# weights


@pytest.mark.parametrize("container", ["flat", "model", "state_dict", "ema", "ddp"])
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_weights_are_found_in_every_container(tmp_path: Path, container: str, suffix: str) -> None:
    model, path = tiny(random_seed=3), tmp_path / f"weights{suffix}"
    state = {**released(model), "loss.discriminator.weight": torch.zeros(2)}
    if suffix == ".safetensors":
        save_file(state, path)
    else:
        wrapped: dict[str, Any] = {
            "flat": state,
            "ddp": {f"module.{name}": value for name, value in state.items()},
            "ema": {"ema": state, "model": {}, "epoch": 3},
        }.get(container, {container: state, "optimizer": [1, 2]})
        torch.save(wrapped, path)
    images = torch.rand(2, 3, 16, 8) * 2 - 1
    loaded = tiny(weights=str(path))
    assert torch.equal(loaded.encode(images), model.encode(images))
    assert torch.equal(loaded.decode(model.encode(images)), model.decode(model.encode(images)))


def test_moving_averages_are_taken_and_can_be_left(tmp_path: Path) -> None:
    state = {
        "a.b": torch.zeros(1),
        "model_ema.ab": torch.ones(1),
        "model_ema.decay": torch.tensor(0.9),
        "c": torch.zeros(1),
    }
    save_file(state, path := tmp_path / "weights.safetensors")
    assert {name: float(value) for name, value in read_state(path).items()} == {"a.b": 1, "c": 0}
    assert float(read_state(path, average=False)["a.b"]) == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("quant_conv.bias"), "missing quant_conv.bias"),
        (lambda state: state.update(more=torch.zeros(1)), "left over more"),
        (
            lambda state: state.update({"quant_conv.bias": torch.zeros(9)}),
            "quant_conv.bias has shape [9], expected [4]",
        ),
        (lambda state: state["quant_conv.bias"].fill_(torch.nan), "holds NaN or infinity"),
    ],
)
def test_weights_that_do_not_fit_are_one_line(
    tmp_path: Path, change: Callable[[dict[str, Tensor]], object], message: str
) -> None:
    state = released(tiny())
    change(state)
    save_file(state, path := tmp_path / "weights.safetensors")
    with pytest.raises(UserError) as caught:
        tiny(weights=str(path))
    assert str(caught.value).startswith(str(path))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


class Code:
    """What a checkpoint may hold beside tensors."""


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"state_dict": {}, "hyper_parameters": Code()}, "Code"),
        ([1, 2], "found list"),
        ({"state_dict": {"a": 1}}, "found also a"),
        ({"model": {}}, "found no tensors"),
    ],
)
def test_pytorch_files_with_more_than_tensors_are_refused(
    tmp_path: Path, content: Any, message: str
) -> None:
    torch.save(content, path := tmp_path / "last.ckpt")
    with pytest.raises(UserError) as caught:
        tiny(weights=str(path))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_torchscript_and_damaged_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "encoder.jit"
    torch.jit.script(nn.Linear(2, 2)).save(str(path))
    with pytest.raises(UserError, match="a TorchScript archive, which holds code, is refused"):
        tiny(weights=str(path))
    for content in (b"", b"PK\3\4 nothing", b"some text in a file"):
        path.write_bytes(content)
        with pytest.raises(UserError, match="found neither safetensors nor weights of PyTorch"):
            tiny(weights=str(path))


def test_a_lightning_checkpoint_is_read_without_its_optimizer(tmp_path: Path) -> None:
    model, path = tiny(random_seed=3), tmp_path / "last.ckpt"
    moments = {0: {"step": torch.tensor(3.0), "exp_avg": torch.zeros(2)}}
    torch.save(
        {
            "state_dict": released(model),
            "optimizer_states": [{"state": moments, "param_groups": [{"lr": 1e-4, "params": [0]}]}],
            "lr_schedulers": [],
            "callbacks": {"ModelCheckpoint": {"best_model_score": torch.tensor(1.0)}},
            "epoch": 3,
            "pytorch-lightning_version": "1.9.0",
        },
        path,
    )
    assert torch.equal(tiny(weights=str(path)).decoder.conv_in.weight, model.decoder.conv_in.weight)


def test_arrays_of_objects_are_no_weights(tmp_path: Path) -> None:
    np.savez(path := tmp_path / "weights.npz", a=np.array([Code()], dtype=object))
    with pytest.raises(UserError, match="found arrays of numpy, expected safetensors"):
        tiny(weights=str(path))


def test_a_file_without_the_average_of_the_published_numbers_is_noted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_file({"a": torch.zeros(1)}, path := tmp_path / "weights.safetensors")
    for average in (None, False, True, True):
        assert set(read_state(path, average)) == {"a"}
    assert capsys.readouterr().err.count("found no moving average") == 1


# on the hub

COMMIT = "0123456789abcdef" * 2 + "01234567"
ON_HUB = f"hf:org/name@{COMMIT}/sub/weights.safetensors"


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ("hf:org/name", "must name a revision"),
        ("hf:org/name@/weights.bin", "must name a revision"),
        ("hf:org/name@main/weights.bin", "found 'main'; a branch or tag may move"),
        (f"hf:org/name@{COMMIT}", "must name a file of the repository"),
        (f"hf:org/name@{COMMIT}/../weights.bin", "must name a file of the repository"),
        (f"hf:name@{COMMIT}/weights.bin", "must be hf:ORG/NAME@REVISION/FILE"),
    ],
)
def test_a_name_on_the_hub_is_of_one_file_of_one_commit(named: str, message: str) -> None:
    with pytest.raises(ValueError, match="'weights' ") as caught:
        LlamaGenVqSettings(weights=named)
    assert message in str(caught.value)


def test_weights_on_the_hub_are_fetched_once_and_known_by_their_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "weights.safetensors"
    fetched = []

    def fetch(repository: str, file: str, revision: str) -> str:
        fetched.append((repository, file, revision))
        save_file(released(tiny()), path)
        return str(path)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fetch)
    monkeypatch.setattr(
        huggingface_hub, "try_to_load_from_cache", lambda *_, **__: path.exists() and str(path)
    )
    settings = LlamaGenVqSettings(weights=ON_HUB)
    with nothing_fetched():
        assert LlamaGenVq(settings, IMAGES).layout == tiny().layout
    assert not fetched
    for _ in range(2):
        assert torch.equal(LlamaGenVq(settings, IMAGES).codebook, tiny().codebook)
    assert fetched == [("org/name", "sub/weights.safetensors", COMMIT)]
    assert files_within(settings) == {"weights": ON_HUB}


def test_a_hub_that_cannot_be_used_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> str:
        raise LocalEntryNotFoundError("no network\nat all")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fail)
    with pytest.raises(MissingDataError, match="the hub is not reached; fetch it where") as caught:
        tiny(weights=ON_HUB)
    assert "\n" not in str(caught.value)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingDataError, match=r"pip install 'prologue-bench\[hub\]'"):
        tiny(weights=ON_HUB)


# as tokenizers


def test_a_preset_asks_for_its_weights() -> None:
    with pytest.raises(MissingDataError, match="no weights are named"):
        tiny(weights="")
    with pytest.raises(MissingDataError, match=r"found no file nowhere\.pt"):
        tiny(weights="nowhere.pt")


def test_weights_that_come_afterwards_are_not_read(tmp_path: Path) -> None:
    with giving_weights():
        model = tiny(weights="")
    model.load_state_dict(tiny(random_seed=3).state_dict())
    assert torch.equal(model.codebook, tiny(random_seed=3).codebook)


def test_planning_checks_weights_without_taking_them(tmp_path: Path) -> None:
    save_file(released(tiny()), path := tmp_path / "weights.safetensors")
    with torch.device("meta"):
        planned = tiny(weights=str(path))
    assert all(value.is_meta for value in planned.state_dict().values())
    assert planned.layout == tiny().layout


def test_images_that_do_not_fit_are_one_line() -> None:
    with pytest.raises(UserError, match=r"images of 18 x 16, expected .* that 4 divides"):
        LlamaGenVq(LlamaGenVqSettings(), ImageSpec(channels=3, height=18, width=16))
    with pytest.raises(UserError, match="images of 2 channels, expected 1 or 3"):
        LlamaGenVq(LlamaGenVqSettings(), ImageSpec(channels=2, height=16, width=16))
    with pytest.raises(UserError, match="expected 28 x 28 for levels of up to 7 x 7"):
        VarVq(VarVqSettings(), ImageSpec(channels=3, height=32, width=32))


def test_grey_images_have_one_channel_again() -> None:
    model = LlamaGenVq(LlamaGenVqSettings(), ImageSpec(channels=1, height=16, width=8))
    ids = model.encode(torch.zeros(2, 1, 16, 8))
    model.layout.check(ids)
    assert model.decode(ids).shape == (2, 1, 16, 8)


def test_codes_are_chosen_in_parts_as_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, codes = torch.randn(50, 4), torch.randn(30, 4)
    at_once = torch.cdist(vectors, codes).argmin(dim=1)
    monkeypatch.setattr("prologue_plugins.zoo.parts.codebooks.MOST_SCORES", 100)
    assert torch.equal(nearest(vectors, codes), at_once)


def test_the_first_number_is_the_lowest_bit() -> None:
    latents = torch.tensor([[0.5, -1.0, 2.0], [0.0, 3.0, -1.0]])
    assert signs_to_ids(latents).tolist() == [5, 2]
    assert ids_to_signs(torch.tensor([5, 2]), 3).tolist() == [[1, -1, 1], [-1, 1, -1]]


def test_the_content_of_a_file_counts_and_not_its_ending(tmp_path: Path) -> None:
    weights = {"a": torch.zeros(2)}
    save_file(weights, tmp_path / "named.pt")
    assert torch.equal(read_state(tmp_path / "named.pt")["a"], weights["a"])
    for content, message in (
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "a pointer of Git LFS"),
        (bytes(range(60, 200)), "found neither safetensors nor weights of PyTorch"),
    ):
        (tmp_path / "other.pt").write_bytes(content)
        with pytest.raises(UserError, match=message):
            read_state(tmp_path / "other.pt")
