"""Longer or shorter hair, a fringe, waves, volume: one attribute of the pack each."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vidhair.checkpoints.packs import PackFiles
from vidhair.edits.edit import GradedEdit, Strength, check_attributes, has_attribute, moved
from vidhair.edits.own_color import in_own_color
from vidhair.edits.proxies import Scene, draw, scene_at
from vidhair.errors import InvalidSetting
from vidhair.geometry import CropAxes
from vidhair.models.encoders.attributes import AttributeSpace
from vidhair.models.pack import Pack
from vidhair.models.parsers.face_parser import polygon_mask
from vidhair.models.parsers.head_parser import Parser
from vidhair.precision import resolve
from vidhair.settings import Curve, setting
from vidhair.stages.align import FaceTrack
from vidhair.stages.bare import Bare
from vidhair.stages.bent import Bent, Move, bent, fuller, waved
from vidhair.stages.ends import HairEnd, HairFall, locks_at
from vidhair.stages.fade import Fade, fade_of_fronts
from vidhair.stages.fringe import Hairline, bared, combed, even_light, hairline, shaded
from vidhair.stages.hair_look import HairLook, hair_look
from vidhair.stages.in_front import InFront, in_front, under, usual_hair
from vidhair.stages.layers import Layer, laid
from vidhair.stages.matte import HairTone, Matte
from vidhair.stages.photo import PhotoHair
from vidhair.stages.photo_fit import face_light, photo_fit
from vidhair.stages.photo_look import photo_look
from vidhair.stages.region import HairWindow, on_face
from vidhair.stages.render import Canvas, Codes, Drawer
from vidhair.stages.skull import HeadPose, Skull
from vidhair.stages.smooth import Pivots
from vidhair.stages.tune import choose_frames, traits
from vidhair.stages.wig import hanging_to, strand_hair
from vidhair.stages.worn import Worn, worn
from vidhair.synthetic.strands import StrandStyle
from vidhair.synthetic.wigs import FRINGE, HAIRSTYLES
from vidhair.types import Frames
from vidhair.wiring import AtOnce, Fact, Makers, Series, Setting, Value, makers, ranges, stage

Picture = NDArray[np.uint8]
Plane = NDArray[np.float32]

# Points of the mesh around the forehead, from hairline to brows.
FOREHEAD = (54, 103, 67, 109, 10, 338, 297, 332, 284, 300, 293, 334, 296, 336, 107, 66, 105, 63, 70)
FULL_FRINGE = 0.33  # share of it that a fringe to the brows covers more than none
MOVES = (0.5, 0.9, 1.3, 1.7, 2.2, -0.5, -1.0, -1.5)  # of the attribute, that are looked at
SEEN_ON = 3  # keyframes


# What is made of a picture [h, w, 3] with hair [h, w]: levels [h, w, 3], how far they are not the
# picture's, [h, w] in levels, and the hair then.
Reshape = tuple[Picture, Picture, Plane]


def bent_frames(
    frames: Frames, matte: Matte, in_front: InFront, hair_window: HairWindow,
    rows: NDArray[np.intp],
    make: Callable[[int, Picture, Plane], Reshape], at_once: AtOnce,
) -> Bent:  # fmt: skip
    """Frames whose hair is reshaped in some rows [n], below what is in front of it."""
    pictures = [hair_window.cut(frame) for frame in frames]
    made = Bent(np.stack(pictures), np.zeros_like(matte.alpha), matte.alpha.copy())

    def put(row: int) -> None:
        seen = pictures[row]
        levels, changed, alpha = make(row, seen, matte.alpha[row].astype(np.float32) / 255)
        front = in_front.over(row, alpha)
        made.levels[row], made.changed[row], alpha = under(
            levels, changed, alpha, seen, front, hair_window.side
        )
        made.alpha[row] = np.rint(alpha * 255)

    for _ in at_once(put, rows.tolist()):
        pass
    return made


@stage(keep=False)
def laid_bent(
    frames: Frames, bent: Bent, track: FaceTrack, fade: Fade, hair_window: HairWindow,
    at_once: AtOnce,
) -> Layer:  # fmt: skip
    return laid(frames, bent.levels, bent.changed, track, fade, hair_window, at_once)


@stage(keep=False)
def bent_matte(bent: Bent, matte: Matte) -> Matte:
    return Matte(bent.alpha, matte.area, matte.mean_lab)


@stage(keep=False)
def same_tone(hair_tone: HairTone) -> HairTone:
    return hair_tone


def laying(reshaped: Any) -> Makers:
    """What lays over frames what a stage, of `Bent`, makes of their hair."""
    return makers(
        usual_hair, in_front, bent=reshaped, layer=laid_bent, shown_matte=bent_matte,
        shown_tone=same_tone,
    )  # fmt: skip


def refuse_layer(by: str, place: str) -> None:
    """Raises InvalidSetting where hair of the frames is to be moved, and the recipe draws them."""
    if by == "layer":
        raise InvalidSetting(
            f"{place}.by = 'layer' moves the hair of the frames, and this recipe draws them; "
            "leave out compose.mode and other edits, or give auto"
        )


@dataclass(frozen=True, kw_only=True)
class HairAttribute(GradedEdit):
    """attribute: its name in packs. unit: how much of it an amount of one is."""

    degree = "amount"
    covers_face = False
    attribute: ClassVar[str]
    unit: ClassVar[float] = 1.0
    amount: float | Curve = setting(0.5, "how much more, or a curve of it over time")

    def served_by(self, files: PackFiles) -> bool:
        return has_attribute(files, self.attribute)

    def check(self, pack: Pack, place: str) -> None:
        check_attributes(self, [self.attribute], pack, place)

    def makers(self) -> Makers:
        return makers(strength=self.over_time, edited_codes=self.shifted)

    @stage(keep=False)
    def shifted(
        self, codes: Codes, track: FaceTrack, strength: Strength, space: AttributeSpace | None
    ) -> Codes:
        assert space is not None
        change = np.float32(self.unit) * space.direction(self.attribute).numpy()
        return moved(codes, track, strength, change)


@dataclass(frozen=True, kw_only=True)
class MovedHair(HairAttribute):
    """Moves the person's own hair, where the recipe draws nothing else."""

    reshapes: ClassVar[bool] = True
    by: str = setting(
        "auto",
        "layer: the person's own hair is moved; latent: the pack draws it anew; auto: layer, where "
        "the recipe draws nothing else",
        choices=("auto", "layer", "latent"),
    )

    def move(self, places: NDArray[np.float32], amount: float) -> Move:
        """Of hair, at places [h, w, 2] on the face."""
        raise NotImplementedError

    @property
    def in_frames(self) -> bool:
        return self.by != "latent"

    @property
    def note(self) -> str:
        return "the hair is the person's own, moved; edit.by = latent has the pack draw it"

    def served_by(self, files: PackFiles) -> bool:
        return self.in_frames or super().served_by(files)

    def check(self, pack: Pack, place: str) -> None:
        """Moving needs nothing of a pack."""

    def check_drawn(self, pack: Pack, place: str) -> None:
        refuse_layer(self.by, place)
        super().check(pack, place)

    def makers(self) -> Makers:
        return {**super().makers(), **laying(self.bent)}

    @stage(keep=False)
    def bent(
        self,
        frames: Frames,
        bare: Bare,
        matte: Matte,
        track: FaceTrack,
        in_front: InFront,
        strength: Strength,
        hair_window: HairWindow,
        at_once: AtOnce,
    ) -> Bent:
        def moved(row: int, seen: Picture, alpha: Plane) -> Reshape:
            axes = track.axes_of(np.array([row]))
            move = self.move(on_face(axes, hair_window), float(strength.values[row]))
            given = bare.over(row, seen), bare.scalp[row] / np.float32(255), alpha, move
            return bent(seen, *given, axes, hair_window)

        shown = np.flatnonzero(track.present & (strength.values != 0))
        return bent_frames(frames, matte, in_front, hair_window, shown, moved, at_once)


