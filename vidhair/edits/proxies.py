"""One change of what a generator is told that gives a person other hair, found on a few frames.

A proxy (HairCLIPv2, Wei et al. 2023, section 3.3) is the person with other hair, drawn by the
generator. Theirs is a picture; here it is a change that is added to every frame of a clip, so it is
optimised on frames of different poses together. N keyframes, L codes, D width of a code.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from vidhair.edits.hair_losses import background_loss, gram_matrices, shape_loss, style_loss
from vidhair.geometry import Grid
from vidhair.imaging.warp import cut_grid
from vidhair.models.encoders.attributes import MOVING, AttributeSpace
from vidhair.models.generators.aligned import MovableSynthesis
from vidhair.models.parsers.face_parser import Label
from vidhair.models.parsers.head_parser import Parser
from vidhair.models.perceptual import FeaturesDistance
from vidhair.stages.align import FaceTrack
from vidhair.stages.labels import canvas_guides, parser_grid
from vidhair.stages.render import (
    FEATURES_REACH,
    Canvas,
    Codes,
    Drawer,
    carried,
    input_transforms,
    styled,
)
from vidhair.stages.smooth import Pivots
from vidhair.wiring import Series

RATE = 0.01  # step length of Adam, of all loops of HairCLIPv2
# Weights of the published loops; that of a step's length damps the next one. Textures by other
# features than VGG16's are compared relative to what is wanted, which needs none.
STYLE, STEADY, SHAPE, BACKGROUND = 4e4, 1e3, 1.0, 10.0
RELATIVE_STYLE = 1.0
SPACES = ("w+", "s", "f")


@dataclass(frozen=True)
class Scene:
    """Frames with a face, as the generator draws them on the box.

    codes: [N, L, D]; transforms: [N, 3, 3]; pictures: [N, 3, R, R] without an edit, −1 … 1; hair:
    [N, 1, R, R] in 0 … 1 there. guides: of the parser.
    """

    synthesis: MovableSynthesis
    codes: Tensor
    transforms: Tensor
    canvas: Canvas
    parser: Parser
    grid: Grid
    guides: Tensor
    pictures: Tensor
    hair: Tensor
    dtype: torch.dtype

    @classmethod
    @torch.no_grad()
    def of(
        cls,
        synthesis: MovableSynthesis,
        codes: Tensor,
        transforms: Tensor,
        meshes: NDArray[np.float32],
        canvas: Canvas,
        parser: Parser,
        face_pixels: int,
        dtype: torch.dtype,
    ) -> "Scene":
        """canvas: the box alone. meshes: [N, 478, 2] in pixels of the frame."""
        grid = parser_grid(canvas, parser, face_pixels)
        guides = canvas_guides(meshes, canvas, grid).to(codes.device)
        drawn = [
            synthesis(codes[k : k + 1], transform=transforms[k : k + 1], dtype=dtype)
            for k in range(len(codes))
        ]
        bare = cls(
            synthesis, codes, transforms, canvas, parser, grid, guides, torch.cat(drawn),
            torch.zeros(()), dtype,
        )  # fmt: skip
        hair = [
            bare.hair_of(bare.scores(bare.pictures[k : k + 1], slice(k, k + 1)))
            for k in range(len(codes))
        ]
        return cls(**{**vars(bare), "hair": torch.cat(hair)})

    def rows(self, rows: Tensor | slice) -> "Scene":
        """Some of the frames."""
        names = ("codes", "transforms", "guides", "pictures", "hair")
        return Scene(**{**vars(self), **{name: getattr(self, name)[rows] for name in names}})

    def scores(self, pictures: Tensor, rows: Tensor | slice) -> Tensor:
        """The parser's logits [B, labels, h, w] for pictures of some of the frames, on its grid."""
        image = cut_grid(pictures, self.grid, padding="border")
        scores: Tensor = self.parser(image, self.guides[rows])
        return scores

    def hair_of(self, scores: Tensor) -> Tensor:
        """How likely hair is, [B, 1, R, R]."""
        hair = scores.softmax(1)[:, Label.HAIR : Label.HAIR + 1]
        return cut_grid(hair, self.box, on=self.grid, padding="border").clamp(0, 1)

    def on_grid(self, mask: Tensor) -> Tensor:
        """A mask [B, 1, R, R] on the parser's grid."""
        return cut_grid(mask, self.grid, on=self.box, padding="border").clamp(0, 1)

    @property
    def box(self) -> Grid:
        return Grid.of_pixels(self.canvas.height, self.canvas.width)


