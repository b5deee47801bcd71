"""The contract of generators."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from prologue_bench import seeds
from prologue_bench.config.experiments import Resolved
from prologue_bench.config.settings import ALL_TOKENS, Guidance, Sampling
from prologue_bench.conformance.checks import (
    BATCH,
    TOLERANCE,
    Broken,
    Check,
    Skipped,
    check_devices,
    check_pickling,
    check_state,
    left_as_they_were,
    made,
    parameters_without_gradient,
    require,
    same_shapes,
)
from prologue_bench.conformance.training import (
    STEPS,
    ShortTraining,
    check_parameters,
    check_resuming,
)
from prologue_bench.contracts.checked import check_inspected_prior
from prologue_bench.contracts.generator import (
    AutoregressiveGenerator,
    Generator,
    JointPrior,
    fixed_at,
)
from prologue_bench.contracts.images import ImageSpec
from prologue_bench.contracts.layout import TokenLayout
from prologue_bench.contracts.segments import Segment
from prologue_bench.errors import StageError, UserError
from prologue_bench.pipeline.models import build_generator
from prologue_bench.sampling.decoding import draw_ids, step_spans

LAYOUTS = {
    "one segment": TokenLayout((Segment("visual", 9, 11, (3, 3)),)),
    "two segments": TokenLayout((Segment("prologue", 3, 5), Segment("visual", 4, 7, (2, 2)))),
    "two segments without a separator": TokenLayout(
        (Segment("a", 3, 5), Segment("b", 4, 7)), separator=False
    ),
    "two codebooks": TokenLayout((Segment("visual", 8, 8, (2, 2), codebooks=2),)),
}
"""What generators are checked on: they must not ask which tokenizer they face.

