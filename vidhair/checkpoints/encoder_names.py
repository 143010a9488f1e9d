"""Official parameter names of the encoders, ArcFace and the BiSeNet parsers → ours, as data."""

from vidhair.checkpoints.official import NameMap

Table = tuple[tuple[str, str], ...]

IRSE50: Table = (
    (r"input_layer\.([0-2])\.(\w+)", r"backbone.stem.\1.\2"),
    (r"body\.(\d+)\.res_layer\.([0-4])\.(\w+)", r"backbone.blocks.\1.main.\2.\3"),
    (r"body\.(\d+)\.res_layer\.5\.fc1\.weight", r"backbone.blocks.\1.main.5.squeeze.weight"),
    (r"body\.(\d+)\.res_layer\.5\.fc2\.weight", r"backbone.blocks.\1.main.5.excite.weight"),
    (r"body\.(\d+)\.shortcut_layer\.([01])\.(\w+)", r"backbone.blocks.\1.shortcut.\2.\3"),
)


def _basic_block(theirs: str, ours: str) -> Table:
    return (
        (rf"{theirs}\.conv1\.weight", rf"{ours}.main.0.weight"),
        (rf"{theirs}\.bn1\.(?P<kind>\w+)", rf"{ours}.main.1.\g<kind>"),
        (rf"{theirs}\.conv2\.weight", rf"{ours}.main.3.weight"),
        (rf"{theirs}\.bn2\.(?P<kind>\w+)", rf"{ours}.main.4.\g<kind>"),
        (rf"{theirs}\.downsample\.(?P<k>[01])\.(?P<kind>\w+)", rf"{ours}.shortcut.\g<k>.\g<kind>"),
    )


RESTYLE_RESNET34: Table = (
    (r"conv1\.weight", "backbone.stem.0.weight"),
    (r"bn1\.(\w+)", r"backbone.stem.1.\1"),
    (r"relu\.weight", "backbone.stem.2.weight"),
    *_basic_block(r"body\.(\d+)", r"backbone.blocks.\1"),
)
HEADS: Table = (
    (r"styles\.(\d+)\.convs\.(\d+)\.(\w+)", r"heads.\1.convolutions.\2.\3"),
    (r"styles\.(\d+)\.linear\.(\w+)", r"heads.\1.linear.\2"),
)
PYRAMID: Table = (
    (r"latlayer1\.(\w+)", r"lateral_middle.\1"),
    (r"latlayer2\.(\w+)", r"lateral_fine.\1"),
)

PYRAMID_ENCODER = NameMap((*IRSE50, *HEADS, *PYRAMID))  # pSp and e4e
W_ENCODER = NameMap((*IRSE50, (r"linear\.(\w+)", r"linear.\1")))
RESTYLE_IRSE50_ENCODER = NameMap((*IRSE50, *HEADS))
RESTYLE_RESNET34_ENCODER = NameMap((*RESTYLE_RESNET34, *HEADS))

_SKETCH_HEADS: Table = tuple(
    (rf"output_layer_{layer}\.([03])\.(\w+)", rf"heads.{head}.\1.\2")
    for head, layer in enumerate((3, 4, 5))
)
# The last stage of its backbone is stored but never runs.
SKETCH_ENCODER = NameMap((*IRSE50, *_SKETCH_HEADS), unused=(r"body\.2[1-3]\..+",))

FACE_IDENTITY = NameMap(
    (
        *IRSE50,
        (r"output_layer\.0\.(\w+)", r"head.0.\1"),
        (r"output_layer\.3\.(\w+)", r"head.2.\1"),
        (r"output_layer\.4\.(\w+)", r"head.3.\1"),
    )
)


def _block(theirs: str, ours: str) -> Table:
    return (
        (rf"{theirs}\.conv\.weight", rf"{ours}.0.weight"),
        (rf"{theirs}\.bn\.(\w+)", rf"{ours}.1.\1"),
    )


def _refinement(theirs: str, ours: str) -> Table:
    return (
        *_block(rf"{theirs}\.conv", f"{ours}.block"),
        (rf"{theirs}\.conv_atten\.weight", f"{ours}.attention.0.weight"),
        (rf"{theirs}\.bn_atten\.(\w+)", rf"{ours}.attention.1.\1"),
    )


def _label_head(theirs: str, ours: str) -> Table:
    return (
        *_block(rf"{theirs}\.conv", f"{ours}.0"),
        (rf"{theirs}\.conv_out\.weight", f"{ours}.1.weight"),
    )


def _resnet18(theirs: str, ours: str) -> Table:
    """Stage and block numbers → one row of blocks, two of them per stage."""
    table = [
        (rf"{theirs}\.conv1\.weight", f"{ours}.stem.0.weight"),
        (rf"{theirs}\.bn1\.(\w+)", rf"{ours}.stem.1.\1"),
    ]
    for stage in range(4):
        for block in range(2):
            name = rf"{theirs}\.layer{stage + 1}\.{block}"
            table += _basic_block(name, f"{ours}.blocks.{2 * stage + block}")
    return tuple(table)


BISENET: Table = (
    *_resnet18(r"cp\.resnet", "context.backbone"),
    *_refinement(r"cp\.arm16", "context.refine_16"),
    *_refinement(r"cp\.arm32", "context.refine_32"),
    *_block(r"cp\.conv_head16", "context.merge_16"),
    *_block(r"cp\.conv_head32", "context.merge_32"),
    *_block(r"cp\.conv_avg", "context.whole"),
    *_block(r"ffm\.convblk", "fusion.block"),
    (r"ffm\.conv1\.weight", "fusion.attention.0.weight"),
    (r"ffm\.conv2\.weight", "fusion.attention.2.weight"),
    *_label_head("conv_out", "head"),
)
CELEBAMASK_PARSER = NameMap(
    (*BISENET, *_label_head("conv_out16", "head_8"), *_label_head("conv_out32", "head_16"))
)
# Its heads for training alone may be stored.
HAIRCLIP_PARSER = NameMap(BISENET, unused=(r"conv_out(16|32)\..+",))
