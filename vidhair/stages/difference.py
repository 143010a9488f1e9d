"""What an edit moves and tints in a drawn face, done to the source's own pixels.

The edit is looked at on a few people that are drawn well, whoever the clip shows: MediaPipe's mesh
is read from their pictures without and with it (`vidhair.models.faces.effects`). A pack can tell
this of its attributes; of others, and of directions, it is seen on the generator's own people. What
the points of the mesh do on average moves those of the person, as the face is turned, and the
picture follows smoothly in between. So the person, and what is sharp, stay the source's; a talking
mouth is moved from where it is; and nothing trembles, as the same motion goes for all frames.

P points of the mesh.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from vidhair.geometry import Grid, crop_axes
from vidhair.imaging.blur import blur
from vidhair.imaging.color import lab_to_rgb, rgb_to_lab
from vidhair.imaging.fill import fill
from vidhair.imaging.motion import flow
from vidhair.imaging.rows import by_rows
from vidhair.imaging.warp import spread_grid
from vidhair.models.encoders.attributes import AttributeSpace
from vidhair.models.faces.effects import (
    TINT_BLUR,
    Effect,
    EffectReader,
    at_points,
    colors_at,
    local,
    typical,
)
from vidhair.models.faces.expressions import OPEN_SMILE, opening, rise, with_face
from vidhair.models.faces.landmarks import FACE_OVAL, POINTS, eyes_and_mouth
from vidhair.models.generators.aligned import MovableGenerator
from vidhair.models.parsers.face_parser import polygon_mask
from vidhair.stages.align import FaceTrack
from vidhair.stages.fade import Fade
from vidhair.stages.layers import Layer, Patch, make_layer, patch_of, unit, window_of
from vidhair.stages.mouth import Mouth, Opening
from vidhair.stages.steady_face import SteadyFace, affine
from vidhair.types import Frames
from vidhair.wiring import Value, stage

PEOPLE = 8  # on whom an edit is looked at
TRIES = 3  # times as many are drawn, if in some no face is found
LIKENESS = 0.5  # truncation: how far they are from the generator's average face
DRAWN_SIDE = 512  # of their pictures, as the mesh is read from them
NEUTRAL = {"mouth_open": 0.0, "smile": 0.0, "yaw": 0.0, "pitch": 0.0}
CELLS = 96  # along a crop's side, in which the motion lies
SOFTNESS = 1.5  # blur of the motion, in cells
AROUND = 1.3  # size of the outline beyond which nothing moves, beside the face's oval
STILL, PLAIN = 1 / 64, 0.1  # pixels of motion, and tint in Lab, that are not seen
CUBIC_REACH = 4  # pixels around those that are sampled
SHARPEN = 0.1  # share of the detail of neighbouring pixels, where one lies between two in x and y
LARGEST_STEP = 1.1  # pixels of the source from one sample to the next that need no more samples


@dataclass(frozen=True)
class FaceEffect(Value):
    """What one unit of an edit does to a face that is seen from the front, as an `Effect`.

    seen: on how many drawn people it was seen; 0 if none shows a face that is found, so that the
    motion of their pictures had to tell; −1 if the pack tells it.
    """

    face: NDArray[np.float32]
    moved: NDArray[np.float32]
    tinted: NDArray[np.float32]
    seen: int

    @classmethod
    def of_effect(cls, effect: Effect, part: tuple[int, ...], seen: int) -> "FaceEffect":
        """part: points of the part of the face that it is for; none for all of it."""
        effect = with_face(local(effect, part) if part else effect)
        return cls(effect.face, effect.moved, effect.tinted, seen)


@dataclass(frozen=True)
class FaceMotion(Value):
    """What edits do to a face in every frame. moved: [T, P, 2] in pixels; tinted: [T, P, 3] in
    Lab."""

    ROWS = ("moved", "tinted")
    moved: NDArray[np.float32]
    tinted: NDArray[np.float32]


# ---- on drawn people


def drawn_people(generator: MovableGenerator, space: AttributeSpace | None) -> Iterator[Tensor]:
    """Codes [L, D] of the generator's own people, without an expression where it is known how to
    take it away."""
    config = generator.config
    source = torch.Generator().manual_seed(0)
    mean = generator.mapping.w_avg
    for _ in range(1 if config.c_dim else PEOPLE * TRIES):
        codes = mean.expand(config.num_ws, -1)
        if not config.c_dim:
            z = torch.randn(1, config.z_dim, generator=source).to(mean.device)
            codes = generator.mapping(z, truncation_psi=LIKENESS)[0]
        codes = codes.cpu()
        if space is not None and space.knows_motion:
            codes = codes + space.towards(codes, NEUTRAL)
        yield codes


@torch.inference_mode()
def pictures_of(generator: MovableGenerator, codes: Tensor) -> NDArray[np.uint8]:
    """uint8 [B, S, S, 3] of codes [B, L, D], at least DRAWN_SIDE large."""
    drawn = []
    device = generator.mapping.w_avg.device
    for one in codes.to(device).split(1):  # large ones need much memory
        image = generator.synthesis(one, transform=torch.eye(3, device=device)[None])
        levels = (image[0] * 127.5 + 127.5).round().clamp(0, 255).to(torch.uint8)
        picture = Image.fromarray(levels.permute(1, 2, 0).cpu().numpy())
        side = max(DRAWN_SIDE, picture.width)
        drawn.append(np.asarray(picture.resize((side, side), Image.Resampling.BICUBIC)))
    return np.stack(drawn)


def seen_effect(
    generator: MovableGenerator,
    space: AttributeSpace | None,
    change: Tensor,
    person: NDArray[np.float32],
) -> tuple[Effect, int]:
    """Of a change of codes [D] or [L, D], and on how many people it was seen.

    person: [P, 2], a face in sides of its crop, for where no drawn face is found.
    """
    read = EffectReader()
    found: list[Effect] = []
    pairs: list[tuple[NDArray[np.uint8], NDArray[np.uint8]]] = []
    for codes in drawn_people(generator, space):
        before, after = pictures_of(generator, torch.stack([codes, codes + change]))
        effect = read(before, after)
        if effect is not None:
            found.append(effect)
        elif len(pairs) < PEOPLE:
            pairs.append((before, after))
        if len(found) == PEOPLE:
            break
    read.close()
    if found:
        return typical(found), len(found)
    return typical([flowing_effect(*pair, person) for pair in pairs]), 0


def flowing_effect(
    before: NDArray[np.uint8], after: NDArray[np.uint8], face: NDArray[np.float32]
) -> Effect:
    """By the motion of the picture, at the points of another face [P, 2]."""
    side = len(before)
    reach = TINT_BLUR * side
    places = (face.astype(np.float64) + 0.5) * side
    motion = torch.from_numpy(flow(before, after)).movedim(-1, 0)[None]
    moved = at_points(blur(motion, reach), places)
    tinted = colors_at(after, places + moved, reach) - colors_at(before, places, reach)
    return Effect(face, (moved / side).astype(np.float32), tinted.astype(np.float32))


# ---- onto the frames


def motion_of(
    effect: FaceEffect,
    strength: NDArray[np.float32],
    track: FaceTrack,
    mesh: NDArray[np.float32],
    former: FaceMotion,
) -> FaceMotion:
    """That of one edit beside that of former ones. strength: [T]; mesh: [T, P, 2], steady."""
    moved, tinted = former.moved.copy(), former.tinted.copy()
    smiles = rise(Effect(effect.face, effect.moved, effect.tinted)) > 0
    for row in np.flatnonzero(track.present):
        onto, _ = affine(effect.face, mesh[row])
        ways = effect.moved
        if smiles:
            ways = ways * (1 + opening(mesh[row]) * (np.array(OPEN_SMILE) - 1))
        moved[row] += (ways @ onto.T * strength[row]).astype(np.float32)
        tinted[row] += effect.tinted * strength[row]
    return FaceMotion(moved, tinted)


@stage(keep=False)
def former_motion(track: FaceTrack) -> FaceMotion:
    """None, before the first edit."""
    count = len(track.present)
    zeros = np.zeros((count, POINTS, 5), np.float32)
    return FaceMotion(zeros[..., :2], zeros[..., 2:])


def dense(
    points: NDArray[np.float64], values: NDArray[np.float64], still: NDArray[Any], grid: Grid
) -> Tensor:
    """Values [P, C] at points [P, 2] of the frame, smoothly in between, [1, C, h, w] on a grid.

    still: [h, w], one where they fall to zero.
    """
    h, w = grid.height, grid.width
    place = grid.places(points) - 0.5
    low = np.floor(place).astype(int)
    sums = np.zeros((values.shape[1] + 1, h, w), np.float32)
    rows = np.concatenate([values, np.ones((len(values), 1))], 1)
    for right, down in ((0, 0), (1, 0), (0, 1), (1, 1)):
        x, y = low[:, 0] + right, low[:, 1] + down
        share = (1 - abs(place[:, 0] - x)) * (1 - abs(place[:, 1] - y))
        inside = (x >= 0) & (x < w) & (y >= 0) & (y < h)
        for channel, row in zip(sums, rows.T, strict=True):
            np.add.at(channel, (y[inside], x[inside]), (row * share)[inside])
    known, weight = sums[:-1] / (sums[-1:] + 1e-6), sums[-1:]
    # A point that lies between four cells is known in all of them.
    known, weight = known * (1 - still), np.maximum((4 * weight).clip(0, 1), still)
    filled = fill(
        torch.from_numpy(known)[None].float(), torch.from_numpy(weight)[None].float(), levels=6
    )
    moving = torch.from_numpy(1 - still)[None, None]
    return blur(filled, SOFTNESS) * blur(moving, SOFTNESS) * (moving > 0)


def field_grid(oval: NDArray[np.float64], side: float) -> Grid:
    """Where a face moves: its outline and a cell or two around it. oval: [N, 2] in pixels."""
    step = side / CELLS
    low, high = oval.min(0) - 3 * step, oval.max(0) + 3 * step
    width, height = np.ceil((high - low) / step).astype(int)
    return Grid(float(low[0]), float(low[1]), step, int(height), int(width))


def warped_patch(
    frame: NDArray[np.uint8],
    mesh: NDArray[np.float32],
    moved: NDArray[np.float32],
    tinted: NDArray[np.float32],
    opening: Opening | None = None,
) -> Patch | None:
    """A frame [H, W, 3] whose face is moved and tinted. mesh, moved: [P, 2] in pixels; tinted:
    [P, 3]; opening: of its mouth. Where neither is seen, and outside
    the face, its pixels are those of the frame."""
    old = mesh.astype(np.float64)
    oval = old[list(FACE_OVAL)]
    oval = oval.mean(0) + AROUND * (oval - oval.mean(0))
    grid = field_grid(oval, float(crop_axes(*eyes_and_mouth(mesh)).side))
    still = 1 - polygon_mask(grid.places(oval), grid.height, grid.width)
    field = dense(old + moved, np.concatenate([-moved, tinted], 1), still, grid)
    size = frame.shape[1], frame.shape[0]
    active = _changes(field)[0].byte().numpy()
    window = window_of(active, grid, size)
    reach = int(np.ceil(np.abs(moved).max())) + CUBIC_REACH
    around = window_of(active, grid, size, reach)
    if window is None or around is None:
        return None
    full = spread_grid(field, grid, window)
    picture = unit(torch.from_numpy(frame[around.pixels][None].copy()))
    result = resampled(picture, window.seen_from(around), full[:, :2])
    result = by_rows(lambda x, t: lab_to_rgb(rgb_to_lab(x) + t), result, full[:, 2:])
    if opening is not None:
        corner = round(window.left), round(window.top)
        opening.put_into(result[0].movedim(0, -1).numpy(), corner)
    seen = frame[window.pixels][None].copy()
    return patch_of(window, seen, result, _changes(full).float())


def _changes(field: Tensor) -> Tensor:
    """Where a motion and a tint [1, 5, h, w] are seen, bool [1, 1, h, w]."""
    shift, tint = (x.abs().amax(1, keepdim=True) for x in (field[:, :2], field[:, 2:]))
    return (shift > STILL) | (tint > PLAIN)


def resampled(picture: Tensor, window: Grid, shift: Tensor) -> Tensor:
    """What a picture [1, 3, H, W] holds at the pixels of a window, each a shift [1, 2, h, w] away.

    Once, by cubic interpolation; where the motion presses pixels together, as the mean of four
    samples that lie as much further apart.
    """
    h, w = window.height, window.width
    y, x = torch.meshgrid(torch.arange(h) + 0.5, torch.arange(w) + 0.5, indexing="ij")
    at = torch.stack([x + window.left, y + window.top]) + shift[0]
    size = torch.tensor([picture.shape[3], picture.shape[2]]).view(2, 1, 1)

    def sample(place: Tensor) -> Tensor:
        found = F.grid_sample(
            picture, (place * 2 / size - 1).movedim(0, -1)[None].float(), mode="bicubic",
            padding_mode="border", align_corners=False,
        )  # fmt: skip
        return found

    steps = torch.stack([torch.gradient(at, dim=d)[0].norm(dim=0) for d in (2, 1)])
    if steps.amax() < LARGEST_STEP:
        return sharpened(sample(at), shift)
    apart = (steps - 1).clamp_min(0) / 4
    signs = torch.tensor([[-1, -1], [-1, 1], [1, -1], [1, 1]]).view(4, 2, 1, 1)
    return sharpened(torch.stack([sample(at + sign * apart) for sign in signs]).mean(0), shift)


def sharpened(picture: Tensor, shift: Tensor) -> Tensor:
    """What cubic interpolation takes of the finest detail is given back: most between two pixels,
    and nothing on one. picture: [1, 3, h, w]; shift: [1, 2, h, w] that it was taken by."""
    between = shift - shift.floor()
    loss = (4 * between * (1 - between)).sum(1, keepdim=True)
    mean = F.avg_pool2d(F.pad(picture, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    return torch.addcmul(picture, picture - mean, loss, value=SHARPEN).clamp(0, 1)


@stage(keep=False)
def warped(
    frames: Frames,
    track: FaceTrack,
    steady_face: SteadyFace,
    fade: Fade,
    face_motion: FaceMotion,
    mouth: Mouth,
) -> Layer:
    """The source's face, moved and tinted."""

    def patch(row: int) -> Patch | None:
        (frame,), mesh = frames.rows(row, row + 1), steady_face.mesh[row]
        share = np.float32(fade.strength[row])
        moved = face_motion.moved[row] * share
        lips = Opening(frame, mesh, moved, mouth, int(mouth.shot[row]), steady_face.face)
        return warped_patch(frame, mesh, moved, face_motion.tinted[row] * share, lips)

    shown = Fade((fade.strength > 0).astype(float))
    return make_layer(frames, track, shown, lambda rows: [patch(int(row)) for row in rows])
