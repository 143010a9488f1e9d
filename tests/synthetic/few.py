"""Hair of few strands, for tests in a moment."""

from dataclasses import replace

from vidhair.synthetic.strands import StrandStyle


def thinned(style: StrandStyle, share: float) -> StrandStyle:
    """The same style with a share of the strands, each wider."""
    count = max(1, round(style.count * share))
    return replace(style, count=count, width=style.width * style.count / count)