def scene_at(
    frames: NDArray[np.intp],
    codes: Series[Codes],
    pivots: Series[Pivots],
    track: Series[FaceTrack],
    canvas: Canvas,
    drawer: Drawer,
    parser: Parser,
    face_pixels: int,
    dtype: torch.dtype,
) -> Scene:
    """Some frames [N] of a clip, all of which show the face."""
    rows = [(frame, frame + 1) for frame in frames.tolist()]
    device = next(drawer.synthesis.parameters()).device
    styles = np.concatenate([codes.rows(*one).styles for one in rows])
    places = [input_transforms(pivots.rows(*one).similarity, device) for one in rows]
    meshes = np.concatenate([track.rows(*one).mesh for one in rows])
    given = torch.from_numpy(styles).to(device), torch.cat(places), meshes
    return Scene.of(drawer.synthesis, *given, canvas.nominal, parser, face_pixels, dtype)


@dataclass(frozen=True)
class Aim:
    """What a proxy is to look like.

    start: [M, L, D], the change to begin with, M of one or N. textures: Gram matrices [N] of the
    hair that is wanted, by `gram_matrices`; none for no matter. hair: [N, 1, R, R] where it is
    wanted, and certain: [N] in 0 … 1, how sure that is. sees: another loss, of [B, 3, R, R] of
    some of the frames, and which these are, [B]. reading: [Q], what the encoder is to read of the
    attributes `read`, if they are known.
    """

    start: Tensor
    hair: Tensor
    certain: Tensor
    textures: list[list[Tensor]] | None = None
    sees: Callable[[Tensor, Tensor], Tensor] | None = None
    read: tuple[str, ...] = ()
    reading: Tensor | None = None


def still(change: Tensor, space: AttributeSpace | None) -> Tensor:
    """A change of codes [..., L, D] without what moves the face: pose, expression and light stay
    those of each frame.

    The first code, which turns and moves StyleGAN3's picture, stays as it is; so does the second,
    which has a say in it, where nothing tells its share of that. Attributes do: the change is freed
    of what they read in it.
    """
    kept = change.clone()
    kept[..., 0, :] = 0
    if space is None or not space.knows_motion:
        kept[..., 1, :] = 0
        return kept
    index = space.index(MOVING)
    read, moves = (values[index].to(change) for values in (space.readout, space.directions))
    kept[..., 1:, :] -= kept[..., 1:, :] @ read.t() @ moves
    return kept


@dataclass(frozen=True, kw_only=True)
class Loop:
    """How a change is looked for. space: of SPACES. steps: towards the hair, by the codes of the
    first half; refine: then by all of them, so that all else stays. batch: frames per step."""

    space: str
    steps: int
    refine: int
    batch: int = 2
    seed: int = 0


def find_change(
    scene: Scene,
    aim: Aim,
    distance: FeaturesDistance,
    space: AttributeSpace | None,
    loop: Loop,
    progress: Callable[[int, float], None],
    *,
    published: bool = False,
) -> Tensor:
    """The change of codes [M, L, D], of styles [M, C] or of features [M, C, h, w], by the loop's
    space; one for all frames where `aim.start` is one, else one for each.

    published: whether the distance's features are those of VGG16, with the published weights.
    """
    first = scene.synthesis.halfway_codes
    change = begin(scene, still(aim.start, space), loop.space).requires_grad_()
    free = _free(scene, change, loop.space, first)
    optimiser = torch.optim.Adam([change], lr=RATE)
    rng, before = torch.Generator().manual_seed(loop.seed), change.detach().clone()
    order, each = torch.empty(0, dtype=torch.long), len(change) > 1
    for step in range(loop.steps + loop.refine):
        if len(order) < loop.batch:
            order = torch.cat([order, torch.randperm(len(scene.codes), generator=rng)])
        rows, order = order[: loop.batch], order[loop.batch :]
        if each:
            rows = torch.arange(len(scene.codes))
        refining = step >= loop.steps
        pictures = draw(scene, change if len(change) == 1 else change[rows], loop.space, rows)
        loss = loss_of(scene, aim, pictures, rows, distance, published, refining)
        loss = loss + STEADY * (change - before).square().mean()
        before = change.detach().clone()
        optimiser.zero_grad()
        loss.backward()
        assert change.grad is not None
        if not refining:
            change.grad *= free
        optimiser.step()
        if loop.space == "w+":
            with torch.no_grad():
                change.copy_(still(change, space))
        progress(step + 1, loss.item())
    return change.detach()


