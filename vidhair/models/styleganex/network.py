"""StyleGANEX (Yang et al. 2023) as a whole: a picture of any size → layout and style → a picture.

Two pictures may go in: the layout comes from the whole frame, the style from an aligned face. A
sketch or a label map can take the frame's place.

Shapes: B batch, L codes per picture, W width of a code, H, W sides of a picture, multiples of 8.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidhair.checkpoints.limits import shown
from vidhair.checkpoints.official import load_official
from vidhair.checkpoints.styleganex_names import styleganex
from vidhair.errors import WeightsDoNotFit
from vidhair.models.backbones.backbone import STEM
from vidhair.models.backbones.irse import UNITS
from vidhair.models.encoders.heads import SLOPE
from vidhair.models.encoders.style import GradualEncoder, StyleEncoderConfig
from vidhair.models.generators.stylegan2 import FIRST_SIZE, Noise, StyleGAN2Config
from vidhair.models.skip_init import SkipInit
from vidhair.models.styleganex.generator import (
    FEATURE_SIZE,
    EditAttention,
    SkipFusion,
    WideGenerator,
    WideSynthesis,
)

RGB = 3
CELL = 8  # pixels of the encoder's input per pixel of the first feature
ENCODER_SIZE = CELL * FEATURE_SIZE  # of aligned faces
FEATURE_TAPS = (10, 15, 20)
SKIP_TAPS = (20, 20, 15, 10, 6, 2, STEM)  # ahead of the generator's blocks 8, 16, … 512
LABEL_WIDTH, LABEL_BLOCKS = 16, 2
LAYOUT_CODES = 8  # of a label network: these codes come from the labels, the others from a style
TASKS = ("inversion", "super_resolution", "sketch", "mask", "edit", "toonify")


@dataclass(frozen=True, kw_only=True)
class StyleGANEXConfig:
    """What decides the shape of the network; plain values, so that JSON keeps it.

    skips: how many of the generator's blocks are fused with the encoder's features. The paper's
    l counts layers: 2·skips − 1. fuse_rgb: the picture so far is fused too. attention_depth: of
    the MLP over an editing vector; 0: no attention. label_channels: 1 for sketches, 19 for label
    maps, 0 if only pictures go in. label_blocks: residual blocks that labels go through.
    task: what it was trained for, one of TASKS, which no shape tells.
    """

    resolution: int = 1024
    w_dim: int = 512
    channel_base: int = 32768
    channel_max: int = 512
    mapping_layers: int = 8
    skips: int = 0
    fuse_rgb: bool = False
    attention_depth: int = 0
    label_channels: int = 0
    label_blocks: int = LABEL_BLOCKS
    task: str = "inversion"
    residual: bool = False
    styled: bool = True

    def __post_init__(self) -> None:
        assert self.resolution >= FEATURE_SIZE, f"{self.resolution} of {FEATURE_SIZE} pixels"
        assert self.w_dim % 8 == 0, f"codes of {self.w_dim} for features of w_dim / 8 and more"
        most = min(len(SKIP_TAPS), len(self.generator.sizes) - 1)
        assert 0 <= self.skips <= most, f"{self.skips} skips where {most} are possible"
        assert self.label_channels != RGB, f"labels of {RGB} channels look like pictures"
        assert self.task in TASKS, f"the task {self.task!r}, where one of {', '.join(TASKS)} is"
        plain = self.styled and not self.residual
        assert plain or not self.label_channels, "labels are no picture, and need a style"

    @property
    def generator(self) -> StyleGAN2Config:
        return StyleGAN2Config(
            resolution=self.resolution,
            z_dim=self.w_dim,
            w_dim=self.w_dim,
            channel_base=self.channel_base,
            channel_max=self.channel_max,
            mapping_layers=self.mapping_layers,
        )

    @property
    def encoder(self) -> StyleEncoderConfig:
        return StyleEncoderConfig(
            num_ws=self.generator.num_ws,
            w_dim=self.w_dim,
            size=ENCODER_SIZE,
            widths=tuple(self.w_dim // k for k in (8, 4, 2, 1)),
            units=None if self.styled else (*UNITS[:-1], 0),
        )


@dataclass(frozen=True)
class Layout:
    """Where things are in a picture: f [B, C, H/8, W/8], in place of the generator's constant,
    and the features to be fused with, coarse to fine; none of them: an inversion. picture:
    [B, 3, H, W], to which what is drawn is added, if it is."""

    feature: Tensor
    skips: tuple[Tensor, ...] = ()
    picture: Tensor | None = None

    def added(self, drawn: Tensor) -> Tensor:
        """What is drawn, or the picture with it: [B, 3, h, w]."""
        if self.picture is None:
            return drawn
        size = drawn.shape[2:]
        if size == self.picture.shape[2:]:
            return self.picture + drawn
        return drawn + F.interpolate(self.picture, size=size, mode="bicubic", antialias=True)


class _Residual(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.main = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(width, width, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(x + self.main(x), SLOPE)


def label_stem(channels: int, width: int, blocks: int) -> nn.Sequential:
    """T: labels → what the backbone's stem makes of pictures. Works at a quarter of the size."""
    inner = LABEL_WIDTH
    stem = nn.Sequential()
    for inputs in (channels, inner):
        stem.extend([nn.Conv2d(inputs, inner, 3, stride=2, padding=1), nn.LeakyReLU(SLOPE)])
    stem.extend(_Residual(inner) for _ in range(blocks))
    for _ in range(2):
        up = nn.ConvTranspose2d(inner, inner, 3, stride=2, padding=1, output_padding=1)
        stem.extend([up, nn.LeakyReLU(SLOPE)])
    last = nn.Conv2d(inner, width, 3, padding=1, bias=False)
    return stem.extend([last, nn.BatchNorm2d(width), nn.PReLU(width)])


