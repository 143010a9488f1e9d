"""Official parameter names → ours, as data. Loading must leave nothing out on either side."""

import re
from collections.abc import Iterable

# (official pattern, our name); filters are designed, not loaded.
STYLEGAN3 = (
    (r"mapping\.w_avg", "mapping.w_avg"),
    (r"mapping\.embed\.(weight|bias)", r"mapping.embed.\1"),
    (r"mapping\.fc(\d+)\.(weight|bias)", r"mapping.layers.\1.\2"),
    (r"synthesis\.input\.(.+)", r"synthesis.input.\1"),
    (r"synthesis\.L(\d+)_\d+_\d+\.((?!up_filter|down_filter).+)", r"synthesis.layers.\1.\2"),
)


def rename(names: Iterable[str], table: tuple[tuple[str, str], ...]) -> dict[str, str]:
    """Official → ours for every name that a pattern of the table covers whole."""
    found = {}
    for name in names:
        for pattern, ours in table:
            match = re.fullmatch(pattern, name)
            if match:
                found[name] = match.expand(ours)
                break
    return found


def stylegan3_names(names: Iterable[str]) -> dict[str, str]:
    """Names of NVIDIA's StyleGAN3 `Generator`."""
    return rename(names, STYLEGAN3)
