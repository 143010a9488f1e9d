"""Edits of codes: directions and mappers."""

import numpy as np
import torch
from torch import nn

from tests.golden.runner import CannotServe, Case, Results, adapter
from vidhair.checkpoints.generator_names import STYLECLIP_LEVELS, STYLECLIP_SINGLE
from vidhair.checkpoints.official import NameMap, load_official
from vidhair.edits import latents
from vidhair.models.mappers import (
    COARSE_END,
    MEDIUM_END,
    STYLECLIP_STRENGTH,
    CodeMapper,
    LevelsMapper,
)

STYLECLIP_SPLIT = f"coarse 0:{COARSE_END}, medium {COARSE_END}:{MEDIUM_END}, fine {MEDIUM_END}:"
OFFICIAL = {"coarse": "course_mapping", "medium": "medium_mapping", "fine": "fine_mapping"}


@adapter("styleclip_mapper")
@torch.no_grad()
def check_mappers(case: Case) -> Results:
    w = case.tensor("w")
    case.options.expect("split", STYLECLIP_SPLIT)
    absent = case.options.get("no_mapper", "")
    for name in case.spec["models"]:
        weights = case.weights(name)
        if name == f"levels_no_{absent}" and any(n.startswith(OFFICIAL[absent]) for n in weights):
            raise CannotServe("no_mapper", absent, f"the model {name} has that level")
        mapper, names = _mapper(weights, w.shape[-1])
        load_official(mapper, weights, names)
        change = mapper(w)
        yield f"{name}/out", change
        if f"{name}/w_hat" in case.outputs:
            yield f"{name}/w_hat", latents.add_change(w, change, STYLECLIP_STRENGTH)


def _mapper(weights: dict[str, torch.Tensor], w_dim: int) -> tuple[nn.Module, NameMap]:
    """The mapper whose levels are those that the parameters name."""
    parts = {name.split(".")[0] for name in weights}
    if parts == {"mapping"}:
        return CodeMapper(w_dim), STYLECLIP_SINGLE
    levels = {level: part in parts for level, part in OFFICIAL.items()}
    return LevelsMapper(w_dim, **levels), STYLECLIP_LEVELS


def _sefa_layers(case: Case, indices: list[int] | str) -> tuple[list[str], list[int]]:
    """Layers whose weights count, and codes that are edited.

    Index 0 is the first convolution: it counts and is never edited; index l is the l − 1st of the
    later ones and edits the code l − 1.
    """
    if isinstance(indices, str):
        if indices != "all":
            raise CannotServe("indices", indices, "it is neither a list nor 'all'")
        later = sum(name.startswith("sefa/convs.") for name in case.data)
        indices = list(range(later + 1))
    codes = [index - 1 for index in indices if index]
    first = ["conv1"] if 0 in indices else []
    return [*first, *(f"convs.{code}" for code in codes)], codes


def _sefa(case: Case) -> Results:
    options = case.options["sefa"]
    names, codes = _sefa_layers(case, options["indices"])
    if codes != options["layers_edited"]:
        raise CannotServe("layers_edited", options["layers_edited"], f"the indices give {codes}")
    weights = [case.tensor(f"sefa/{name}") for name in names]
    directions, values = latents.factorize(weights)
    # The official order and signs are the eigensolver's own; ours is by size.
    reference = case.tensor("sefa/boundaries")
    likeness = reference @ directions.t()
    order = likeness.abs().argmax(1)
    assert len(set(order.tolist())) == len(order)
    directions = directions[order] * likeness.gather(1, order[:, None]).sign()
    yield "sefa/boundaries", directions
    yield "sefa/eigen_values", values[order]
    distances = np.linspace(options["start_distance"], options["end_distance"], options["step"])
    ws = case.tensor("sefa/latents")
    edits = [
        latents.along_in_codes(ws, direction, float(distance), codes)
        for direction in directions[: options["semantics"]]
        for distance in distances
    ]
    yield "sefa/edits", torch.cat(edits)


@adapter("edit_directions")
def check_directions(case: Case) -> Results:
    options = case.options["interfacegan"]
    ws, direction = case.tensor("ifg/latents"), case.tensor("ifg/direction")
    factors = torch.arange(*options["factor_range"])
    options.expect("n_edits", len(factors), f"the range has {len(factors)}")
    edited = latents.along(ws, direction, factors.view(-1, 1, 1, 1))
    stride = int(case.said("ifg/range_edits", r"::(\d+)", "5"))
    yield "ifg/range_edits", edited[:, :, ::stride]
    yield "ifg/factor_edit", latents.along(ws, direction, options["factor"])

    ws, mean = case.tensor("ganspace/latents"), case.tensor("ganspace/mean")
    components, stds = case.tensor("ganspace/comp"), case.tensor("ganspace/std")
    case.options["ganspace"].expect("order", "for each latent, for each direction")
    edits = [
        latents.set_component(ws, mean, components[k], stds[k], value, slice(start, stop))
        for k, start, stop, value in case.options["ganspace"]["edit_directions"]
    ]
    yield "ganspace/out", torch.stack(edits, dim=1).flatten(0, 1)

    yield from _sefa(case)

    options = case.options["global_direction"]
    wanted = latents.text_direction(
        case.tensor("global/text_embeddings_neutral"), case.tensor("global/text_embeddings_target")
    )
    yield "global/delta_i", wanted
    layers = list(options["channels"])
    deviations = [case.tensor(f"global/s_std/{layer}") for layer in layers]
    for layer, std in zip(layers, deviations, strict=True):
        options["channels"].expect(layer, len(std), f"its deviations are {len(std)}")
    effects = case.tensor("global/delta_i_c")
    changes = latents.style_direction(wanted, effects, deviations, options["beta"])
    for layer, change in zip(layers, changes, strict=True):
        yield f"global/direction/{layer}", change[None]
