"""Official parameter names of StyleGANEX → ours, as data.

Its file holds {"state_dict", "latent_avg", "opts"}, and "editing_w" for an edit of videos.
"""

from vidhair.checkpoints.encoder_names import HEADS, IRSE50, PYRAMID
from vidhair.checkpoints.generator_names import stylegan2
from vidhair.checkpoints.official import NameMap

# `skiplayer` gives colors for a generator that starts behind its first block; none published does.
ENCODER = NameMap(
    (
        *IRSE50,
        *HEADS,
        *PYRAMID,
        (r"featlayer\.(weight|bias)", r"feature.\1"),
        (r"input_label_layer\.model\.(\d+)\.(\w+)", r"label_stem.\1.\2"),
        (r"input_label_layer\.model\.(\d+)\.conv_block\.(.+)", r"label_stem.\1.main.\2"),
    ),
    unused=(r"skiplayer\.(weight|bias)",),
)

# A list of fusion layers. An activation follows every linear layer of the attention, and counts
# in the official index.
FUSIONS = NameMap(
    (
        (r"(\d+)\.transform\.0\.(weight|bias)", r"\1.project.\2"),
        (r"(\d+)\.fusion_out\.(weight|bias)", r"\1.feature.\2"),
        (r"(\d+)\.fusion_skip\.(weight|bias)", r"\1.rgb.\2"),
        (r"(\d+)\.norm\.style\.(weight|bias)", r"\1.attention.style.\2"),
        (r"(\d+)\.conv\.(weight|bias)", r"\1.attention.mask.\2"),
        *(
            (rf"(\d+)\.linear\.{2 * k}\.(weight|bias)", rf"\1.attention.mlp.{k}.\2")
            for k in range(8)
        ),
    )
)
MOST_FUSIONS = 7


def styleganex(blocks: int, mapping_layers: int, skips: int) -> NameMap:
    """Names of a `state_dict` with `latent_avg` put beside its entries.

    blocks, mapping_layers: of the generator. skips: how many fusion layers it uses; a file may
    hold more, for blocks that this generator lacks.
    """
    parts = (
        ENCODER.within("encoder.", "encoder."),
        FUSIONS.within("encoder.fusion.", "fusions."),
        stylegan2(blocks, mapping_layers).within("decoder.", "generator."),
    )
    idle = (rf"encoder\.fusion\.{k}\..+" for k in range(skips, MOST_FUSIONS))
    return NameMap(
        (("latent_avg", "generator.mapping.w_avg"), *(row for p in parts for row in p.table)),
        unused=(*(pattern for p in parts for pattern in p.unused), *idle),
    )
