"""What a step gives, on whatever device it was made."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch


class Found(NamedTuple):
    """What a step gave.

    Attributes:
        learner: the class that made the update, "" where nothing learns.
        values: vectors on the CPU by name: what the update told (`loss`), `gradient`,
            `weights` after it, `scores`; of a front end `features`.
    """

    learner: str
    values: dict[str, torch.Tensor]


Step = Callable[[str], Found]


def vector_of(value: Any) -> torch.Tensor:
    """Numbers of any kind as one vector, a copy on the CPU."""
    return torch.as_tensor(value).detach().cpu().flatten().clone()
