"""Temporal smoothing. The official output lacks the ends, where taps are missing."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.golden.runner import CannotServe, Case, Results, adapter
from vidhair.stages.smooth import average_fine_layers, smooth_over_time


@adapter("smooth")
def check_smooth(case: Case) -> Results:
    kernel = np.array(case.options["kernel"], np.float64)
    if len(kernel) % 2 == 0:
        raise CannotServe("kernel", kernel.tolist(), "an even number of taps has no middle one")
    total, reach = kernel.sum() / case.options["divide_by"], len(kernel) // 2
    first = case.options["average_layers_from"]

    def smoothed(values: NDArray[Any]) -> NDArray[Any]:
        steady = smooth_over_time(values, taps=kernel)
        whole: NDArray[Any] = (steady * total)[reach : len(values) - reach]  # ours sum to one
        return whole

    latents, edited = case.data["latents"], case.data["edit/latents"]
    averaged = [average_fine_layers(codes, first, codes.mean(0)) for codes in (latents, edited)]
    transforms = smoothed(case.data["landmarks_transforms"])
    yield "smooth_ws", smoothed(latents)
    yield "inversion/latents", smoothed(averaged[0])
    yield "inversion/transforms", transforms
    yield "edit/smoothed_latents", smoothed(averaged[1])
    yield "edit/smoothed_transforms", transforms
    for name in (n for n in case.outputs if n.startswith("s_smooth/")):
        yield name, smoothed(case.data[name.replace("s_smooth/", "s/")])
