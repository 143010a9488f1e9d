"""Other hair, drawn by the generator: one change for all frames, found on keyframes of the clip.

By a photo of somebody with that hair, or by where it is painted on a frame.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vidhair.cache import fingerprint
from vidhair.edits.area import PaintedArea, check_area, check_area_fits
from vidhair.edits.bald import NO_HAIR
from vidhair.edits.edit import GradedEdit, Strength, moved
from vidhair.edits.fitting import Wanted, change_of, fit_attributes
from vidhair.edits.hair_losses import gram_matrices
from vidhair.edits.proxies import SPACES, Aim, Loop, Scene, find_change, scene_at, still
from vidhair.edits.recolor import HAIR_COLOR
from vidhair.errors import InvalidSetting, NoFaceFound
from vidhair.geometry import CropAxes, crop_axes
from vidhair.imaging.warp import cut_squares, to_unit
from vidhair.media import read_image, read_matte
from vidhair.models.encoders.attributes import AttributeSpace
from vidhair.models.encoders.inversion import Inverter
from vidhair.models.faces.landmarks import eyes_and_mouth
from vidhair.models.generators.aligned import MovableSynthesis
from vidhair.models.generators.aligned import moved as placed
from vidhair.models.generators.stylegan3 import Extent
from vidhair.models.pack import Pack
from vidhair.models.parsers.face_parser import Label
from vidhair.models.parsers.head_parser import Parser
from vidhair.models.perceptual import FeaturesDistance, Perceptual
from vidhair.precision import resolve
from vidhair.settings import Curve, setting
from vidhair.stages.align import TURNED, FaceTrack, frontal, largest_face, turned
from vidhair.stages.labels import LEAST_HAIR, still_labels
from vidhair.stages.render import Canvas, Codes, Drawer, DrawnChange
from vidhair.stages.smooth import Pivots
from vidhair.stages.tune import choose_frames, traits
from vidhair.types import Clip
from vidhair.wiring import (
    Derived,
    Fact,
    Makers,
    Meter,
    Series,
    Setting,
    Span,
    Value,
    makers,
    ranges,
    stage,
)

# What makes a hairstyle, of a pack's attributes; those that it has are taken over from the photo.
HAIRSTYLE = (*NO_HAIR, "hair_wave_rate", "hair_part", "hair_recede", "hairline")
SAME_POSE = 0.15  # deviation, of `turned`, up to which another head shows where hair would be
SHARED, FIXED, FRAME = "shared", "fixed", "frame"
FITTED_ON = 3  # keyframes, of those that show best where hair is to be
EACH_AT_ONCE = 4  # frames that are optimised together where each has a change of its own


@dataclass(frozen=True)
class Proxy(Value):
    """What was found. codes: [N, L, D], styles: [N, C], features: [N, C, h, w]; N is 1, or T with
    one for every frame, and two of the three are empty. base: [L, D], the keyframes' mean code."""

    codes: NDArray[np.float32]
    styles: NDArray[np.float32]
    features: NDArray[np.float32]
    base: NDArray[np.float32]

    @classmethod
    def of_change(cls, change: Tensor, space: str, base: Tensor) -> "Proxy":
        shape = {"w+": (0, 0, 0), "s": (0, 0), "f": (0, 0, 0, 0)}
        values = {name: np.zeros(empty, np.float32) for name, empty in shape.items()}
        values[space] = change.cpu().numpy()
        return cls(values["w+"], values["s"], values["f"], base.cpu().numpy())


@dataclass(frozen=True)
class Keyframes(Derived):
    """Frames that a change is found on, by scenes of some that are looked at together.

    frames: [N] of each scene; turns: [N] of each, see `turned`; axes: of their faces. count: of the
    clip's frames.
    """

    frames: tuple[NDArray[np.intp], ...]
    scenes: tuple[Scene, ...]
    turns: tuple[NDArray[np.float64], ...]
    axes: tuple[list[CropAxes], ...]
    count: int


