"""The contract of losses of reconstructions."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from prologue_bench.config.experiments import Resolved
from prologue_bench.conformance.checks import (
    Broken,
    Check,
    check_devices,
    check_pickling,
    left_as_they_were,
    made,
    random_images,
    require,
)
from prologue_bench.conformance.training import check_resuming
from prologue_bench.contracts.images import ImageSpec
from prologue_bench.contracts.loss import ReconstructionLoss
from prologue_bench.errors import UserError
from prologue_bench.guard import shown
from prologue_bench.pipeline.models import build_loss, check_loss, loss_class
from prologue_bench.training.terms import problem_of

STEP = 100_000
"""A step at which terms that begin late are there."""


def checks(resolved: Resolved, images: ImageSpec) -> list[Check]:
    """All checks of one loss, on made-up images."""
    subject = _Subject(resolved, images)
    return [
        Check(
            "planning", "`check` says what cannot work by UserError, or nothing", subject.planning
        ),
        Check(
            "terms",
            "each term is a finite scalar under a name, at the first step and later",
            subject.terms,
        ),
        Check("gradient", "a finite gradient reaches the reconstruction", subject.gradient),
        Check(
            "learns",
            "`learns` says whether there are parameters to train, and a term reaches each",
            subject.learns,
        ),
        Check(
            "sides",
            "what trains the loss's parameters does not reach the reconstruction",
            subject.sides,
        ),
        Check("determinism", "the same inputs give the same terms", subject.determinism),
        Check("inputs", "the loss leaves its inputs as they were", subject.leaves_inputs),
        Check(
            "resume", "a resumed training takes the steps of one that ran through", subject.resume
        ),
        Check("pickling", "a pickled copy gives the same terms", subject.pickling),
        Check("device", "everything moves with the module", subject.device),
    ]


class _Subject:
    def __init__(self, resolved: Resolved, images: ImageSpec) -> None:
        self.resolved, self.spec = resolved, images

    @property
    def images(self) -> Tensor:
        """The same each time, whatever a loss does to those that it was given before."""
        return random_images(self.spec)

    @property
    def near(self) -> Tensor:
        """Reconstructions of the images."""
        return (self.images + 0.1 * random_images(self.spec, seed=1)).clamp(-1, 1)

    def make(self, seed: int = 0) -> ReconstructionLoss:
        torch.manual_seed(seed)
        return made(lambda: build_loss(self.resolved, self.spec))

    def found(
        self, loss: ReconstructionLoss, near: Tensor | None = None, step: int = STEP
    ) -> Mapping[str, Tensor]:
        reconstruction = self.near if near is None else near
        found: object = loss(reconstruction, self.images.to(reconstruction.device), step)
        if not isinstance(found, Mapping):
            raise Broken(f"it gave {shown(found)}, expected scalars by name")
        return found

    def planning(self) -> None:
        try:
            check_loss(self.resolved, self.spec)
        except UserError as error:
            self.make()  # where that fails, it says why
            raise Broken(
                f"`check` says for colour images of {self.spec.height} pixels: {error}"
            ) from None

    def terms(self) -> None:
        loss = self.make()
        for step in (0, STEP):
            for name, value in self.found(loss, step=step).items():
                problem = problem_of(name, value)
                require(problem is None, str(problem))
                require(
                    value.is_floating_point(), f"term {name!r} is {value.dtype}, expected floats"
                )
                require(
                    bool(torch.isfinite(value)),
                    f"term {name!r} is {float(value.detach())} at step {step}",
                )
        require(bool(self.found(loss)), "there is no term at all")

    def gradient(self) -> None:
        loss = self.make()
        near, images = self.near.requires_grad_(), self.images.requires_grad_()
        terms = [term for term in loss(near, images, STEP).values() if term.requires_grad]
        require(bool(terms), "no term has a gradient")
        torch.stack([term.float() for term in terms]).sum().backward()  # type: ignore[no-untyped-call]
        reached = torch.zeros_like(near) if near.grad is None else near.grad
        require(bool((reached != 0).any()), "no term reaches the reconstruction")
        require(
            bool(torch.isfinite(reached).all()), "the gradient of the reconstruction is not finite"
        )

    def learns(self) -> None:
        loss = self.make()
        learning = {name: each for name, each in loss.named_parameters() if each.requires_grad}
        says = loss_class(self.resolved).learns
        require(
            bool(learning) <= bool(says),
            f"`learns` is False, and it has parameters to train: {list(learning)[:3]}",
        )
        if not learning:
            return
        terms = [term for term in self.found(loss).values() if term.requires_grad]
        torch.stack([term.float() for term in terms]).sum().backward()  # type: ignore[no-untyped-call]
        missing = [name for name, each in learning.items() if each.grad is None]
        require(
            not missing, f"no term reaches {', '.join(missing[:3])}; set requires_grad to False"
        )

    def sides(self) -> None:
        loss = self.make()
        near = self.near.requires_grad_()
        learning: list[Tensor] = [each for each in loss.parameters() if each.requires_grad]
        for name, term in self.found(loss, near).items():
            if not term.requires_grad:
                continue
            own, other = (_reaches(term, of) for of in (learning, [near]))
            require(
                not (own and other),
                f"term {name!r} reaches both the reconstruction and the loss's parameters",
            )

    def answer(self, loss: ReconstructionLoss) -> Tensor:
        """All terms in one vector."""
        torch.manual_seed(0)
        with torch.no_grad():
            found = self.found(loss)
        return torch.stack([found[name].float() for name in sorted(found)])

    def determinism(self) -> None:
        loss = self.make()
        require(
            torch.equal(self.answer(loss), self.answer(loss)), "the terms differ the second time"
        )

    def leaves_inputs(self) -> None:
        loss, near, images = self.make(), self.near, self.images
        with (
            torch.no_grad(),
            left_as_they_were("the loss", reconstruction=near, images=images),
        ):
            loss(near, images, STEP)

    def resume(self) -> None:
        def lowered(training: _Training, step: int) -> Tensor:
            terms = self.found(training.loss, training.reconstruction, STEP + step)
            return torch.stack([term.float() for term in terms.values()]).sum()

        check_resuming(lambda seed: _Training(self.make(seed), self.near), lowered)

    def pickling(self) -> None:
        check_pickling(self.make(), self.answer)

    def device(self) -> None:
        def run(moved: ReconstructionLoss, device: torch.device) -> None:
            with torch.no_grad():
                found = self.found(moved, self.near.to(device))
            other = [name for name, term in found.items() if term.device.type != device.type]
            require(not other, f"term {', '.join(other)} is on another device than its inputs")

        check_devices(self.make(), run)


class _Training(nn.Module):
    """Reconstructions that learn from a loss, and the loss's own parameters."""

    def __init__(self, loss: ReconstructionLoss, reconstruction: Tensor) -> None:
        super().__init__()
        self.loss = loss
        self.reconstruction = nn.Parameter(reconstruction)


def _reaches(term: Tensor, tensors: list[Tensor]) -> bool:
    """Whether a term depends on any of these tensors."""
    if not tensors:
        return False
    found = torch.autograd.grad(term, tensors, retain_graph=True, allow_unused=True)
    return any(each is not None for each in found)