def loss_of(
    scene: Scene,
    aim: Aim,
    pictures: Tensor,
    rows: Tensor,
    distance: FeaturesDistance,
    published: bool,
    refining: bool,
) -> Tensor:
    """Of pictures [B, 3, R, R] of some of the frames."""
    scores = scene.scores(pictures, rows)
    hair = scene.hair_of(scores.detach())
    loss = SHAPE * shape_loss(scores, scene.on_grid(aim.hair[rows]), aim.certain[rows])
    if aim.textures is not None:
        got = gram_matrices(distance.features, pictures, hair)
        want = [aim.textures[row] for row in rows.tolist()]
        weight = STYLE if published else RELATIVE_STYLE
        loss = loss + weight * style_loss(got, want, relative=not published)
    if aim.sees is not None:
        loss = loss + aim.sees(pictures, rows)
    source, source_hair = scene.pictures[rows], scene.hair[rows]
    loss = loss + BACKGROUND * background_loss(pictures, source, hair, source_hair)
    if refining:
        outside = (1 - hair) * (1 - source_hair)
        seen = torch.lerp(source, pictures, outside)
        loss = loss + distance(seen, source, outside)
    return loss


def draw(scene: Scene, change: Tensor, space: str, rows: Tensor | slice) -> Tensor:
    """Some of the frames [B] with a change, of one or B: [B, 3, R, R]."""
    synthesis, codes, transforms = scene.synthesis, scene.codes[rows], scene.transforms[rows]
    if space == "w+":
        result: Tensor = synthesis(codes + change, transform=transforms, dtype=scene.dtype)
        return result
    of_styles = change.expand(len(codes), -1) if space == "s" else None
    styles = styled(synthesis, codes, of_styles)
    half = synthesis.halfway(styles, transform=transforms, dtype=scene.dtype)
    if space == "f":
        (places, *_) = synthesis.halfway_places(transforms)
        moved = carried(change.expand(len(codes), -1, -1, -1), places, transforms)
        half = half[0] + moved.to(half[0]), *half[1:]
    return synthesis.finished(half, styles, transform=transforms)


@torch.no_grad()
def begin(scene: Scene, start: Tensor, space: str) -> Tensor:
    """A change of codes [M, L, D] as one of another space, as near as that comes to it."""
    if space == "w+":
        return start.clone()
    synthesis, codes = scene.synthesis, scene.codes
    if space == "s":
        both = (synthesis.styles(x) for x in (codes, codes + start))
        change = torch.cat([new - old for old, new in zip(*both, strict=True)], 1)
        return change.mean(0, keepdim=True) if len(start) == 1 else change
    changes = []
    for row in range(len(codes)):
        one, own = slice(row, row + 1), slice(row, row + 1) if len(start) > 1 else slice(None)
        placed: Any = {"transform": scene.transforms[one], "dtype": scene.dtype}
        old, new = (
            synthesis.halfway(synthesis.styles(x), **placed)[0].float()
            for x in (codes[one], codes[one] + start[own])
        )
        (places, *_) = synthesis.halfway_places(scene.transforms[one])
        changes.append(brought_back(new - old, places, scene.transforms[one]))
    change = torch.cat(changes)
    return change.mean(0, keepdim=True) if len(start) == 1 else change


def brought_back(features: Tensor, places: Tensor, transforms: Tensor) -> Tensor:
    """The inverse of `carried`: features [B, C, h, w] at these places, over the aligned face.

    Nothing beyond them. As many samples per side of the face as they have of the picture.
    """
    steps = places[:, 0, 1] - places[:, 0, 0], places[:, 1, 0] - places[:, 0, 0]
    side = round(FEATURES_REACH / float(steps[0].norm(dim=-1).mean()))
    index = ((torch.arange(side) + 0.5) / side - 0.5).to(places) * FEATURES_REACH
    face = torch.stack(torch.meshgrid(index, index, indexing="xy"), -1)
    back = torch.linalg.inv(transforms)
    there = torch.einsum("hwk,bck->bhwc", face, back[:, :2, :2]) + back[:, None, None, :2, 2]
    # Samples of the features lie on a regular grid of the picture, if a turned one.
    axes = torch.linalg.inv(torch.stack(steps, -1))
    place = torch.einsum("bhwk,bck->bhwc", there - places[:, :1, :1], axes)
    size = place.new_tensor([features.shape[3], features.shape[2]])
    at = (place + 0.5) * 2 / size - 1
    found: Tensor = F.grid_sample(features, at, align_corners=False)
    return found


def _free(scene: Scene, change: Tensor, space: str, first: int) -> Tensor:
    """Which of a change's numbers the first steps may change: those of the first half."""
    if space == "f":
        return change.new_ones(1)
    if space == "w+":
        index = torch.arange(change.shape[1], device=change.device)
        return (index < first).to(change)[:, None]
    sizes = [style.shape[1] for style in scene.synthesis.styles(scene.codes[:1])]
    parts = [change.new_full((size,), float(k < first)) for k, size in enumerate(sizes)]
    return torch.cat(parts)