class WideEncoder(GradualEncoder):
    """pSp's encoder for pictures of any size, which sees the layout too.

    Takes pictures [B, 3, H, W] in −1 … 1, and labels [B, label_channels, H, W] in 0 … 1 (strokes,
    or one-hot) where the configuration has any; the number of channels says which.
    """

    def __init__(self, config: StyleGANEXConfig):
        super().__init__(config.encoder, pooled=True)
        self.residual, self.styled = config.residual, config.styled
        for head in self.heads:
            head.folds = False  # they see one picture of a place: their weights stay in the file
        if not config.styled:
            del self.heads, self.lateral_middle, self.lateral_fine
        self.layout_taps = (*FEATURE_TAPS, *SKIP_TAPS[: config.skips])
        widths = [self.backbone.width_at(tap) for tap in FEATURE_TAPS]
        self.feature = nn.Conv2d(sum(widths), config.generator.channels(FIRST_SIZE), 1)
        self.label_channels = config.label_channels
        if config.label_channels:
            width = self.backbone.width_at(STEM)
            self.label_stem = label_stem(config.label_channels, width, config.label_blocks)

    def taps(self, image: Tensor, blocks: Sequence[int]) -> list[Tensor]:
        _, channels, height, width = image.shape
        labelled = channels == self.label_channels
        assert (labelled or channels == RGB) and height % CELL == width % CELL == 0, (
            f"pictures {tuple(image.shape)} for an encoder of {RGB} or {self.label_channels} "
            f"channels and of sides divisible by {CELL}"
        )
        stem = self.label_stem if labelled else self.backbone.stem
        return self.backbone.after_stem(stem(image), blocks)

    def forward(self, image: Tensor) -> Tensor:
        if self.styled:
            return super().forward(image)
        return image.new_zeros(len(image), self.config.num_ws, self.config.w_dim)

    def codes(self, fine: Tensor, middle: Tensor, coarse: Tensor) -> Tensor:
        """As pSp's, without kernels that prepare weights: these are most of the network's."""
        features = self.layer_features(fine, middle, coarse)
        return torch.stack([head(x) for head, x in zip(self.heads, features, strict=True)], 1)

    def layout(self, image: Tensor) -> Layout:
        return self._layout(image, self.taps(image, self.layout_taps))

    def codes_and_layout(self, image: Tensor) -> tuple[Tensor, Layout]:
        """Both from one pass: codes [B, L, W] relative to the average code."""
        if not self.styled:
            return self(image), self.layout(image)
        maps = self.taps(image, (*self.pyramid_taps, *self.layout_taps))
        count = len(self.pyramid_taps)
        return self.codes(*maps[:count]), self._layout(image, maps[count:])

    def _layout(self, image: Tensor, maps: list[Tensor]) -> Layout:
        count = len(FEATURE_TAPS)
        feature = self.feature(torch.cat(maps[:count], 1))
        return Layout(feature, tuple(maps[count:]), image if self.residual else None)