@dataclass(frozen=True, kw_only=True)
class HairLength(MovedHair):
    """Own hair is cut, or falls further down; where it is too short for that, other hair grows."""

    kind = "hair_length"
    attribute = "hair_length"
    amount: float | Curve = setting(
        0.5,
        "how much longer (1 is from the chin to below the shoulders), or a curve of it over time; "
        "below 0 how much shorter",
        low=-1.5,
        high=1.5,
    )

    @property
    def amounts(self) -> Sequence[float]:
        return self.amount.values if isinstance(self.amount, Curve) else (self.amount,)

    @property
    def longer(self) -> bool:
        """Whether it ever makes hair longer."""
        return max(self.amounts) > 0

    @property
    def keeps_hair(self) -> bool:
        return min(self.amounts) >= 0

    @property
    def note(self) -> str:
        return "" if self.longer else "the hair is the person's own, cut"

    def makers(self) -> Makers:
        found = {**super().makers(), **laying(self.shortened), **makers(self.hair_fall)}
        if not self.longer:
            return found
        worn_hair = makers(
            face_light,
            hair_look,
            hairline,
            photo_fit,
            photo_look,
            worn,
            photo_hair=self.photo_hair,
            fade=fade_of_fronts,
        )
        return {**found, **worn_hair, **laying(self.grown)}

    @stage(keep=False)
    def hair_fall(self, strength: Strength, hair_end: HairEnd) -> HairFall:
        return hair_end.moved(strength.values, max(self.amounts))

    @stage(version=3)
    def photo_hair(
        self,
        hair_end: HairEnd,
        hairline: Series[Hairline],
        hair_look: HairLook,
        hair_tone: Series[HairTone],
        track: Series[FaceTrack],
    ) -> PhotoHair:
        """What grows: as curly as own hair, with a fringe where there is one."""
        if hair_end.long:
            mesh = track.field("mesh")[track.field("present")]
            return PhotoHair.none(np.median(mesh, axis=0))
        end = hair_end.grown(max(self.amounts))
        style = growing(hair_look, fringed=hairline.whole().mostly_fringed)
        return in_own_color(strand_hair(hanging_to(style, end)), hair_look, hair_tone)

    @stage(version=3, keep=False)
    def shortened(
        self,
        frames: Frames,
        bare: Bare,
        matte: Matte,
        track: FaceTrack,
        head_pose: HeadPose,
        skull: Skull,
        in_front: InFront,
        hair_fall: HairFall,
        hair_window: HairWindow,
        at_once: AtOnce,
    ) -> Bent:
        """The person with hair that was cut."""

        def made(row: int, seen: Picture, alpha: Plane) -> Reshape:
            pose = head_pose, track.axes_of(np.array([row]))
            return cut(row, seen, alpha, bare.over(row, seen), hair_fall, skull, *pose, hair_window)

        shown = np.flatnonzero(track.present & np.isfinite(hair_fall.cut))
        return bent_frames(frames, matte, in_front, hair_window, shown, made, at_once)

    @stage(keep=False)
    def grown(
        self,
        frames: Frames,
        bare: Bare,
        matte: Matte,
        track: FaceTrack,
        head_pose: HeadPose,
        skull: Skull,
        in_front: InFront,
        hair_fall: HairFall,
        worn: Worn,
        hair_window: HairWindow,
        at_once: AtOnce,
    ) -> Bent:
        """The person with hair that was cut, falls further down, or grew."""

        def made(row: int, seen: Picture, alpha: Plane) -> Reshape:
            axes, below = track.axes_of(np.array([row])), bare.over(row, seen)
            if hair_fall.longer[row] > 0:
                move = hair_fall.move(row, head_pose, axes, hair_window)
                scalp = bare.scalp[row] / np.float32(255)
                return bent(seen, below, scalp, alpha, move, axes, hair_window)
            grows = bool(hair_fall.grows[row])
            if grows:
                seen, alpha = worn.levels[row], worn.alpha[row] / np.float32(255)
            pose = head_pose, axes, hair_window
            levels, changed, alpha = cut(row, seen, alpha, below, hair_fall, skull, *pose)
            return levels, np.maximum(changed, worn.changed[row]) if grows else changed, alpha

        grows = (hair_fall.longer > 0) | hair_fall.grows
        shown = np.flatnonzero(track.present & (np.isfinite(hair_fall.cut) | grows))
        return bent_frames(frames, matte, in_front, hair_window, shown, made, at_once)


