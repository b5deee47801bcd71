"""Parameters of a module that no optimizer trains though they want a gradient."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import nn


def problem_of(
    module: nn.Module, known: Mapping[str, nn.Parameter], learned: Iterable[nn.Parameter]
) -> tuple[str, str] | None:
    """The first parameter that is not trained, by its name, and what became of it; None of none.

    `known` are the module's parameters by name as they were when the optimizers were given
    `learned`. A parameter that is switched off since is none of them: its optimizer waits for a
    gradient.
    """
    now = dict(module.named_parameters())
    here = {id(each) for each in now.values()}
    trained = {id(each) for each in learned}
    for name, before in known.items():
        if id(before) in trained and id(before) not in here:
            return name, (
                "was replaced during training, so that no optimizer trains it; change it in place "
                "(under torch.no_grad(), parameter.copy_(values))"
            )
    for name, each in now.items():
        if not each.requires_grad or id(each) in trained:
            continue
        if known.get(name) is each:
            return name, (
                "was switched on during training, so that no optimizer trains it; let it want a "
                "gradient from the start, and detach it in `losses` until then"
            )
        return name, (
            "was added during training, so that no optimizer trains it; make it in the constructor"
        )
    return None
