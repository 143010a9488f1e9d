"""Temporal smoothing. The official output is four frames shorter: output i is our frame i + 2."""

from tests.golden.runner import Case, adapter
from vidhair.stages.smooth import average_fine_layers, smooth_over_time


@adapter("smooth")
def check_smooth(case: Case):
    first = case.options["average_layers_from"]
    latents, edited = case.data["latents"], case.data["edit/latents"]
    averaged = (average_fine_layers(codes, first, codes.mean(0)) for codes in (latents, edited))
    inverted, changed = (smooth_over_time(codes)[2:-2] for codes in averaged)
    transforms = smooth_over_time(case.data["landmarks_transforms"])[2:-2]
    yield "smooth_ws", smooth_over_time(latents)[2:-2]
    yield (
        "inversion/latents",
        inverted,
    )
    yield "inversion/transforms", transforms
    yield (
        "edit/smoothed_latents",
        changed,
    )
    yield "edit/smoothed_transforms", transforms
    for name in (n for n in case.outputs if n.startswith("s_smooth/")):
        yield name, smooth_over_time(case.data[name.replace("s_smooth/", "s/")])[2:-2]
