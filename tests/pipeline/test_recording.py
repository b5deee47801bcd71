"""Steps that a GPU records: the same numbers, and what becomes of batches and models it cannot."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from prologue_bench.config.settings import TokenizerTraining
from prologue_bench.contracts.components import Component
from prologue_bench.training import recording
from prologue_bench.training.recording import Recording, can_be_recorded
from tests.factories import training

COMPONENT = Component(name="a", target="a:B", summary="A.", steps_alike=True)
GPU = torch.device("cuda")


class FakeGraph:
    """Repeats a recording as a GPU does: into the tensors that it had when it was recorded."""

    current: Recording

    def replay(self) -> None:
        own = self.current
        for parameter in own.model.parameters():
            parameter.grad = None
        for name, value in own.run(own._batch).items():
            own._losses[name].copy_(value)
        for parameter, gradient in own._gradients:
            if gradient is not None:
                assert parameter.grad is not None
                gradient.copy_(parameter.grad)


@pytest.fixture
def fake_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stream:
        def wait_stream(self, other: object) -> None: ...

    @contextmanager
    def graph(found: object) -> Iterator[None]:
        yield

    made = Recording.__init__

    def remembered(self: Recording, *arguments: Any) -> None:
        made(self, *arguments)
        FakeGraph.current = self

    monkeypatch.setattr(Recording, "__init__", remembered)
    for name, value in {
        "Stream": Stream,
        "current_stream": Stream,
        "stream": lambda stream: nullcontext(),
        "CUDAGraph": FakeGraph,
        "graph": graph,
        "get_rng_state": torch.get_rng_state,
        "set_rng_state": torch.set_rng_state,
    }.items():
        monkeypatch.setattr(torch.cuda, name, value)


def weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: each.detach().cpu() for name, each in model.state_dict().items()}


def test_a_recorded_training_has_the_weights_of_one_that_is_not(
    tmp_path: Path, fake_gpu: None
) -> None:
    plain = weights(training.run(tmp_path / "plain"))
    recorded = weights(training.run(tmp_path / "recorded", recorded=True))
    assert all(torch.equal(value, recorded[name]) for name, value in plain.items())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_records_the_steps_that_it_would_take(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = weights(training.run(tmp_path / "plain", steps=40))
    recorded = weights(training.run(tmp_path / "recorded", steps=40, recorded=True))
    assert "without a recorded step" not in capsys.readouterr().err
    for name, value in plain.items():
        assert torch.allclose(value, recorded[name], atol=1e-4), name


class Linear(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2))
        self.unused = nn.Parameter(torch.ones(1))
        self.register_buffer("count", torch.zeros(1))

    def run(self, batch: Any) -> dict[str, Tensor]:
        self.count += 1  # type: ignore[operator]
        loss = (batch["x"] * self.weight).sum()
        loss.backward()
        return {"loss": loss.detach()}


def test_gradients_are_those_of_the_last_batch_alone(fake_gpu: None) -> None:
    model = Linear()
    recorded = Recording(model, model.run)
    for x in ([1.0, 2.0], [3.0, 5.0]):
        found = recorded({"x": torch.tensor(x)})
        assert found is not None
        assert found["loss"] == sum(x)
        assert model.weight.grad is not None
        assert model.weight.grad.tolist() == x
    assert model.unused.grad is None
    assert model.count == 2, "passes before the recording leave buffers as they were"


def test_batches_of_another_shape_are_left_to_the_caller(fake_gpu: None) -> None:
    model = Linear()
    recorded = Recording(model, model.run)
    recorded({"x": torch.tensor([1.0, 2.0])})
    assert recorded({"x": torch.ones(3, 2)}) is None
    assert model.weight.grad is None, "else the caller's gradients were added to the recording's"
    assert recorded({"x": torch.tensor([4.0, 2.0])}) is not None
    assert model.weight.grad is not None
    assert model.weight.grad.tolist() == [4.0, 2.0]


def test_a_step_that_cannot_be_recorded_is_taken_as_it_is(
    fake_gpu: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @contextmanager
    def refuse(graph: object) -> Iterator[None]:
        raise RuntimeError("operation not permitted when stream is capturing\nand more")
        yield

    monkeypatch.setattr(torch.cuda, "graph", refuse)
    model = Linear()
    recorded = Recording(model, model.run)
    assert recorded({"x": torch.ones(2)}) is None
    assert recorded({"x": torch.ones(2)}) is None
    assert model.count == 0
    assert capsys.readouterr().err == (
        "prologue-bench: training goes on without a recorded step, which failed: "
        "RuntimeError: operation not permitted when stream is capturing\n"
    )


def test_steps_are_recorded_where_they_are_alike_on_one_gpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain = TokenizerTraining(compile=False)
    assert can_be_recorded(plain, [COMPONENT], GPU)
    assert not can_be_recorded(plain, [COMPONENT], torch.device("cpu"))
    assert not can_be_recorded(TokenizerTraining(compile=True), [COMPONENT], GPU)
    assert not can_be_recorded(TokenizerTraining(compile=False, accumulate=2), [COMPONENT], GPU)
    other = Component(name="b", target="a:B", summary="B.")
    assert not can_be_recorded(plain, [COMPONENT, other], GPU)
    monkeypatch.setattr(recording.distributed, "world_size", lambda: 2)
    assert not can_be_recorded(plain, [COMPONENT], GPU)
