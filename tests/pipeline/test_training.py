"""Training: the joint step, schedules, resuming, and losses that turn NaN."""

from __future__ import annotations

import json
from pathlib import Path

import attrs
import pytest
import torch

from prologue_bench.config.settings import TokenizerTraining
from prologue_bench.contracts.tokenizer import TokenizerOutput
from prologue_bench.errors import Interrupted, StageError, UserError
from prologue_bench.storage.artifacts import CURVES
from prologue_bench.training.batches import ArrayDataset
from prologue_bench.training.context import StageContext
from prologue_bench.training.curves import read_curves
from prologue_bench.training.runner import TrainingJob, latest_checkpoint, train
from prologue_plugins.tokenizers.prologue import Prologue
from tests.factories.training import FAST, byte_images, joint_model, run


def test_an_interrupted_training_ends_where_an_uninterrupted_one_does(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole")
    with pytest.raises(Interrupted, match="stopped after step 5"):
        run(tmp_path / "parts", stop_after=5)
    with pytest.raises(Interrupted, match="stopped after step 9"):
        run(tmp_path / "parts", stop_after=9)
    parts = run(tmp_path / "parts")
    for name, value in whole.state_dict().items():
        assert torch.equal(value, parts.state_dict()[name]), name
    curves = [read_curves(tmp_path / name / "output" / CURVES) for name in ("whole", "parts")]
    assert [p["step"] for p in curves[0]] == [p["step"] for p in curves[1]] == list(range(1, 13))
    assert [p["loss"] for p in curves[0]] == [p["loss"] for p in curves[1]]


def test_a_training_stays_on_its_device_where_the_engine_knows_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mmengine.device.utils.DEVICE", "meta")  # as "mps" on Apple's machines
    with pytest.raises(Interrupted):
        run(tmp_path / "parts", stop_after=5)
    parts, whole = run(tmp_path / "parts"), run(tmp_path / "whole")
    for name, value in whole.state_dict().items():
        assert value.device.type == "cpu"
        assert torch.equal(value, parts.state_dict()[name]), name


def test_a_checkpoint_cut_off_while_it_was_written_is_passed_over(tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        run(tmp_path, stop_after=9)
    newest = latest_checkpoint(tmp_path / "run")
    assert newest is not None
    assert newest.name == "iter_9.pth"
    newest.write_bytes(newest.read_bytes()[:1000])
    before = latest_checkpoint(tmp_path / "run")
    assert before is not None
    assert before.name == "iter_8.pth"
    run(tmp_path)


def test_checkpoints_load_without_unpickling_code(tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        run(tmp_path, stop_after=5)
    path = latest_checkpoint(tmp_path / "run")
    assert path is not None
    assert torch.load(path, weights_only=True)["message_hub"]["log_scalars"] == {}


def test_the_moving_average_has_its_half_life(tmp_path: Path) -> None:
    """After n steps the start has weight 2^(-n / half-life), as in a loop over saved weights."""
    (tmp_path / "output").mkdir()
    context = StageContext(work=tmp_path, output=tmp_path / "output")
    model = joint_model()
    history = [model.tokenizer.quantizer.codebook.weight.detach().clone()]

    def record(done: int, total: int) -> None:
        if done > 0:
            history.append(model.tokenizer.quantizer.codebook.weight.detach().clone())

    training = TokenizerTraining(steps=6, batch_size=4, ema_half_life_steps=3)
    parts = {"autoencoder": (list(model.parameters()), FAST)}
    dataset = ArrayDataset({"images": byte_images().numpy()})
    context = attrs.evolve(context, advance=record)
    averaged = train(
        TrainingJob(
            model=model, data=dataset, training=training, parts=parts, seed=0, context=context
        )
    )
    # The average begins as a copy of the weights after the first step.
    expected = history[1]
    decay = 0.5 ** (1 / 3)
    for weights in history[2:]:
        expected = decay * expected + (1 - decay) * weights
    assert torch.allclose(averaged.tokenizer.quantizer.codebook.weight, expected, atol=1e-6)


def test_a_loss_that_turns_nan_stops_and_keeps_the_last_good_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"loss.* is (nan|inf) at step \d+") as raised:
        run(tmp_path, rate=1e30, steps=40)
    assert "\n" not in str(raised.value)
    path = latest_checkpoint(tmp_path / "run")
    if path is not None:
        state = torch.load(path, weights_only=True)["state_dict"]
        assert all(value.isfinite().all() for value in state.values())


def test_training_learns(tmp_path: Path) -> None:
    stripes = (torch.arange(12) % 4 < 2).expand(64, 3, 8, 12).contiguous() * 255
    run(tmp_path, steps=60, rate=3e-3, images=stripes.to(torch.uint8))
    losses = [point["loss_l1"] for point in read_curves(tmp_path / "output" / CURVES)]
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])
    assert json.loads((tmp_path / "output" / CURVES).read_text().splitlines()[0])["step"] == 1
    log = (tmp_path / "output" / "log.txt").read_text()
    assert "Iter(train) [60/60]" in log
    assert "Hook" not in log, "mmengine lists them, page after page"


def test_learning_curves_go_to_tensorboard_while_the_training_runs(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run(tmp_path / "work", trackers=("tensorboard",), tracking_folder=str(tmp_path / "runs"))
    (found,) = (tmp_path / "runs").iterdir()
    assert found.name.startswith("train-tokenizer_of_a_b_seed_0-")
    events = EventAccumulator(str(next(found.rglob("events.*")).parent)).Reload()
    assert len(events.Scalars("loss_ce")) > 1


def test_a_tracker_that_is_not_installed_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match="trackers: 'mlflow' is not installed; pip install"):
        run(tmp_path, trackers=("mlflow",))


@pytest.mark.parametrize(
    ("how", "line"),
    [
        (
            "replaced",
            "quantizer.codebook.weight was replaced during training, so that no optimizer",
        ),
        ("switched on", "quantizer.codebook.weight was switched on during training, so that no"),
        ("added", "late was added during training, so that no optimizer trains it; make it in the"),
    ],
)
def test_a_parameter_that_no_optimizer_trains_ends_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, line: str
) -> None:
    made = Prologue.losses
    model = joint_model()
    codebook = model.tokenizer.quantizer.codebook
    if how == "switched on":
        codebook.weight.requires_grad_(False)
    done = False

    def losses(self: Prologue, images: torch.Tensor) -> TokenizerOutput:
        nonlocal done
        if not done and how == "replaced":
            codebook.weight = torch.nn.Parameter(codebook.weight.detach().clone())
        elif not done and how == "added":
            self.late = torch.nn.Parameter(torch.zeros(2))
        codebook.weight.requires_grad_(True)
        done = True
        return made(self, images)

    monkeypatch.setattr(Prologue, "losses", losses)
    model._tokenizer_losses = model.tokenizer.losses
    (tmp_path / "output").mkdir()
    training = TokenizerTraining(steps=3, batch_size=4)
    job = TrainingJob(
        model=model,
        data=ArrayDataset({"images": byte_images().numpy()}),
        training=training,
        parts={"autoencoder": (list(model.parameters()), FAST)},
        seed=0,
        context=StageContext(work=tmp_path, output=tmp_path / "output"),
        called={"tokenizer": "tokenizer 'mine'"},
    )
    with pytest.raises(StageError, match=f"^tokenizer 'mine': parameter {line}") as raised:
        train(job)
    assert "\n" not in str(raised.value)
    assert not list(tmp_path.rglob("*.pth")), "nothing of it is saved"