A generator may refuse a layout by a UserError of its own; it is then checked on the others.
"""


def checks(resolved: Resolved, images: ImageSpec) -> list[Check]:
    """All checks of one generator, each on every layout."""
    subjects = [_Subject(resolved, images, layout) for layout in LAYOUTS.values()]

    def on_all(check: Callable[[_Subject], None]) -> Callable[[], None]:
        return partial(_on_all, subjects, check)

    return [
        Check("nll", "`nll` gives one finite [B, n] per segment", on_all(_Subject.nll)),
        Check(
            "losses",
            (
                "`losses` gives finite [B, ...]; a prior's `token_losses` add up to `nll`, "
                "segment by segment"
            ),
            on_all(_Subject.sums),
        ),
        Check(
            "inputs",
            "`losses`, `nll` and a prior's `token_losses` leave their inputs as they were",
            on_all(_Subject.leaves_inputs),
        ),
        Check(
            "inspect",
            "a prior's `inspect` gives the losses of `token_losses`, and hits of their shape",
            on_all(_Subject.inspect),
        ),
        Check(
            "causality",
            "a token's `nll` does not depend on tokens of later steps",
            on_all(_Subject.causality),
        ),
        Check(
            "decoding",
            "`decode_step` gives the distribution that `nll` is taken from",
            on_all(_Subject.decoding),
        ),
        Check(
            "prefix",
            "a prefix read at once leaves the state that reading it step by step does",
            on_all(_Subject.prefix),
        ),
        Check(
            "sampling",
            (
                "drawn with and without guidance and fixed tokens, an image's ids do not depend on "
                "the batch that it is in"
            ),
            on_all(_Subject.sampling),
        ),
        Check(
            "states",
            "two states at once do not disturb each other, and `chosen` is left as it was",
            on_all(_Subject.states),
        ),
        Check(
            "relaxed",
            "hard one-hots in `relaxed` change nothing, and carry a gradient",
            on_all(_Subject.relaxed),
        ),
        Check(
            "dropped",
            "`dropped` hides the inputs of a segment and leaves its targets",
            subjects[1].dropped,
        ),
        Check(
            "draws",
            "what `draws` gives can be split, and comes from its generators",
            on_all(_Subject.draws),
        ),
        Check(
            "labels",
            "every label is accepted, and labels make a difference",
            on_all(_Subject.labels),
        ),
        Check(
            "gradient",
            "the losses reach every parameter that wants a gradient",
            on_all(_Subject.gradient),
        ),
        Check(
            "parameters",
            "training changes parameters in place, and adds and switches on none",
            on_all(_Subject.parameters),
        ),
        Check(
            "resume",
            "a resumed training takes the steps of one that ran through",
            on_all(_Subject.resume),
        ),
        Check("state", "weights saved and loaded give the same generator", on_all(_Subject.state)),
        Check("pickling", "a pickled copy gives the same losses", on_all(_Subject.pickling)),
        Check("device", "everything moves with the module", on_all(_Subject.device)),
    ]


def _on_all(subjects: list[_Subject], check: Callable[[_Subject], None]) -> None:
    skipped = []
    for (name, _), subject in zip(LAYOUTS.items(), subjects, strict=True):
        try:
            check(subject)
        except Broken as error:
            raise type(error)(f"with {name}: {error}") from error.__cause__
        except Skipped as reason:
            skipped.append(reason)
    if len(skipped) == len(subjects):
        raise skipped[0]


def _rows(drawn: Mapping[str, Tensor], index: int) -> dict[str, Tensor]:
    """What was drawn for one image."""
    return {name: value[index : index + 1] for name, value in drawn.items()}


class _Subject:
    def __init__(self, resolved: Resolved, images: ImageSpec, layout: TokenLayout) -> None:
        self.resolved, self.spec, self.layout = resolved, images, layout
        rng = torch.Generator().manual_seed(0)
        self._ids = torch.cat(
            [torch.randint(s.vocabulary, (BATCH, s.length), generator=rng) for s in layout], dim=1
        )

    @property
    def ids(self) -> Tensor:
        """Of images, the same whatever a generator does to those that it was given before."""
        return self._ids.clone()

    @property
    def classes(self) -> Tensor:
        """The label of each image."""
        return torch.arange(BATCH) % self.spec.labels

    def make(self, seed: int = 0) -> Generator:
        self._check_refusal()
        torch.manual_seed(seed)
        generator = made(lambda: build_generator(self.resolved, self.layout, self.spec.labels))
        # Weights that start at zero would let every token have the same cost, and nothing could be
        # told.
        with torch.no_grad():
            for parameter in generator.parameters():
                if parameter.abs().sum() == 0:
                    parameter.normal_(std=0.1)
        return generator.eval()

    def _check_refusal(self) -> None:
        """Raises Skipped where the generator's own constructor refuses the layout."""
        cls = self.resolved.component.load()
        try:
            cls(self.resolved.settings, self.layout, self.spec.labels)
        except UserError as reason:
            raise Skipped(f"it refuses the tokens: {reason}") from None
        except Exception:  # told when it is made
            return

    def costs(self, generator: Generator, ids: Tensor | None = None) -> Tensor:
        """Nats of each token, [B, L]. Raises Skipped for a generator without a likelihood."""
        with torch.inference_mode():
            parts = generator.nll(self.ids if ids is None else ids, self.classes)
        if parts is None:
            raise Skipped("it has no likelihood")
        return self.layout.join(parts)

    def losses(self, generator: Generator, labels: Tensor | None = None) -> Tensor:
        """`losses` with what a training step draws, [B, ...]."""
        losses: Callable[..., Tensor] = generator.losses
        drawn = generator.draws(BATCH, partial(seeds.generator, "draws"), 0.0)
        return losses(self.ids, self.classes if labels is None else labels, **drawn)

    def answer(self, generator: Generator) -> Tensor:
        """What tells one instance's weights from another's."""
        with torch.inference_mode():
            return self.losses(generator)

    def stepwise(self) -> AutoregressiveGenerator[Any]:
        """The generator. Raises Skipped for one that does not draw step by step."""
        generator = self.make()
        if not isinstance(generator, AutoregressiveGenerator):
            raise Skipped("it is no AutoregressiveGenerator")
        return generator

    def prior(self) -> JointPrior:
        """The generator. Raises Skipped for one that cannot be a joint prior."""
        generator = self.make()
        if not isinstance(generator, JointPrior):
            raise Skipped("it is no JointPrior")
        return generator

    def nll(self) -> None:
        generator = self.make()
        with torch.inference_mode():
            found = generator.nll(self.ids, self.classes)
        if found is None:
            require(not generator.has_likelihood, "`nll` gives None; leave it out instead")
            raise Skipped("it has no likelihood")
        require(
            set(found) == set(self.layout.names),
            f"`nll` has {sorted(found)}, expected {list(self.layout.names)}",
        )
        for segment in self.layout:
            same_shapes(found[segment.name], (BATCH, segment.length), f"`nll[{segment.name!r}]`")
            require(
                torch.isfinite(found[segment.name]).all(),
                f"`nll[{segment.name!r}]` has NaN or infinity",
            )

    def sums(self) -> None:
        generator = self.make()
        with torch.inference_mode():
            losses = self.losses(generator)
        require(
            losses.ndim > 0 and len(losses) == BATCH,
            f"`losses` has shape {tuple(losses.shape)}, expected ({BATCH}, ...)",
        )
        require(torch.isfinite(losses).all(), "`losses` has NaN or infinity")
        if not isinstance(generator, JointPrior) or not generator.has_likelihood:
            return
        with torch.inference_mode():
            costs = generator.token_losses(self.ids, self.classes)
        total = self.costs(generator).sum(dim=1)
        require(
            torch.allclose(costs.sum(dim=1), total, rtol=1e-3),
            f"`token_losses` add up to {float(costs.sum(dim=1)[0]):.4f} nats for an image, "
            f"`nll` to {float(total[0]):.4f}",
        )
        self.in_order(costs, self.layout.split(self.costs(generator)))

    def leaves_inputs(self) -> None:
        generator, ids, labels = self.make(), self.ids, self.classes
        drawn = generator.draws(BATCH, partial(seeds.generator, "draws"), 0.0)
        losses: Callable[..., Tensor] = generator.losses
        with torch.no_grad():
            with left_as_they_were("`losses`", ids=ids, labels=labels):
                losses(ids, labels, **drawn)
            if generator.has_likelihood:
                with left_as_they_were("`nll`", ids=ids, labels=labels):
                    generator.nll(ids, labels)
            if isinstance(generator, JointPrior):
                with left_as_they_were("`token_losses`", ids=ids, labels=labels):
                    generator.token_losses(ids, labels)

    def inspect(self) -> None:
        generator = self.prior()
        with torch.inference_mode():
            found = generator.inspect(self.ids, self.classes)
            costs = generator.token_losses(self.ids, self.classes)
        try:
            check_inspected_prior(found, BATCH)
        except StageError as error:
            raise Broken(str(error).removeprefix("generator: ")) from None
        same_shapes(found.losses, tuple(costs.shape), "`inspect`: losses")
        require(
            torch.allclose(found.losses, costs, atol=0.01),
            "`inspect` gives other losses than `token_losses`",
        )

    def in_order(self, losses: Tensor, costs: Mapping[str, Tensor]) -> None:
        """Columns of `token_losses` must be the segments' in order, with or without separators."""
        separators = losses.shape[1] - self.layout.length
        expected = {self.layout.length, self.layout.length + len(self.layout.segments) - 1}
        require(
            losses.shape[1] in expected,
            (
                f"`token_losses` has {losses.shape[1]} columns, "
                f"expected {' or '.join(map(str, sorted(expected)))}"
            ),
        )
        start = 0
        for index, segment in enumerate(self.layout):
            stop = start + segment.length + (1 if separators and index else 0)
            require(
                torch.allclose(
                    losses[:, start:stop].sum(dim=1), costs[segment.name].sum(dim=1), rtol=1e-3
                ),
                f"columns {start} to {stop - 1} of `token_losses` do not add up to "
                f"`nll[{segment.name!r}]`; expected the segments in the layout's order",
            )
            start = stop

    def causality(self) -> None:
        generator = self.stepwise()
        before = self.costs(generator)
        for _, step in step_spans(generator):
            for position in range(step.start, step.stop):
                after = self.costs(generator, self._changed(position))
                moved = (after - before).abs().max(dim=0).values
                moved[position] = 0
                earlier = moved[: step.stop]
                require(
                    float(earlier.max()) < TOLERANCE,
                    f"changing token {position} changes the cost of token {int(earlier.argmax())}, "
                    "which is drawn before it or with it",
                )

    def _changed(self, position: int) -> Tensor:
        ids = self.ids
        ids[:, position] = (ids[:, position] + 1) % self._vocabulary(position)
        return ids

    def _vocabulary(self, position: int) -> int:
        return next(s.vocabulary for s in self.layout if position < self.layout.span(s.name).stop)

    def decoding(self) -> None:
        generator = self.stepwise()
        before = self.costs(generator)
        with torch.inference_mode():
            state, chosen = generator.start(self.classes), None
            for segment, step in step_spans(generator):
                logits = generator.decode_step(state, chosen)
                count = step.stop - step.start
                same_shapes(
                    logits,
                    (BATCH, count, segment.vocabulary),
                    f"`decode_step` of tokens {step.start} to {step.stop - 1}",
                )
                for position in range(step.start, step.stop):
                    self._agree(generator, logits[:, position - step.start], position, before)
                chosen = self.ids[:, step]

    def _agree(self, generator: Generator, logits: Tensor, position: int, before: Tensor) -> None:
        """Logits [B, K] of a token must be those of its cost in `nll`."""
        changed = self._changed(position)
        # The difference between two tokens' costs needs no normalisation over other segments'
        # tokens.
        expected = (self.costs(generator, changed) - before)[:, position]
        one, other = (
            logits.gather(1, ids[:, position : position + 1])[:, 0] for ids in (self.ids, changed)
        )
        error = float((one - other - expected).abs().max())
        require(
            error < 10 * TOLERANCE,
            f"the logits of token {position} differ by {error:.2g} from the costs in `nll`; the "
            "state that decoding keeps does not do what the whole sequence does",
        )

    def prefix(self) -> None:
        generator = self.stepwise()
        spans = [step for _, step in step_spans(generator)]
        with torch.inference_mode():
            for last in range(1, len(spans)):
                state, chosen = generator.start(self.classes), None
                for step in spans[: last + 1]:
                    slow = generator.decode_step(state, chosen)
                    chosen = self.ids[:, step]
                length = spans[last].start
                fast = generator.decode_step(generator.start(self.classes), self.ids[:, :length])
                require(
                    torch.allclose(slow, fast, atol=10 * TOLERANCE),
                    f"the first {length} tokens read at once give other logits than read step by "
                    "step",
                )

    def states(self) -> None:
        generator = self.stepwise()
        other = self.ids.roll(1, dims=0)
        with torch.inference_mode():
            alone = list(self._decoded(generator, self.ids))
            both = zip(
                self._decoded(generator, self.ids), self._decoded(generator, other), strict=True
            )
            for number, (logits, _) in enumerate(both):
                require(
                    torch.equal(logits, alone[number]),
                    f"the logits of step {number} change while another state is decoded; keep all "
                    "that decoding remembers in the state",
                )

    def _decoded(self, generator: AutoregressiveGenerator[Any], ids: Tensor) -> Iterator[Tensor]:
        """The logits of each step, as the sampler asks for them."""
        state, chosen, before = generator.start(self.classes), None, slice(0)
        for _, step in step_spans(generator):
            yield generator.decode_step(state, chosen)
            require(
                chosen is None or torch.equal(chosen, ids[:, before]),
                "`decode_step` changes `chosen`",
            )
            chosen, before = ids[:, step].clone(), step

    def sampling(self) -> None:
        generator = self.make()
        layout, none = self.layout, self.spec.none_label
        half = self.ids[:, : layout.length // 2]
        every = [None, half]
        if isinstance(generator, AutoregressiveGenerator):  # others may fix only first tokens
            every.append(fixed_at(self.ids, range(1, layout.length, 2)))
        for sampling in (Sampling(), Sampling(guidance={ALL_TOKENS: Guidance(scale=3.0)})):
            for fixed in every:
                draw = partial(draw_ids, generator, sampling, none)
                together = draw(self.classes, fixed, "conformance")
                try:
                    layout.check(together, BATCH)
                except ValueError as error:
                    raise Broken(f"drawn {error}") from None
                alone = [
                    draw(
                        self.classes[i : i + 1],
                        None if fixed is None else fixed[i : i + 1],
                        "conformance",
                        first=i,
                    )
                    for i in range(BATCH)
                ]
                require(
                    torch.equal(torch.cat(alone), together),
                    "an image's ids change with the batch that it is drawn in, "
                    f"{'under' if sampling.guidance else 'without'} guidance",
                )

    def relaxed(self) -> None:
        generator = self.prior()
        plain = generator.token_losses(self.ids, self.classes)
        for segment in self.layout:
            part = self.ids[:, self.layout.span(segment.name)]
            one_hot = torch.nn.functional.one_hot(part, segment.vocabulary).float().requires_grad_()
            losses = generator.token_losses(self.ids, self.classes, relaxed={segment.name: one_hot})
            require(
                torch.allclose(losses, plain, atol=10 * TOLERANCE),
                (
                    f"the one-hot of segment {segment.name!r} in `relaxed` gives other losses than "
                    "its ids"
                ),
            )
            (gradient,) = torch.autograd.grad(losses.sum(), one_hot, allow_unused=True)
            require(
                gradient is not None and bool(gradient.abs().sum() > 0),
                f"no gradient reaches `relaxed[{segment.name!r}]`",
            )

    def dropped(self) -> None:
        generator = self.prior()
        first = self.layout.segments[0]
        mask = torch.zeros(BATCH, dtype=torch.bool)
        mask[0] = True
        with torch.inference_mode():
            plain = generator.token_losses(self.ids, self.classes)
            hidden = generator.token_losses(self.ids, self.classes, dropped={first.name: mask})
            other = self.ids
            other[0, 0] = (other[0, 0] + 1) % first.vocabulary
            blind = generator.token_losses(other, self.classes, dropped={first.name: mask})
        require(
            torch.allclose(hidden[1:], plain[1:], atol=TOLERANCE),
            "`dropped` changes images that its mask leaves out",
        )
        require(
            torch.allclose(blind[0, 1:], hidden[0, 1:], atol=TOLERANCE),
            f"with segment {first.name!r} dropped, later losses still depend on its tokens",
        )

    def draws(self) -> None:
        generator = self.make()
        one, two = (
            generator.draws(BATCH, partial(seeds.generator, "draws"), 0.0) for _ in range(2)
        )
        for name, value in one.items():
            require(
                len(value) == BATCH,
                f"`draws[{name!r}]` has {len(value)} entries for {BATCH} images",
            )
            require(
                torch.equal(value, two[name]),
                f"`draws[{name!r}]` differs the second time; draw from what `random` gives",
            )
        with torch.inference_mode():
            losses: Callable[..., Tensor] = generator.losses
            whole = losses(self.ids, self.classes, **one)
            parts = [
                losses(self.ids[i : i + 1], self.classes[i : i + 1], **_rows(one, i))
                for i in range(BATCH)
            ]
        require(
            torch.allclose(torch.cat(parts), whole, atol=10 * TOLERANCE),
            "an image's losses change with the batch that it and its draws are in",
        )

    def labels(self) -> None:
        generator = self.make()
        with torch.inference_mode():
            found = torch.stack(
                [
                    self.losses(generator, torch.full((BATCH,), label))
                    for label in range(self.spec.labels)
                ]
            )
        require(float(found.std(dim=0).max()) > 0, "the label makes no difference")

    def gradient(self) -> None:
        generator = self.make().train()
        self.losses(generator).mean().backward()  # type: ignore[no-untyped-call]
        missing = parameters_without_gradient(generator)
        require(not missing, f"the losses do not reach {', '.join(missing[:3])}")

    def step(self, generator: Generator, step: int) -> Tensor:
        """What a step of training lowers."""
        return self.losses(generator).mean()

    def parameters(self) -> None:
        check_parameters(self.make(), self.step)

    def resume(self) -> None:
        check_resuming(self.make, self.step)

    def state(self) -> None:
        def train(generator: Generator) -> None:
            ShortTraining(generator, self.step).run(0, STEPS)

        check_state(self.make, self.answer, train)

    def pickling(self) -> None:
        check_pickling(self.make(), self.answer)

    def device(self) -> None:
        def run(moved: Generator, device: torch.device) -> None:
            ids, labels = self.ids.to(device), self.classes.to(device)
            with torch.inference_mode():
                moved.nll(ids, labels)
                if isinstance(moved, AutoregressiveGenerator):
                    state, chosen = moved.start(labels), None
                    for _, step in step_spans(moved)[:2]:
                        moved.decode_step(state, chosen)
                        chosen = ids[:, step]
                else:
                    draw_ids(moved, Sampling(), self.spec.none_label, labels, None, "device")

        check_devices(self.make(), run)