@dataclass(frozen=True, kw_only=True)
class HairProxy(GradedEdit):
    """What its kinds say is how hair is to look on keyframes: `_aim`."""

    strength: float | Curve = setting(
        1.0, "share of the way to that hair, or a curve of it over time", low=-1.0, high=2.0
    )
    space: str = setting(
        "w+",
        "what is changed: w+ the codes, s the layers' styles, f the features between the layers",
        choices=SPACES,
    )
    consistency: str = setting(
        SHARED,
        "shared: one change for all frames; for comparison, fixed: one code for all, or frame: a "
        "change of its own for each",
        choices=(SHARED, FIXED, FRAME),
    )
    frames: int = setting(6, "keyframes, chosen to differ", low=1, high=64)
    rounds: int = setting(
        3, "rounds in which the pack's attributes of hair are fitted, before any steps",
        low=0, high=50,
    )  # fmt: skip
    steps: int = setting(20, "steps towards the hair", low=0, high=2000)
    refine_steps: int = setting(
        6, "further steps, by all codes, so that all but the hair stays", low=0, high=2000
    )

    @property
    def all_steps(self) -> int:
        return self.rounds + self.steps + self.refine_steps

    def makers(self) -> Makers:
        own = makers(self.keyframes, strength=self.over_time, edited_codes=self.coded)
        return own if self.space == "w+" else {**own, **makers(drawn_change=self.beyond_codes)}

    @stage(keep=False)
    def keyframes(
        self,
        codes: Series[Codes],
        pivots: Series[Pivots],
        track: Series[FaceTrack],
        canvas: Canvas,
        drawer: Drawer,
        parser: Parser,
        face_pixels: Annotated[int, Fact("face_pixels")],
        precision: Annotated[str, Setting("tune.precision")],
    ) -> Keyframes:
        """Those that differ most, in one scene; or all, a few in each, for changes of their own."""
        dtype = resolve(precision, next(drawer.synthesis.parameters()).device, "tune").dtype
        present = track.field("present")
        if self.consistency == FRAME:
            chosen = np.flatnonzero(present)
            parts = np.split(chosen, range(EACH_AT_ONCE, len(chosen), EACH_AT_ONCE))
        else:
            looks = np.concatenate([traits(pivots.rows(*some)) for some in ranges(pivots.count)])
            parts = [choose_frames(looks, present, self.frames)]
        scenes, turns, axes = [], [], []
        for part in parts:
            given = codes, pivots, track, canvas, drawer, parser, face_pixels, dtype
            scenes.append(scene_at(part, *given))
            seen = [track.rows(frame, frame + 1) for frame in part.tolist()]
            turns.append(np.array([float(turned(one.mesh, one.axes)[0]) for one in seen]))
            axes.append([one.axes for one in seen])
        return Keyframes(tuple(parts), tuple(scenes), tuple(turns), tuple(axes), len(present))

    def find(
        self,
        keyframes: Keyframes,
        aim_of: Callable[[int, Scene, FeaturesDistance], Aim],
        space: AttributeSpace | None,
        perceptual: Perceptual,
        meter: Meter,
        inverter: Inverter | None = None,
    ) -> Proxy:
        """aim_of: of a scene of the keyframes, by its place among them. inverter: what reads the
        attributes of `Aim.reading`."""
        distance = perceptual.build()
        published = "lpips_vgg" in perceptual.weights
        loop = Loop(space=self.space, steps=self.steps, refine=self.refine_steps)
        changes, codes = [], torch.cat([scene.codes for scene in keyframes.scenes])
        for index, scene in enumerate(keyframes.scenes):

            def told(done: int, loss: float, before: int = 0, index: int = index) -> None:
                share = 1 / len(keyframes.scenes)
                meter((index * self.all_steps + before + done) * share, f"loss {loss:.3f}")

            aim = aim_of(index, scene, distance)
            if self.rounds and self.consistency != FRAME and space is not None:
                aim = self.fitted(scene, aim, space, inverter, told)
            further = partial(told, before=self.rounds)
            changes.append(
                find_change(scene, aim, distance, space, loop, further, published=published)
            )
        change = torch.cat(changes)
        if self.consistency == FRAME:
            spread = change.new_zeros(keyframes.count, *change.shape[1:])
            spread[torch.from_numpy(np.concatenate(keyframes.frames))] = change
            change = spread
        return Proxy.of_change(change, self.space, codes.mean(0))

    def unchanged(self, scene: Scene) -> Tensor:
        """No change, [M, L, D]: M of one, or of every keyframe where each has its own."""
        count = len(scene.codes) if self.consistency == FRAME else 1
        return torch.zeros_like(scene.codes[:1]).repeat(count, 1, 1)

    def fitted(
        self,
        scene: Scene,
        aim: Aim,
        space: AttributeSpace,
        inverter: Inverter | None,
        told: Callable[[int, float], None],
    ) -> Aim:
        """The aim with a start by which the hair that is drawn comes near it."""
        names = tuple(name for name in NO_HAIR if name in space.names)
        if not names:
            return aim
        best = aim.certain.argsort(descending=True)[:FITTED_ON]
        # Of heads that are turned otherwise, too, with less weight: what is fitted is coarse.
        certain = aim.certain[best] ** 0.25
        wanted = Wanted(aim.hair[best], certain, aim.read, aim.reading, inverter)
        start = still(aim.start, space)
        values = fit_attributes(scene.rows(best), wanted, start, names, space, self.rounds, told)
        return replace(aim, start=start + change_of(values, names, space).to(start))

    @stage(keep=False)
    def coded(
        self, codes: Codes, proxy: Proxy, track: FaceTrack, strength: Strength, span: Span
    ) -> Codes:
        change = proxy.codes
        if len(change) > 1:
            change = change[span.start : span.stop]
        if not change.size:
            change = np.zeros((1, 1, 1), np.float32)
        if self.consistency == FIXED:
            change = change + proxy.base - codes.styles
        return moved(codes, track, strength, np.broadcast_to(change, codes.styles.shape).copy())

    @stage(keep=False)
    def beyond_codes(self, proxy: Proxy, strength: Series[Strength]) -> DrawnChange:
        degree = strength.field("values")[:, None]
        return DrawnChange(degree, proxy.styles[:, None], proxy.features[:, None])


