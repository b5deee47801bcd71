"""Training: the joint step, schedules, resuming, and losses that turn NaN."""

from __future__ import annotations

import functools
import itertools
import json
from pathlib import Path

import attrs
import pytest
import torch
from torch import Tensor

from prologue_bench import seeds
from prologue_bench.config.settings import GeneratorTraining, Optimisation, TokenizerTraining
from prologue_bench.errors import Interrupted, StageError, UserError
from prologue_bench.training.batches import ArrayDataset
from prologue_bench.training.context import StageContext
from prologue_bench.training.hooks import CURVES, read_curves
from prologue_bench.training.models import (
    GeneratorModel,
    TokenizerModel,
    dropped_inputs,
    scale_gradient,
)
from prologue_bench.training.optimisation import schedule
from prologue_bench.training.runner import TrainingJob, latest_checkpoint, make_runner, train
from tests.test_interfaces import random_ids
from tests.test_models import LAYOUTS, ar, images, prologue

FAST = Optimisation(learning_rate=1e-2, betas=(0.0, 0.99), warmup_steps=2)


def joint_model(**changes: object) -> TokenizerModel:
    tokenizer = prologue(**changes)
    return TokenizerModel(
        tokenizer, ar(tokenizer.layout), TokenizerTraining(l2_weight=1.0), none_label=3
    )


def byte_images(count: int = 64) -> Tensor:
    rng = torch.Generator().manual_seed(2)
    return torch.randint(0, 256, (count, 3, 8, 12), dtype=torch.uint8, generator=rng)


def test_one_pass_has_the_gradients_of_the_paper_s_two_steps() -> None:
    model = joint_model(ce_weight=3.0)
    batch = byte_images(6)
    model.begin_step(0, seed=7)
    dropped = model.draws(6)["dropped_visual"]
    assert int(dropped.sum()) == 3
    sum(model(images=batch, dropped_visual=dropped).values()).backward()  # type: ignore[union-attr]
    joint = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()

    tokenizer, prior = model.tokenizer, model.prior
    assert prior is not None
    assert tokenizer.prior is not None
    x = batch.float() / 127.5 - 1
    labels = torch.full((6,), 3)
    # Step A: the prior is frozen, its cross-entropy reaches the tokenizer with weight 3.
    prior.requires_grad_(False)
    out = tokenizer.losses(x)
    error = out.reconstruction - x
    cross_entropy = prior.token_losses(out.ids, labels, out.relaxed, {"visual": dropped}).mean()
    (error.abs().mean() + error.square().mean() + out.losses["vq"] + 3.0 * cross_entropy).backward()
    # Step B: the prior learns on the detached tokens.
    prior.requires_grad_(True)
    prior.token_losses(out.ids, labels, None, {"visual": dropped}).mean().backward()
    apart = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    assert joint.keys() == apart.keys()
    for name, gradient in joint.items():
        assert torch.allclose(gradient, apart[name], atol=1e-6), name  # type: ignore[arg-type]


def test_the_cross_entropy_reaches_the_prologue_and_no_visual_code() -> None:
    model = joint_model()
    losses = model(images=byte_images(6))
    losses["loss_ce"].backward()
    tokenizer = model.tokenizer
    assert tokenizer.prologue_quantizer.codebook.weight.grad.abs().sum() > 0
    assert tokenizer.quantizer.codebook.weight.grad is None
    assert all(p.grad is None for p in tokenizer.decoder.parameters())


def test_gradient_scaling_leaves_values_alone() -> None:
    x = torch.randn(3, requires_grad=True)
    y = scale_gradient(x, 2.5)
    assert torch.equal(x, y)
    y.sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [2.5] * 3


def test_half_of_the_batch_loses_its_visual_inputs() -> None:
    request = prologue(visual_dropout=0.5).prior
    assert request is not None
    assert int(dropped_inputs(request, 10, seeds.generator)["visual"].sum()) == 5


def test_bfloat16_runs_on_the_cpu_and_keeps_the_losses_in_float32() -> None:
    tokenizer = prologue()
    training = TokenizerTraining(precision="bfloat16")
    model = TokenizerModel(tokenizer, ar(tokenizer.layout), training, none_label=3)
    low = model(images=byte_images(6))
    exact = joint_model()(images=byte_images(6))
    assert all(value.dtype == torch.float32 for value in low.values())
    assert low["loss_l1"].item() == pytest.approx(exact["loss_l1"].item(), rel=0.02)


def test_the_schedule_warms_up_stays_and_falls_to_its_final_fraction(tmp_path: Path) -> None:
    settings = Optimisation(learning_rate=1.0, warmup_steps=4, flat_steps=3, final_fraction=0.1)
    generator = ar(LAYOUTS[0])
    runner = make_runner(
        TrainingJob(
            model=GeneratorModel(generator, GeneratorTraining(), 3),
            data=ArrayDataset(
                {"ids": random_ids(LAYOUTS[0]).numpy(), "labels": torch.zeros(3).long().numpy()}
            ),
            training=GeneratorTraining(steps=16, batch_size=2),
            parts={"generator": (list(generator.parameters()), settings)},
            seed=0,
            context=StageContext(work=tmp_path, output=tmp_path),
        )
    )
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    schedulers = runner.build_param_scheduler(schedule(settings, 16))
    rates = []
    for _ in range(16):
        rates.append(runner.optim_wrapper.optimizer.param_groups[0]["lr"])
        runner.optim_wrapper.step()
        for scheduler in schedulers:
            scheduler.step()
    assert rates[0] == pytest.approx(0.2)
    assert rates[4:8] == [1.0] * 4
    falls = [before - after for before, after in itertools.pairwise(rates[7:])]
    assert falls == pytest.approx([falls[0]] * len(falls))
    assert rates[-1] == pytest.approx(0.1)


