"""Load weights under official names into a module of ours, leaving nothing out on either side."""

import re
from collections.abc import Collection, Mapping

from torch import Tensor, nn

from vidhair.errors import PackDamaged


def load_official(
    module: nn.Module,
    weights: Mapping[str, Tensor],
    names: Mapping[str, str],
    *,
    unused: Collection[str] = (),
    absent: Collection[str] = (),
) -> None:
    """names: official → ours. unused: patterns of official names that have no place in ours.
    absent: our names that official weights may lack, and which then keep their values.

    A value may have extra dimensions of one, such as [1, C, 1, 1] for a bias [C].
    Raises PackDamaged, naming what is missing, unknown or of another shape.
    """
    own = module.state_dict()
    state, unknown = {}, []
    for official, value in weights.items():
        ours = names.get(official)
        if ours in own:
            state[ours] = _fitted(official, value, own[ours])
        elif not any(re.fullmatch(pattern, official) for pattern in unused):
            unknown.append(official)
    missing = [name for name in own if name not in state and name not in absent]
    for problem, found in (("unknown weights", unknown), ("no weights for", missing)):
        if found:
            listed = ", ".join(sorted(found)[:4]) + (" …" if len(found) > 4 else "")
            raise PackDamaged(
                f"{problem} {listed} in a {type(module).__name__}; "
                "give the checkpoint's own configuration"
            )
    module.load_state_dict({**own, **state})


def _fitted(official: str, value: Tensor, like: Tensor) -> Tensor:
    squeezed = [n for n in value.shape if n != 1]
    if squeezed != [n for n in like.shape if n != 1]:
        raise PackDamaged(
            f"{official} is {list(value.shape)} where {list(like.shape)} is needed; "
            "give the checkpoint's own configuration"
        )
    return value.reshape(like.shape)