def growing(look: HairLook, fringed: bool) -> StrandStyle:
    """Hair that grows where there is such hair. fringed: whether it hangs over the forehead."""
    if look.curly:
        return HAIRSTYLES["curly"]
    style = HAIRSTYLES["wavy" if look.wavy else "long"]
    return replace(style, **FRINGE) if fringed else style


def cut(
    row: int, seen: Picture, alpha: Plane, bare: Picture, fall: HairFall, skull: Skull,
    pose: HeadPose, axes: CropAxes, grid: HairWindow,
) -> Reshape:  # fmt: skip
    """What is made of a picture [h, w, 3] with hair [h, w] that is cut. bare: without any."""
    on_head = torch.from_numpy(on_face(axes, grid))[None]
    gone = fall.gone(row, skull, pose, alpha, on_head, grid)
    gone = gone * (bare != seen).any(-1)
    levels = seen + gone[..., None] * (bare - seen.astype(np.float32))
    changed = np.ceil(gone * 255).astype(np.uint8)
    return np.rint(levels).astype(np.uint8), changed, alpha * (1 - gone)


@dataclass(frozen=True)
class Shown(Value):
    """What is seen of an attribute that is moved. by: [S], 0 first; share: [S], of the forehead
    that hair covers then."""

    by: NDArray[np.float32]
    share: NDArray[np.float32]

    def needed(self, amounts: NDArray[np.float32]) -> NDArray[np.float32]:
        """How far to move it so that as many full fringes [T] more are seen; or less, or as near
        to it as it gets."""
        found = np.zeros_like(amounts)
        for row, amount in enumerate(amounts):
            way = np.sign(amount)
            there = self.by * way >= 0
            order = np.argsort(np.abs(self.by[there]))
            by = self.by[there][order]
            more = way * (self.share[there][order] - self.share[0])
            enough = np.flatnonzero(more >= abs(amount) * FULL_FRINGE)
            last = int(enough[0]) if len(enough) else int(np.argmax(more))
            if not len(enough) or not last:
                found[row] = by[last]
                continue
            low, high = more[last - 1], more[last]
            share = (abs(amount) * FULL_FRINGE - low) / (high - low)
            found[row] = by[last - 1] + share * (by[last] - by[last - 1])
        return found


