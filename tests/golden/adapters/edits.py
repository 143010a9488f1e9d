"""Edits of codes: directions and mappers."""

import numpy as np
import torch
from torch import nn

from tests.golden.runner import Case, adapter
from vidhair.checkpoints.generator_names import STYLECLIP_LEVELS, STYLECLIP_SINGLE
from vidhair.checkpoints.official import NameMap, load_official
from vidhair.edits import latents
from vidhair.models.mappers import STYLECLIP_STRENGTH, CodeMapper, LevelsMapper


@adapter("styleclip_mapper")
@torch.no_grad()
def check_mappers(case: Case):
    w = case.tensor("w")
    models: dict[str, tuple[nn.Module, NameMap]] = {
        "levels": (LevelsMapper(), STYLECLIP_LEVELS),
        "levels_no_fine": (LevelsMapper(fine=False), STYLECLIP_LEVELS),
        "single": (CodeMapper(), STYLECLIP_SINGLE),
    }
    for name, (mapper, names) in models.items():
        load_official(mapper, case.weights(name), names)
        change = mapper(w)
        yield f"{name}/out", change
        if name == "levels":
            yield "levels/w_hat", latents.add_change(w, change, STYLECLIP_STRENGTH)


def _sefa(case: Case):
    options = case.options["sefa"]
    weights = [case.tensor(f"sefa/convs.{k}") for k in options["layers_edited"]]
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
    codes, ws = options["layers_edited"], case.tensor("sefa/latents")
    edits = [
        latents.along_in_codes(ws, direction, float(distance), codes)
        for direction in directions[: options["semantics"]]
        for distance in distances
    ]
    yield "sefa/edits", torch.cat(edits)


@adapter("edit_directions")
def check_directions(case: Case):
    options = case.options["interfacegan"]
    ws, direction = case.tensor("ifg/latents"), case.tensor("ifg/direction")
    distances = torch.arange(*options["factor_range"]).view(-1, 1, 1, 1)
    yield "ifg/range_edits", latents.along(ws, direction, distances)[:, :, ::5]
    yield "ifg/factor_edit", latents.along(ws, direction, options["factor"])

    ws, mean = case.tensor("ganspace/latents"), case.tensor("ganspace/mean")
    components, stds = case.tensor("ganspace/comp"), case.tensor("ganspace/std")
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
    stds = [case.tensor(f"global/s_std/{layer}") for layer in layers]
    effects = case.tensor("global/delta_i_c")
    changes = latents.style_direction(wanted, effects, stds, options["beta"])
    for layer, change in zip(layers, changes, strict=True):
        yield f"global/direction/{layer}", change[None]