class StyleGANEX(nn.Module):
    """G(E_F(x1), E_w(x2)): render(encode_layout(frame), encode_style(face)).

    A frame of H × W becomes a picture of R/256 times its sides. For a label network, mix codes:
    the first LAYOUT_CODES of encode(labels), the others of encode_face or the generator's mapping
    (see `stylegan2.mix_codes`). Its batch norms saw both labels and faces in training; the authors
    render with the statistics of the picture itself (the mode of `train()`).
    """

    def __init__(self, config: StyleGANEXConfig):
        super().__init__()
        self.config = config
        self.folds = not config.label_channels  # else its statistics may be those of the picture
        self.encoder = WideEncoder(config)
        self.generator = WideGenerator(config.generator)
        pairs = zip(config.generator.sizes, SKIP_TAPS[: config.skips], strict=False)
        self.fusions = nn.ModuleList(self._fusion(size, tap) for size, tap in pairs)

    def _fusion(self, size: int, tap: int) -> SkipFusion:
        """For what the block of a size has made."""
        c = self.config
        channels, width = c.generator.channels(size), self.encoder.backbone.width_at(tap)
        depth = c.attention_depth
        look = EditAttention(channels, c.w_dim, depth) if depth else None
        return SkipFusion(width, channels, fuse_rgb=c.fuse_rgb, attention=look)

    @property
    def synthesis(self) -> WideSynthesis:
        return self.generator.synthesis

    @property
    def w_avg(self) -> Tensor:
        return self.generator.mapping.w_avg

    @property
    def times(self) -> float:
        """How many times the sides of what goes in those of what comes out are."""
        return self.config.resolution / ENCODER_SIZE

    def encode_style(self, image: Tensor) -> Tensor:
        """Pictures, aligned faces at best, or labels → W+ [B, L, W]."""
        result: Tensor = self.encoder(image) + self.w_avg
        return result

    def encode_layout(self, image: Tensor) -> Layout:
        """Pictures or labels [B, C, H, W] → feature and skips."""
        return self.encoder.layout(image)

    def encode(self, image: Tensor) -> tuple[Tensor, Layout]:
        """Style and layout of the same picture, in one pass."""
        codes, layout = self.encoder.codes_and_layout(image)
        return codes + self.w_avg, layout

    def encode_face(self, face: Tensor) -> Tensor:
        """For a label network: faces [B, 3, H, W] → W+, of which it uses the codes from
        LAYOUT_CODES on. These it has learned without the average code."""
        assert self.config.label_channels, "a network of pictures has encode_style"
        result: Tensor = self.encoder(face)
        return result

    def render(
        self,
        layout: Layout,
        ws: Tensor,
        *,
        editing: Tensor | None = None,
        noise: Noise | None = None,
    ) -> Tensor:
        """Layout and W+ [B or 1, L, W] → pictures [B, 3, H·R/256, W·R/256], about −1 … 1.

        editing: [B or 1, L, W], the vector v of a video edit. noise: default `stored_noise()` of
        the synthesis; `no_noise()` for video.
        """
        drawn = self.synthesis.render_fused(
            layout.feature, ws, layout.skips, self.fusions, editing=editing, noise=noise
        )
        return layout.added(drawn)

    def reduced(self, picture: Tensor) -> Tensor:
        """For losses: pictures of 1024 networks at a quarter of their sides, others as 256²."""
        if self.config.resolution == 4 * ENCODER_SIZE:
            return F.avg_pool2d(picture, 4)
        return F.adaptive_avg_pool2d(picture, ENCODER_SIZE)


# What the official options must say, where they say it: all published networks do.
SUPPORTED = {
    "encoder_type": "GradualStyleEncoder",
    "start_from_latent_avg": True,
    "learn_in_w": False,
    "max_pooling": False,
    "feat_ind": 0,
}

# What the options call the data that a network was trained on → its task.
DATASETS = {
    "ffhq_encode": "inversion",
    "ffhq_super_resolution": "super_resolution",
    "ffhq_sketch_to_face": "sketch",
    "ffhq_seg_to_face": "mask",
    "ffhq_edit": "edit",
    "toonify": "toonify",
}