@torch.no_grad()
def share_seen(scene: Scene, change: Tensor, part: Tensor) -> float:
    """How much of a part [N, 1, R, R] of the pictures hair covers with a change of codes [D]."""
    found = []
    for row in range(len(scene.codes)):
        one = slice(row, row + 1)
        picture = draw(scene, change[None, None], "w+", torch.tensor([row]))
        hair = scene.hair_of(scene.scores(picture, one))
        found.append((hair * part[one]).sum() / part[one].sum().clamp_min(1e-6))
    return float(torch.stack(found).mean())


@dataclass(frozen=True, kw_only=True)
class Fringe(MovedHair):
    """Hair from above the forehead falls further down, or less far.

    How much of a fringe a generator draws depends on the person, so that is seen.
    """

    kind = "fringe"
    covers_face = True
    attribute = "hair_fringe"
    amount: float | Curve = setting(
        0.9,
        "how much more of a fringe (1 is from none to the brows), or a curve of it over time",
        low=-1.5,
        high=1.5,
    )

    @property
    def adds(self) -> bool:
        """Whether it ever makes more of one."""
        return isinstance(self.amount, Curve) or self.amount > 0

    def makers(self) -> Makers:
        drawn = makers(shown_fringe=self.seen, edited_codes=self.shown)
        return {**super().makers(), **drawn, **laying(self.fallen), **makers(hairline)}

    @stage(version=4, keep=False)
    def fallen(
        self,
        frames: Frames,
        bare: Bare,
        matte: Matte,
        track: FaceTrack,
        hairline: Hairline,
        in_front: InFront,
        strength: Strength,
        hair_window: HairWindow,
        at_once: AtOnce,
    ) -> Bent:
        def moved(row: int, seen: Picture, alpha: Plane) -> Reshape:
            axes = track.axes_of(np.array([row]))
            places = on_face(axes, hair_window)
            locks = locks_at(torch.from_numpy(places)[None])
            move = hairline.move(row, places, float(strength.values[row]), locks)
            move = even_light(seen, alpha, move, axes, hair_window)
            # Of a fringe that goes none stays on the forehead.
            skin, none = bare.over(row, seen), np.zeros_like(alpha)
            levels, changed, there = bent(seen, skin, none, alpha, move, axes, hair_window)
            levels = combed(seen, alpha, levels, there, move, places, hair_window)
            levels, changed = bared(levels, there, changed, move, skin, hair_window)
            return *shaded(levels, changed, there, alpha, hair_window), there

        shown = np.flatnonzero(track.present & (strength.values != 0))
        return bent_frames(frames, matte, in_front, hair_window, shown, moved, at_once)

    @stage()
    def seen(
        self,
        codes: Series[Codes],
        pivots: Series[Pivots],
        track: Series[FaceTrack],
        strength: Series[Strength],
        canvas: Canvas,
        drawer: Drawer,
        parser: Parser,
        face_pixels: Annotated[int, Fact("face_pixels")],
        precision: Annotated[str, Setting("tune.precision")],
        space: AttributeSpace | None,
    ) -> Shown:
        """On keyframes, of what the generator draws."""
        assert space is not None
        looks = np.concatenate([traits(pivots.rows(*some)) for some in ranges(pivots.count)])
        chosen = choose_frames(looks, track.field("present"), SEEN_ON)
        dtype = resolve(precision, next(drawer.synthesis.parameters()).device, "tune").dtype
        given = codes, pivots, track, canvas, drawer, parser, face_pixels, dtype
        scene, box = scene_at(chosen, *given), canvas.nominal
        meshes = [track.rows(frame, frame + 1).mesh[0] for frame in chosen.tolist()]
        places = [box.grid.places(mesh[list(FOREHEAD)]) for mesh in meshes]
        masks = np.stack([polygon_mask(one, box.height, box.width) for one in places])
        forehead = torch.from_numpy(masks)[:, None].to(scene.hair)
        asked = strength.field("values")
        moves = [0.0, *(m for m in MOVES if m * asked.max() > 0 or m * asked.min() > 0)]
        change = space.direction(self.attribute).to(scene.codes)
        share = [share_seen(scene, move * change, forehead) for move in moves]
        return Shown(np.array(moves, np.float32), np.array(share, np.float32))

    @stage(keep=False)
    def shown(
        self,
        codes: Codes,
        track: FaceTrack,
        strength: Strength,
        shown_fringe: Shown,
        space: AttributeSpace | None,
    ) -> Codes:
        assert space is not None
        needed = Strength(shown_fringe.needed(strength.values))
        return moved(codes, track, needed, space.direction(self.attribute).numpy())