class Stop:
    """Asks to stop after so many steps."""

    def __init__(self, after: int) -> None:
        self.after = after
        self.done = 0

    def advance(self, done: int, total: int) -> None:
        self.done = done

    def requested(self) -> bool:
        return self.done >= self.after


def run(
    folder: Path, stop_after: int = 10**9, rate: float = 1e-2, steps: int = 12, **changes: object
) -> TokenizerModel:
    stop = Stop(stop_after)
    (folder / "output").mkdir(parents=True, exist_ok=True)
    context = StageContext(
        work=folder,
        output=folder / "output",
        label="train-tokenizer of a, b seed 0",
        advance=stop.advance,
        stop_requested=stop.requested,
    )
    torch.manual_seed(0)
    model = joint_model()
    training = TokenizerTraining(
        steps=steps,
        batch_size=4,
        ema_half_life_steps=3,
        checkpoint_steps=4,
        **changes,  # type: ignore[arg-type]
    )
    fast = attrs.evolve(FAST, learning_rate=rate)
    parts = {
        "autoencoder": (list(model.tokenizer.parameters()), fast),
        "prior": (list(model.prior.parameters()), fast),  # type: ignore[union-attr]
    }
    data = ArrayDataset({"images": byte_images().numpy()})
    job = TrainingJob(
        model=model, data=data, training=training, parts=parts, seed=3, context=context
    )
    return train(job)  # type: ignore[return-value]


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


def test_training_learns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stripes = (torch.arange(12) % 4 < 2).expand(64, 3, 8, 12).contiguous() * 255
    monkeypatch.setattr("tests.test_training.byte_images", lambda: stripes.to(torch.uint8))
    run(tmp_path, steps=60, rate=3e-3)
    losses = [point["loss_l1"] for point in read_curves(tmp_path / "output" / CURVES)]
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])
    assert json.loads((tmp_path / "output" / CURVES).read_text().splitlines()[0])["step"] == 1
    assert "Iter(train) [60/60]" in (tmp_path / "output" / "log.txt").read_text()


def test_learning_curves_go_to_tensorboard_while_the_training_runs(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run(tmp_path / "work", trackers=("tensorboard",), tracking_folder=str(tmp_path / "runs"))
    (found,) = (tmp_path / "runs").iterdir()
    assert found.name.startswith("train-tokenizer_of_a_b_seed_0-")
    events = EventAccumulator(str(next(found.rglob("events.*")).parent)).Reload()
    assert len(events.Scalars("loss_ce")) > 1


def test_mlflow_has_a_run_for_each_training_also_after_one_that_failed(tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow")
    options = {"trackers": ("mlflow",), "tracking_folder": str(tmp_path / "runs")}
    with pytest.raises(StageError):
        run(tmp_path / "failing", rate=1e30, steps=40, **options)
    assert mlflow.active_run() is None
    run(tmp_path / "work", **options)
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path / 'runs' / 'mlflow.db'}")
    found = client.search_runs([client.get_experiment_by_name("prologue-bench").experiment_id])
    names = ["train-tokenizer_of_a_b_seed_0-work", "train-tokenizer_of_a_b_seed_0-failing"]
    assert [each.info.run_name for each in found] == names
    assert len(client.get_metric_history(found[0].info.run_id, "loss_ce")) > 1
    assert found[0].data.params["training.steps"] == "12"


def test_weights_and_biases_records_offline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    run(tmp_path / "work", trackers=("wandb",), tracking_folder=str(tmp_path / "runs"))
    (found,) = (tmp_path / "runs").rglob("offline-run-*/*.wandb")
    assert b"loss_ce" in found.read_bytes()


def test_a_tracker_that_is_not_installed_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match="trackers: 'mlflow' is not installed; pip install"):
        run(tmp_path, trackers=("mlflow",))


def test_a_dataset_reads_whole_batches() -> None:
    data = ArrayDataset({"images": byte_images(8).numpy(), "labels": torch.arange(8).numpy()})
    batch = data.__getitems__([5, 1])
    assert batch["labels"].tolist() == [5, 1]
    assert torch.equal(batch["images"], byte_images(8)[[5, 1]])
    with pytest.raises(ValueError, match="expected one length"):
        ArrayDataset({"a": images(2).numpy(), "b": images(3).numpy()})


def test_the_compiled_step_gives_the_same_losses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Traced whole by dynamo and differentiated by AOT autograd.

    The code generator is torch's own affair.
    """
    monkeypatch.setattr(
        torch, "compile", functools.partial(torch.compile, backend="aot_eager", fullgraph=True)
    )
    tokenizer = prologue(visual_dropout=0.0)
    training = TokenizerTraining(l2_weight=1.0, compile=True)
    compiled = TokenizerModel(tokenizer, ar(tokenizer.layout), training, none_label=3)
    eager = joint_model(visual_dropout=0.0)
    batch = byte_images(6)
    for name, loss in eager(images=batch).items():
        assert torch.allclose(compiled(images=batch)[name], loss, atol=1e-5), name
    torch.stack(list(compiled(images=batch).values())).sum().backward()
    torch.stack(list(eager(images=batch).values())).sum().backward()
    for (name, one), other in zip(compiled.named_parameters(), eager.parameters(), strict=True):
        if other.grad is not None:
            assert one.grad is not None, name
            assert torch.allclose(one.grad, other.grad, atol=1e-5), name
