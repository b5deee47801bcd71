"""The contract of tokenizers."""

from __future__ import annotations

import torch
from torch import Tensor

from prologue_bench.config.experiments import Resolved
from prologue_bench.conformance.checks import (
    BATCH,
    TOLERANCE,
    Broken,
    Check,
    Skipped,
    a_tensor,
    check_devices,
    check_pickling,
    check_state,
    left_as_they_were,
    made,
    parameters_without_gradient,
    random_images,
    require,
    same_shapes,
)
from prologue_bench.conformance.training import (
    STEPS,
    ShortTraining,
    check_parameters,
    check_resuming,
)
from prologue_bench.contracts.checked import check_inspected_tokens
from prologue_bench.contracts.images import ImageSpec, is_of_bytes
from prologue_bench.contracts.layout import TokenLayout
from prologue_bench.contracts.tokenizer import ContinuousTokenizer, Tokenizer, TokenizerOutput
from prologue_bench.errors import StageError
from prologue_bench.pipeline.models import build_tokenizer
from prologue_bench.training.terms import checked_output, problem_of


def checks(resolved: Resolved, images: ImageSpec) -> list[Check]:
    """All checks of one tokenizer."""
    subject = _Subject(resolved, images)
    return [
        Check("layout", "the constructor sets `layout`, a TokenLayout", subject.layout),
        Check(
            "ids",
            "`encode` gives int64 ids [B, L], each inside its segment's vocabulary",
            subject.ids,
        ),
        Check(
            "determinism",
            "`encode` and `decode` give the same twice, in any batch",
            subject.determinism,
        ),
        Check(
            "inspect",
            "`inspect` gives the ids of `encode`, and latents of segments that there are",
            subject.inspect,
        ),
        Check("decode", "`decode` gives finite float images [B, C, H, W]", subject.decode),
        Check(
            "reconstruct",
            "`reconstruct` of a tokenizer without ids gives finite images, the same in any batch",
            subject.reconstruct,
        ),
        Check("losses", "`losses` gives a reconstruction, finite scalars, and ids", subject.losses),
        Check(
            "inputs",
            "`losses`, `encode` and `decode` leave their inputs as they were",
            subject.leaves_inputs,
        ),
        Check(
            "precision",
            "`losses` gives the ids that `encode` gives, in bfloat16 too",
            subject.precision,
        ),
        Check(
            "relaxed",
            "`relaxed` holds the one-hot of `ids` for the segments that `prior` names",
            subject.relaxed,
        ),
        Check(
            "gradient", "the losses reach every parameter that wants a gradient", subject.gradient
        ),
        Check(
            "prior-gradient",
            "the prior's gradient reaches the tokenizer through `relaxed`",
            subject.prior_gradient,
        ),
        Check(
            "parameters",
            "training changes parameters in place, and adds and switches on none",
            subject.parameters,
        ),
        Check(
            "resume", "a resumed training takes the steps of one that ran through", subject.resume
        ),
        Check("state", "weights saved and loaded give the same tokenizer", subject.state),
        Check("pickling", "a pickled copy gives the same ids and images", subject.pickling),
        Check("device", "everything moves with the module", subject.device),
    ]