# ---- by a photo


@dataclass(frozen=True)
class Hairstyle(Value):
    """Somebody with the hair that is wanted. styles: [L, D], the encoder's code. picture: uint8
    [R, R, 3] and hair: uint8 [R, R], the face's square. turn: of the head, see `turned`."""

    styles: NDArray[np.float32]
    picture: NDArray[np.uint8]
    hair: NDArray[np.uint8]
    turn: float


def read_hairstyle(path: str, inverter: Inverter, parser: Parser, side: int) -> Hairstyle:
    """The largest face of a picture. Raises NoFaceFound."""
    picture = read_image(path)[None]
    face = largest_face(picture[0], path, "give a picture of hair with its face")[None]
    axes = crop_axes(*eyes_and_mouth(face))
    if float(frontal(face, axes)[0]) < TURNED[1]:
        raise NoFaceFound(
            f"the face in {path} is turned too far aside; give a picture from the front"
        )
    region, planes = still_labels(picture, face, parser)
    hair = torch.from_numpy(planes[:, Label.HAIR : Label.HAIR + 1]).float() / 255
    if float((hair > 0.5).sum()) < LEAST_HAIR:
        raise NoFaceFound(f"no hair is seen in {path}; give another picture")
    unit = to_unit(picture, inverter.device)
    with torch.inference_mode():
        crop = cut_squares(unit, axes.centre, axes.x, inverter.size)
        styles = inverter.codes(crop)[0].float().cpu()
    seen = cut_squares(unit, axes.centre, axes.x, side)[0].cpu()
    centre = region.places(axes.centre)
    shown = cut_squares(hair, centre, axes.x / region.step, side, padding="border")[0, 0]
    levels = (seen * 127.5 + 127.5).round().clamp(0, 255).to(torch.uint8)
    return Hairstyle(
        styles.numpy(),
        levels.movedim(0, -1).numpy(),
        (shown * 255).round().clamp(0, 255).to(torch.uint8).numpy(),
        float(turned(face, axes)[0]),
    )


@dataclass(frozen=True, kw_only=True)
class HairReferenceLatent(HairProxy):
    kind: ClassVar[str] = "hair_reference_latent"
    style: str = setting("", "a picture of somebody with the hair that is wanted")
    color: str = setting(
        "own", "of the hair: own, the person's, or photo, that of the picture",
        choices=("own", "photo"),
    )  # fmt: skip

    def identity(self) -> dict[str, Any]:
        """The picture itself, so that its name does not matter."""
        return super().identity() | {"style": fingerprint(read_image(self.style))}

    def check(self, pack: Pack, place: str) -> None:
        if not self.style:
            raise InvalidSetting(
                f"{place}.style is not given; name a picture of somebody with the hair"
            )

    def makers(self) -> Makers:
        return {**super().makers(), **makers(self.hairstyle, self.proxy)}

    @stage()
    def hairstyle(
        self,
        inverter: Inverter,
        parser: Parser,
        resolution: Annotated[int, Fact("generator.resolution")],
    ) -> Hairstyle:
        """Raises NoFaceFound for a picture that shows no face, or no hair."""
        return read_hairstyle(self.style, inverter, parser, resolution)

    @stage(steps=lambda edit: edit.all_steps)
    def proxy(
        self,
        hairstyle: Hairstyle,
        keyframes: Keyframes,
        space: AttributeSpace | None,
        inverter: Inverter,
        perceptual: Perceptual,
        meter: Meter,
    ) -> Proxy:
        """The change that gives the person the picture's hair."""

        def aim(index: int, scene: Scene, distance: FeaturesDistance) -> Aim:
            return self.aim(hairstyle, scene, keyframes.turns[index], distance, space)

        return self.find(keyframes, aim, space, perceptual, meter, inverter)

    def aim(
        self,
        hairstyle: Hairstyle,
        scene: Scene,
        turns: NDArray[np.float64],
        distance: FeaturesDistance,
        space: AttributeSpace | None,
    ) -> Aim:
        """By the photo's face in the place of the person's. turns: of the scene's heads."""
        given = torch.from_numpy(hairstyle.styles).to(scene.codes)
        means = scene.codes if self.consistency == FRAME else scene.codes.mean(0, keepdim=True)
        start = towards(means, given, scene.synthesis, space, self.color == "photo")
        count, device = len(scene.codes), scene.codes.device
        levels = torch.from_numpy(hairstyle.picture).to(device).movedim(-1, 0)[None]
        picture = (levels / 127.5 - 1).expand(count, -1, -1, -1)
        hair = torch.from_numpy(hairstyle.hair).to(device)[None, None].float() / 255
        there = placed(picture, scene.transforms, Extent())
        wanted = placed(hair.expand(count, -1, -1, -1), scene.transforms, Extent())
        with torch.no_grad():
            textures = gram_matrices(distance.features, there, wanted)
        certain = np.exp(-(((turns - hairstyle.turn) / SAME_POSE) ** 2))
        read: tuple[str, ...] = ()
        reading = None
        if space is not None:
            # The encoder tells a fringe less well than the parser does.
            read = tuple(name for name in NO_HAIR if name in space.names and name != "hair_fringe")
            reading = space.read(given.cpu())[space.index(read)]
        aimed = torch.from_numpy(certain).to(hair)
        return Aim(start, wanted, aimed, textures, read=read, reading=reading)