def task_of(options: Mapping[str, Any], label_channels: int, attention_depth: int) -> str:
    """What an official network was trained for; where its shapes tell, they decide."""
    if label_channels:
        return "sketch" if label_channels == 1 else "mask"
    if attention_depth:
        return "edit"
    task = DATASETS.get(str(options.get("dataset_type")), "inversion")
    return "inversion" if task in ("sketch", "mask", "edit") else task


def styleganex_config(
    weights: Mapping[str, Tensor], options: Mapping[str, Any]
) -> StyleGANEXConfig:
    """The configuration of an official `state_dict`, by its names and shapes.

    options: the file's `opts`, for what no shape tells. Raises WeightsDoNotFit if these are no
    weights of StyleGANEX, or of a kind that was never published.
    """
    for name, needed in SUPPORTED.items():
        if (value := options.get(name, needed)) != needed:
            raise WeightsDoNotFit(
                f"StyleGANEX with the option {name} = {shown(value)} is not supported; "
                f"choose a file with {needed!r}"
            )

    def size(name: str, dimension: int) -> int:
        if name not in weights or weights[name].ndim <= dimension:
            raise WeightsDoNotFit(
                f"the weights lack StyleGANEX's {name}; choose the state_dict of its pSp network"
            )
        return weights[name].shape[dimension]

    def count(pattern: str) -> int:
        return sum(re.fullmatch(pattern, name) is not None for name in weights)

    last = max(0, count(r"decoder\.noises\.noise_\d+") - 1)
    resolution = size(f"decoder.noises.noise_{last}", 3)
    labels = "encoder.input_label_layer.model.0.weight"
    block = r"encoder\.input_label_layer\.model\.\d+\.conv_block\.0\.weight"
    label_channels = size(labels, 1) if labels in weights else 0
    attention_depth = max(0, count(r"encoder\.fusion\.0\.linear\.\d+\.weight") - 1)
    try:
        return StyleGANEXConfig(
            resolution=resolution,
            w_dim=size("encoder.styles.0.linear.weight", 0),
            channel_base=resolution * size(f"decoder.convs.{last - 1}.activate.bias", 0),
            channel_max=size("encoder.featlayer.weight", 0),
            mapping_layers=count(r"decoder\.style\.\d+\.weight"),
            skips=min(count(r"encoder\.fusion\.\d+\.fusion_out\.weight"), last // 2),
            fuse_rgb="encoder.fusion.0.fusion_skip.weight" in weights,
            attention_depth=attention_depth,
            label_channels=label_channels,
            label_blocks=count(block) if labels in weights else LABEL_BLOCKS,
            task=task_of(options, label_channels, attention_depth),
        )
    except AssertionError as error:
        raise WeightsDoNotFit(
            f"the weights do not have StyleGANEX's shape ({error}); "
            "choose the state_dict of its pSp network"
        ) from error


def load_styleganex(
    weights: Mapping[str, Tensor], options: Mapping[str, Any], latent_avg: Tensor
) -> StyleGANEX:
    """The network of an official file, in evaluation mode.

    weights, options, latent_avg: its `state_dict`, `opts` and average code, [W] or, repeated for
    every layer, [L, W]. Raises WeightsDoNotFit.
    """
    config = styleganex_config(weights, options)
    with SkipInit():
        network = StyleGANEX(config)
    names = styleganex(len(config.generator.sizes), config.mapping_layers, config.skips)
    load_official(network, {**weights, "latent_avg": one_average(latent_avg)}, names)
    return network.eval()


def one_average(latent_avg: object) -> Tensor:
    """The average code [W] of a file that may repeat it for every layer. Raises WeightsDoNotFit."""
    if not isinstance(latent_avg, Tensor) or not latent_avg.ndim or not latent_avg.numel():
        raise WeightsDoNotFit(
            "StyleGANEX's latent_avg is missing; choose a file that holds it beside its state_dict"
        )
    average = latent_avg.reshape(-1, latent_avg.shape[-1])
    if not torch.equal(average, average[:1].expand_as(average)):
        raise WeightsDoNotFit(
            f"latent_avg {tuple(latent_avg.shape)} differs between layers; "
            "choose a file with one average code"
        )
    return average[0]