class _Subject:
    def __init__(self, resolved: Resolved, images: ImageSpec) -> None:
        self.resolved, self.images = resolved, images

    @property
    def batch(self) -> Tensor:
        """Images, the same whatever a tokenizer does to those that it was given before."""
        return random_images(self.images)

    def make(self, seed: int = 0) -> Tokenizer:
        torch.manual_seed(seed)
        return made(lambda: build_tokenizer(self.resolved, self.images)).eval()

    def layout(self) -> None:
        layout = getattr(self.make(), "layout", None)
        require(isinstance(layout, TokenLayout), f"`layout` is {layout!r}, expected a TokenLayout")

    def encoded(self, tokenizer: Tokenizer) -> Tensor:
        """Ids of the batch. Raises Skipped for a tokenizer without ids."""
        if isinstance(tokenizer, ContinuousTokenizer):
            raise Skipped("it has no ids")
        with torch.inference_mode():
            return a_tensor(tokenizer.encode(self.batch), "`encode`")

    def ids(self) -> None:
        tokenizer = self.make()
        ids = self.encoded(tokenizer)
        require(ids.dtype == torch.int64, f"`encode` gives {ids.dtype}, expected torch.int64")
        try:
            tokenizer.layout.check(ids)
        except ValueError as error:
            raise Broken(str(error)) from None

    def inspect(self) -> None:
        tokenizer = self.make()
        ids = self.encoded(tokenizer)
        with torch.inference_mode():
            found = tokenizer.inspect(self.batch)
        try:
            check_inspected_tokens(found, tokenizer.layout, len(ids))
        except StageError as error:
            raise Broken(str(error).removeprefix("tokenizer: ")) from None
        require(torch.equal(found.ids, ids), "`inspect` gives other ids than `encode`")

    def determinism(self) -> None:
        tokenizer = self.make()
        ids = self.encoded(tokenizer)
        require(
            torch.equal(self.encoded(tokenizer), ids),
            "`encode` gives other ids the second time, in eval mode",
        )
        with torch.inference_mode():
            alone = torch.cat([tokenizer.encode(image[None]) for image in self.batch])
            any_ids = _random_ids(tokenizer.layout, len(ids)).to(ids.device)
            images = a_tensor(tokenizer.decode(any_ids), "`decode`")
            again = torch.cat([tokenizer.decode(each[None]) for each in any_ids])
        share = float((alone != ids).float().mean())
        require(
            share < 0.02, f"{100 * share:.0f}% of the ids change with the batch that an image is in"
        )
        # An untrained decoder gives nearly the same image for all ids, so small differences count.
        allowed = (
            0.01 * (images - images.mean(0)).abs().max() + 0.1 * TOLERANCE * images.abs().max()
        )
        require(
            (images - again).abs().max() <= allowed,
            "`decode` depends on the batch that an image is in",
        )

    def decode(self) -> None:
        tokenizer = self.make()
        with torch.inference_mode():
            found = tokenizer.decode(self.encoded(tokenizer))
        self._check_images(found, "`decode`")

    def reconstruct(self) -> None:
        tokenizer = self.make()
        if not isinstance(tokenizer, ContinuousTokenizer):
            raise Skipped("it has ids")
        with torch.inference_mode():
            found = a_tensor(tokenizer.reconstruct(self.batch), "`reconstruct`")
            alone = torch.cat([tokenizer.reconstruct(image[None]) for image in self.batch])
        self._check_images(found, "`reconstruct`")
        require(
            torch.allclose(found, alone, atol=10 * TOLERANCE),
            "`reconstruct` depends on the batch that an image is in, or differs the second time",
        )

    def _check_images(self, found: Tensor, what: str) -> None:
        same_shapes(found, tuple(self.batch.shape), what)
        require(found.is_floating_point(), f"{what} gives {found.dtype}, expected floats")
        require(torch.isfinite(found).all(), f"{what} gives NaN or infinity")
        require(
            not is_of_bytes(found),
            f"{what} gives values from {float(found.min()):.3g} to {float(found.max()):.3g}, "
            "expected about -1 to 1",
        )

    def trained(self) -> tuple[Tokenizer, TokenizerOutput]:
        tokenizer = self.make()
        if tokenizer.frozen:
            raise Skipped("the tokenizer is frozen")
        return tokenizer, self.output(tokenizer.train())

    def output(self, tokenizer: Tokenizer) -> TokenizerOutput:
        """What `losses` gives of the batch."""
        try:
            return checked_output(tokenizer.losses(self.batch))
        except StageError as error:
            raise Broken(str(error).removeprefix("tokenizer: ")) from None

    def losses(self) -> None:
        tokenizer, output = self.trained()
        if output.reconstruction is None:
            require(
                not tokenizer.reconstructs,
                "no reconstruction, though `reconstructs` says that there is one",
            )
        else:
            same_shapes(output.reconstruction, tuple(self.batch.shape), "`losses`: reconstruction")
        for name, loss in output.losses.items():
            problem = problem_of(name, loss)
            require(problem is None, f"`losses`: {problem}")
            require(torch.isfinite(loss), f"`losses`: {name!r} is {float(loss.detach())}")
        same_shapes(output.ids, (BATCH, tokenizer.layout.length), "`losses`: ids")

    def leaves_inputs(self) -> None:
        tokenizer, images = self.make(), self.batch
        if not tokenizer.frozen:
            with left_as_they_were("`losses`", images=images):
                tokenizer.train().losses(images)
        tokenizer, images = self.make(), self.batch
        with torch.no_grad():
            if isinstance(tokenizer, ContinuousTokenizer):
                with left_as_they_were("`reconstruct`", images=images):
                    tokenizer.reconstruct(images)
                return
            with left_as_they_were("`encode`", images=images):
                ids = a_tensor(tokenizer.encode(images), "`encode`")
            with left_as_they_were("`decode`", ids=ids):
                tokenizer.decode(ids)

    def precision(self) -> None:
        tokenizer = self.make().eval()
        if tokenizer.frozen:
            raise Skipped("the tokenizer is frozen")
        for precision in ("float32", "bfloat16"):
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
                ids = a_tensor(self.output(tokenizer).ids, "`losses`: ids")
                differ = ids != self.encoded(tokenizer)
            share = float(differ.float().mean())
            require(
                not share,
                f"in {precision}, {100 * share:.1f}% of the ids of `losses` are not those of "
                "`encode`; find the nearest codes in float32, with autocast off",
            )

    def relaxed(self) -> None:
        tokenizer, output = self.trained()
        wanted = set(tokenizer.prior.weights) if tokenizer.prior else set()
        if tokenizer.prior is not None:
            try:
                tokenizer.prior.check(tokenizer.layout)
            except ValueError as error:
                raise Broken(str(error)) from None
        found = set(output.relaxed)
        require(
            found == wanted,
            f"`relaxed` has {sorted(found)}, `prior.weights` names {sorted(wanted)}",
        )
        for name, one_hot in output.relaxed.items():
            segment = tokenizer.layout.segment(name)
            same_shapes(
                one_hot, (BATCH, segment.length, segment.vocabulary), f"`relaxed[{name!r}]`"
            )
            hard = torch.nn.functional.one_hot(
                output.ids[:, tokenizer.layout.span(name)], segment.vocabulary
            )
            require(
                torch.allclose(one_hot, hard.to(one_hot.dtype), atol=TOLERANCE),
                f"the value of `relaxed[{name!r}]` is not the one-hot of `ids`",
            )

    def gradient(self) -> None:
        tokenizer, output = self.trained()
        self.objective(output).backward()  # type: ignore[no-untyped-call]
        missing = parameters_without_gradient(tokenizer)
        require(
            not missing,
            f"no loss reaches {', '.join(missing[:3])}{' and more' if len(missing) > 3 else ''}; "
            "leave out what is not used, "
            "or set requires_grad to False",
        )

    def objective(self, output: TokenizerOutput) -> Tensor:
        """The sum of all from which a tokenizer can learn. Raises Broken where there is nothing."""
        terms = [loss for loss in output.losses.values() if loss.requires_grad]
        if output.reconstruction is not None:
            terms.append((output.reconstruction - self.batch).square().mean())
        terms += [(one_hot * torch.rand_like(one_hot)).sum() for one_hot in output.relaxed.values()]
        if not terms:
            raise Broken("no loss has a gradient")
        return torch.stack([term.float() for term in terms]).sum()

    def step(self, tokenizer: Tokenizer, step: int) -> Tensor:
        """What a step of training lowers."""
        return self.objective(self.output(tokenizer))

    def parameters(self) -> None:
        tokenizer = self.make()
        if tokenizer.frozen:
            raise Skipped("the tokenizer is frozen")
        check_parameters(tokenizer, self.step)

    def resume(self) -> None:
        if self.make().frozen:
            raise Skipped("the tokenizer is frozen")
        check_resuming(self.make, self.step)

    def prior_gradient(self) -> None:
        tokenizer, output = self.trained()
        if tokenizer.prior is None:
            raise Skipped("the tokenizer asks for no joint prior")
        for name, one_hot in output.relaxed.items():
            require(one_hot.requires_grad, f"`relaxed[{name!r}]` carries no gradient")
            tokenizer.zero_grad()
            (one_hot * torch.rand_like(one_hot)).sum().backward(retain_graph=True)  # type: ignore[no-untyped-call]
            reached = any(
                p.grad is not None and bool(p.grad.abs().sum() > 0) for p in tokenizer.parameters()
            )
            require(reached, f"the gradient of `relaxed[{name!r}]` reaches no parameter")

    def answer(self, tokenizer: Tokenizer) -> Tensor:
        """Ids and images of the batch in one vector."""
        with torch.inference_mode():
            if isinstance(tokenizer, ContinuousTokenizer):
                return tokenizer.reconstruct(self.batch).flatten()
            ids = self.encoded(tokenizer)
            images = a_tensor(tokenizer.decode(ids), "`decode`")
            return torch.cat((ids.flatten().float(), images.flatten()))

    def state(self) -> None:
        def train(tokenizer: Tokenizer) -> None:
            if not tokenizer.frozen:
                ShortTraining(tokenizer, self.step).run(0, STEPS)

        check_state(self.make, self.answer, train)

    def pickling(self) -> None:
        check_pickling(self.make(), self.answer)

    def device(self) -> None:
        tokenizer = self.make()

        def run(moved: Tokenizer, device: torch.device) -> None:
            with torch.inference_mode():
                if isinstance(moved, ContinuousTokenizer):
                    moved.reconstruct(self.batch.to(device))
                else:
                    moved.decode(moved.encode(self.batch.to(device)))

        check_devices(tokenizer, run)


def _random_ids(layout: TokenLayout, count: int) -> Tensor:
    """Ids [count, L] from the whole of each segment's vocabulary."""
    rng = torch.Generator().manual_seed(0)
    parts = [
        torch.randint(segment.vocabulary, (count, segment.length), generator=rng)
        for segment in layout
    ]
    return torch.cat(parts, dim=1)