def towards(
    codes: Tensor,
    given: Tensor,
    synthesis: MovableSynthesis,
    space: AttributeSpace | None,
    colored: bool,
) -> Tensor:
    """The change of codes [M, L, D] to begin with, so that hair becomes that of a code [L, D]:
    [M, L, D].

    The attributes of its hair, as far as the pack has any; else all that the codes of the first
    half hold, with those that color, if they are to. In HairCLIPv2 that half is the reference's.
    """
    names = () if space is None else (*HAIRSTYLE, *(HAIR_COLOR if colored else ()))
    known = [name for name in names if space is not None and name in space.names]
    if space is None or not known:
        last = codes.shape[1] if colored else synthesis.halfway_codes
        change = given - codes
        change[:, last:] = 0
        return change
    index = space.index(known)
    there, here = (space.read(x.cpu())[..., index] for x in (given, codes))
    step = (there - here) @ space.directions[index]
    return step[:, None].expand_as(codes).to(codes).clone()


# ---- by where it is painted


@dataclass(frozen=True, kw_only=True)
class HairMask(HairProxy):
    """The hair keeps its own look."""

    kind: ClassVar[str] = "hair_mask"
    mask: str = setting(
        "", "a picture as large as the frame, white (or opaque) where there is to be hair"
    )
    mask_frame: int = setting(0, "the frame that edit.mask was painted on, counted from 0", low=0)

    def identity(self) -> dict[str, Any]:
        """The picture itself, so that its name does not matter."""
        return super().identity() | {"mask": fingerprint(read_matte(self.mask))}

    def check(self, pack: Pack, place: str) -> None:
        if not self.mask:
            raise InvalidSetting(
                f"{place}.mask is not given; name a picture that is white where there is to be hair"
            )
        check_area(self.mask, f"{place}.mask")

    @property
    def painted_over(self) -> bool:
        return True

    def check_clip(self, clip: Clip, place: str) -> None:
        check_area_fits(self.mask, self.mask_frame, clip, f"{place}.mask")

    def makers(self) -> Makers:
        return {**super().makers(), **makers(self.proxy, painted_hair=self.painted)}

    @stage(compress=True)
    def painted(self, track: Series[FaceTrack]) -> PaintedArea:
        """Raises InvalidSetting if the frame that it was painted on does not show the person."""
        return PaintedArea.on_frame(self.mask, self.mask_frame, track, "edit.mask_frame")

    @stage(steps=lambda edit: edit.all_steps)
    def proxy(
        self,
        painted_hair: PaintedArea,
        keyframes: Keyframes,
        space: AttributeSpace | None,
        perceptual: Perceptual,
        meter: Meter,
    ) -> Proxy:
        """The change that makes hair where it is painted, and nowhere else."""

        def aim(index: int, scene: Scene, distance: FeaturesDistance) -> Aim:
            grid = scene.canvas.grid
            wanted = torch.cat([painted_hair.on(axes, grid) for axes in keyframes.axes[index]])
            with torch.no_grad():
                textures = gram_matrices(distance.features, scene.pictures, scene.hair)
            start = self.unchanged(scene)
            return Aim(start, wanted.to(scene.codes), scene.codes.new_ones(len(wanted)), textures)

        return self.find(keyframes, aim, space, perceptual, meter)