@dataclass(frozen=True, kw_only=True)
class Wave(MovedHair):
    kind = "wave"
    attribute = "hair_wave"
    amount: float | Curve = setting(
        0.7,
        "how much wavier (1 is from straight to wavy), or a curve of it over time; "
        "straighter hair, below 0, only the pack draws",
        low=-1.5,
        high=1.5,
    )

    def move(self, places: NDArray[np.float32], amount: float) -> Move:
        return waved(places, amount)

    def check(self, pack: Pack, place: str) -> None:
        least = min(self.amount.values) if isinstance(self.amount, Curve) else self.amount
        if self.by != "latent" and least < 0:
            raise InvalidSetting(
                f"{place}.amount = {least:g} would make hair straighter, which moving it does not; "
                f"give 0 or more, or let the pack draw it by {place}.by = 'latent' and "
                "compose.keep = false"
            )


@dataclass(frozen=True, kw_only=True)
class Volume(MovedHair):
    kind = "volume"
    attribute = "hair_volume"
    unit = 0.1
    amount: float | Curve = setting(
        0.5,
        "how much more volume (1 is from flat to full), or a curve of it over time",
        low=-1.5,
        high=1.5,
    )

    def move(self, places: NDArray[np.float32], amount: float) -> Move:
        return fuller(places, amount)
