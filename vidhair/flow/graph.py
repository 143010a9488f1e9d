"""The flow of a recipe on a clip: which functions make its values, and what they are given.

    thumbnails → shots ─┐
    faces ──────────────┴→ tracks → looks → people → person ⇉ track

For each person:

    track → latents → pivots → tuned → rendered ─────────────────────┐
       └→ labels → hair_colors → matte → edited_codes → edited → layer ⇉ composed

What the cache keeps of the composed frames are their `changes` of the source, from which they are
written.
Everything else follows from the signatures of the stages (`vidhair.wiring`). `pivots` are smoothed
codes without an edit. Every edit here adds the same amount to all frames of a shot, so smoothing
before or after it gives the same codes; before, the tuned generator can be asked what an edit will
look like.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidhair.cache import fingerprint
from vidhair.edits import blending
from vidhair.edits.hair_attribute import Fringe, HairLength
from vidhair.edits.hair_color import former_dye
from vidhair.edits.stack import stacked
from vidhair.edits.style_space import StyleEdit, style_spread
from vidhair.errors import InvalidSetting
from vidhair.flow.node import Node
from vidhair.flow.runner import Means, Work
from vidhair.geometry import quarters_of
from vidhair.media import MatteReader, open_matte, read_image
from vidhair.models.encoders.attributes import AttributeSpace
from vidhair.models.encoders.inversion import Inverter
from vidhair.models.faces.effects import FaceEffects
from vidhair.models.faces.identity import FaceIdentity
from vidhair.models.generators.aligned import MovableGenerator
from vidhair.models.mappers import BaldMapper
from vidhair.models.pack import EditingVector, Mappers, Pack
from vidhair.models.parsers.hair_segmenter import ChosenSegmenter, HairSegmenter, find_segmenter
from vidhair.models.parsers.head_parser import Parser
from vidhair.models.perceptual import Perceptual, find_perceptual
from vidhair.models.styleganex.network import StyleGANEX
from vidhair.recipe import TABLES, Recipe, precisions
from vidhair.settings import identity
from vidhair.stages import (
    align,
    bare,
    behind,
    compose,
    cut_out,
    difference,
    drawn,
    ends,
    eyewear,
    fade,
    hair_texture,
    hands,
    in_front,
    invert,
    labels,
    matte,
    mouth,
    people,
    region,
    regrown,
    render,
    replaced,
    reshaped,
    residual,
    segment,
    skull,
    smooth,
    steady_face,
    tune,
)
from vidhair.stages.bare_view import EARS
from vidhair.stages.doubts import doubts
from vidhair.stages.ends import HairEnd
from vidhair.stages.fringe import Hairline
from vidhair.types import Clip, Frames
from vidhair.wiring import (
    Arrays,
    AtOnce,
    Fact,
    Input,
    Makers,
    Meter,
    Progress,
    Setting,
    Span,
    Stage,
    Value,
    makers,
    plan,
    ranges,
    renamed,
)

GOAL = "changes"
BESIDE = ("doubts",)  # made for what is told of a run
CUT_OUT = "cut_out"
SOURCE: dict[str, type] = {"frames": Frames}
LYING = 0.9  # radians

HEAD = makers(
    align.thumbnails, align.faces, align.shots, people.tracks, people.looks, people.people,
    people.person, people.track, invert.latents, smooth.shot_codes, smooth.pivots,
    region.region, region.hair_window, labels.labels, labels.hair_colors,
    eyewear.glasses, eyewear.eyewear, matte.found_matte, eyewear.matte, matte.hair_tone,
    skull.head_pose, skull.skull, ends.hair_end, hands.hands,
    behind.behind, bare.bare, render.canvas, render.rendered,
    residual.former_change, former_dye, fade.fade, compose.composed, compose.changes,
    cut_out.frame_alpha, cut_out.cut_out, difference.former_motion, steady_face.steady_face,
    mouth.mouth,
    style_spread, hair_fall=ends.as_it_is, drawn_change=render.no_drawn_change,
    former_drawn=render.no_drawn_change,
)  # fmt: skip
TUNED = makers(tune.tuned, drawer=tune.fine_tuned, codes=tune.offset_pivots)
UNTUNED = makers(drawer=tune.untuned, codes=tune.plain_pivots)


def draws(recipe: Recipe) -> bool:
    """Whether a generator takes part in what the frames become."""
    return _asked(recipe) == "replace" or not all(edit.in_frames for edit in recipe.edits)


def mode_of(recipe: Recipe) -> str:
    """How a recipe's edits enter the frame: what changes shapes is drawn in its place."""
    reshaped = draws(recipe) and any(edit.reshapes for edit in recipe.edits)
    return "replace" if reshaped else _asked(recipe)


def _asked(recipe: Recipe) -> str:
    if recipe.compose.mode != "auto":
        return recipe.compose.mode
    of_faces = [edit for edit in recipe.edits if not edit.whole_frames]
    return "difference" if all(edit.moves_face for edit in of_faces) else "replace"


def makers_of(recipe: Recipe, segmenter: bool = False) -> Makers:
    """Who makes the values of a recipe. segmenter: whether there is one that finds hair."""
    tuned = recipe.tune.steps + recipe.tune.refine_steps > 0
    edits = stacked(recipe.edits, in_frames=not draws(recipe))
    mode = mode_of(recipe)
    layers = {"replace": replaced.replaced, "difference": difference.warped}
    layer = residual.dyed if "hair_change" in edits else residual.residual
    ends = {
        "edited": render.edited if "edited_codes" in edits else compose.unedited,
        "layer": layers.get(mode, layer),
    }
    if draws(recipe):
        ends |= makers(fade=fade.fade_of_fronts)
        edits = {value: make for value, make in edits.items() if value not in ("layer", "fade")}
    if mode == "replace" and "edited_codes" in edits:
        ends |= makers(fade=fade.fade_of_edits)
        if recipe.compose.region == "hair":
            hair = regrown.regrown if recipe.compose.keep else replaced.replaced_hair
            covers = any(edit.covers_face for edit in recipe.edits)
            keeps = all(edit.keeps_hair for edit in recipe.edits)
            beside = reshaped.lengthened_beside_face if keeps else reshaped.reshaped_beside_face
            shape = reshaped.reshaped if covers else beside
            ends |= makers(
                drawn.hair_drawn, hair_texture.hair_texture, in_front.usual_hair, in_front.in_front,
                reshaped=shape, layer=hair,
            )  # fmt: skip
            if recipe.compose.blend != "none":
                ends |= makers(edited=blending.blended)
    if people.is_reference(recipe.align.person):
        ends |= makers(people.reference, person=people.most_like)
    for edit in recipe.edits:
        if edit.whole_frames and len(recipe.edits) > 1:  # of what the others have made
            ends |= makers(folded=compose.composed)
            own = edit.makers()
            edits |= {name: renamed(make, {"frames": "folded"}) for name, make in own.items()}
    found = makers(doubts, prior=segment.segmented if segmenter else labels.classified)
    if recipe.matte.from_:
        found = makers(matte=matte.given, hair_window=region.whole_frame)
    return HEAD | found | (TUNED if tuned else UNTUNED) | ends | edits


def planned(
    makers: Makers, goal: str = GOAL, known: Callable[[Input], bool] = lambda needed: True
) -> list[Stage]:
    """The stages of a flow, as `vidhair.wiring.plan` puts them in order."""
    return plan(makers, goal, SOURCE, known, BESIDE)


@dataclass(frozen=True)
class Provision:
    """What a stage is given that no stage makes. make: the object; weights: of the pack, part →
    sha256, that it depends on."""

    make: Callable[[], Any]
    weights: Callable[[], Mapping[str, str]] = dict


class Flow:
    """The stages of one recipe, with one pack, as far as a goal."""

    def __init__(
        self,
        recipe: Recipe,
        pack: Pack,
        goal: str = GOAL,
        means: Means | None = None,
        makers: Makers | None = None,
    ):
        """makers: of the recipe's values, where they are not the usual ones."""
        recipe = replace(recipe, edits=tuple(edit.for_pack(pack) for edit in recipe.edits))
        for edit in recipe.edits:
            pack = pack.lent(edit.lender(pack.files))
        self.pack, self.goal = pack, goal
        self.precisions = precisions(recipe, pack.device)
        # So that keys hold what was computed in, not "auto".
        set_here = {p: d.name for p, d in self.precisions.items() if p != "probe"}
        layers = min(recipe.render.memory, (means or Means()).layers >> 20)
        self.recipe = recipe.override(set_here | {"render.memory": layers})
        if mode_of(recipe) == "difference":
            for place, edit in recipe.places():
                edit.check_moved(place)
        stages = planned(makers or self._makers, goal, self._known)
        self.stages = {made.name: made for made in stages}
        # Whom the flow fans out to, once that is known; one, without a name, if it does not.
        self.units: Sequence[Value] | None = None
        self._made: dict[tuple[str, int], Any] = {}  # what holds for the clip, by name and unit
        self._at_hand: dict[tuple[str, int, int], Any] | None = None
        self._identities: dict[Any, dict[str, Any]] = {}  # of owners of stages; some read files
        if recipe.matte.from_ and "matte" not in self.stages:
            raise InvalidSetting(
                f"matte.from = {recipe.matte.from_!r} is for recipes that read a matte, and this "
                "one draws the head without; leave it out"
            )
        beyond = [pair for pair in recipe.places() if "drawn_change" in pair[1].makers()]
        if len(beyond) > 1 and not all(isinstance(edit, StyleEdit) for _, edit in beyond):
            raise InvalidSetting(
                f"{beyond[1][0]} changes more than codes, as {beyond[0][0]} does, and where one "
                "edit of a recipe finds its change, no other can; leave it out, or choose space = "
                "'w+' where there is such a setting"
            )
        whole = [place for place, edit in recipe.places() if edit.whole_frames]
        if len(whole) > 1:
            raise InvalidSetting(
                f"{whole[1]} makes whole frames, as {whole[0]} does, and one edit of a recipe can; "
                "leave one of them out, or run them one after the other"
            )
        for place, edit in recipe.places():
            edit.check(pack, place)
            if draws(recipe):
                edit.check_drawn(pack, place)
            elif edit is not recipe.edits[-1]:
                edit.check_dyed_over(place)

    # ---- what stages are given

    @cached_property
    def bald(self) -> BaldMapper | None:
        """The pack's mapper to bald heads, if it has one."""
        return self.pack.build("bald_mapper") if self.pack.has("bald_mapper") else None

    @cached_property
    def perceptual(self) -> Perceptual:
        """What tuning measures likeness by: decided before keys are made, as it is part of them."""
        return find_perceptual(
            self.recipe.tune.perceptual,
            self.recipe.tune.perceptual_weights,
            lambda: self.pack.parser.features,
            self._weights("parser"),
            device=self.pack.device,
        )

    @cached_property
    def segmenter(self) -> ChosenSegmenter:
        """What finds hair beside the pack's parser; decided before keys are made, too."""
        return find_segmenter(self.recipe.matte.segmenter, device=self.pack.device)

    @cached_property
    def given_matte(self) -> MatteReader:
        """What takes the place of a matte that is made."""
        return open_matte(self.recipe.matte.from_)

    @contextmanager
    def on(self, clip: Clip) -> Iterator[None]:
        """Refuses what does not fit a clip, before long work, and holds what is read beside it.

        Raises MatteDoesNotFit or InvalidSetting, or the errors of what cannot be read.
        """
        for place, edit in self.recipe.places():
            edit.check_clip(clip, place)
        if not self.recipe.matte.from_:
            yield
            return
        try:
            self.given_matte.check(clip)
            yield
        finally:
            self.given_matte.close()

    @property
    def _makers(self) -> Makers:
        return makers_of(self.recipe, bool(self.segmenter.weights))

    @property
    def tuned(self) -> bool:
        return "tuned" in self.stages

    def _weights(self, *parts: str) -> dict[str, str]:
        return {part: self.pack.fingerprint(part) for part in parts}

    @cached_property
    def _provisions(self) -> dict[Any, Provision]:
        """By type."""
        pack = self.pack
        return {
            MovableGenerator: Provision(lambda: pack.generator, lambda: self._weights("generator")),
            Inverter: Provision(lambda: pack.inverter, lambda: self._weights(*pack.inverter_parts)),
            FaceIdentity | None: Provision(
                lambda: pack.identity,
                lambda: self._weights("identity") if pack.has("identity") else {},
            ),
            Parser: Provision(lambda: pack.parser, lambda: self._weights("parser")),
            HairSegmenter: Provision(
                lambda: self.segmenter.build(), lambda: self.segmenter.weights
            ),
            HairSegmenter | None: Provision(
                lambda: self.segmenter.build(), lambda: self.segmenter.weights
            ),
            MatteReader: Provision(
                lambda: self.given_matte, lambda: {"matte": self.given_matte.fingerprint}
            ),
            Perceptual: Provision(lambda: self.perceptual, lambda: self.perceptual.weights),
            AttributeSpace | None: Provision(
                lambda: pack.attributes,
                lambda: {} if pack.attributes is None else self._weights("attributes"),
            ),
            FaceEffects | None: Provision(
                lambda: pack.effects,
                lambda: self._weights("effects") if pack.has("effects") else {},
            ),
            StyleGANEX: Provision(lambda: pack.styleganex, lambda: self._weights("styleganex")),
            EditingVector: Provision(
                lambda: pack.editing_vector, lambda: self._weights("editing_vector")
            ),
            BaldMapper | None: Provision(
                lambda: self.bald,
                lambda: self._weights("bald_mapper") if pack.has("bald_mapper") else {},
            ),
            Mappers: Provision(lambda: pack.mappers, lambda: self._weights(*pack.mappers.parts)),
        }

    @cached_property
    def _facts(self) -> dict[str, Callable[[], Any]]:
        return {
            "face_pixels": lambda: self.recipe.matte.size or self.pack.parser.face_pixels,
            "parser.stride": lambda: self.pack.parser.stride,
            "generator.resolution": lambda: self.pack.generator.config.resolution,
            "precision.probe": lambda: self.precisions["probe"].name,
            "person.picture": lambda: fingerprint(read_image(str(self.recipe.align.person))),
        }

    def _config(self, kind: Any) -> Any:
        """The table of the recipe whose type this is, or None."""
        found = [name for name, cls in TABLES.items() if cls is kind]
        return getattr(self.recipe, found[0]) if found else None

    def _given(self, given: Setting | Fact) -> Any:
        if isinstance(given, Fact):
            return self._facts[given.name]()
        table, _, key = given.path.partition(".")
        return getattr(getattr(self.recipe, table), key)

    def _known(self, needed: Input) -> bool:
        if isinstance(needed.given, Fact):
            return needed.given.name in self._facts
        if isinstance(needed.given, Setting):
            table, _, key = needed.given.path.partition(".")
            return table in TABLES and hasattr(getattr(self.recipe, table), key)
        given = (Clip, Span, Meter, AtOnce, Progress)
        known = needed.kind in given or needed.kind in self._provisions
        return known or self._config(needed.kind) is not None

    # ---- nodes

    def nodes(self) -> list[Node]:
        """What is made for the clip, before it is known whom the flow fans out to, in the order in
        which they run: what can fail without the clip comes first."""
        late = self._late
        found = [self._node(m) for n, m in self.stages.items() if n not in late and not m.each]
        return sorted(found, key=lambda node: bool(node.needs) or node.source)

    def fanned_nodes(self, work: Work) -> list[Node]:
        """The others, once `nodes` are up to date: for one after the other, then what gathers."""
        late = [self.stages[name] for name in self._late]
        each = [m for m in late if m.fanned]
        found = [self._node(m, unit) for unit in range(len(self.fan_out(work))) for m in each]
        return found + [self._node(m) for m in late if not m.fanned]

    def fan_out(self, work: Work) -> Sequence[Value]:
        """Whom the flow fans out to."""
        if self.units is None:
            fans = [made for made in self.stages.values() if made.each]
            self.units = [unit for made in fans for unit in self._make(made, work)]
        return self.units

    @cached_property
    def _late(self) -> list[str]:
        """Stages after the one that fans out."""
        fans = {name for name, made in self.stages.items() if made.each}
        late: list[str] = []
        for name, made in self.stages.items():
            if not fans.isdisjoint(made.values) or not set(late).isdisjoint(made.values):
                late.append(name)
        return late

    def node_name(self, name: str, unit: int = 0) -> str:
        """Of the node that makes a value, of one of those whom the flow fans out to."""
        several = self.stages[name].fanned and len(self.units or ()) > 1
        return f"{name} ({self.units[unit]})" if several and self.units else name

    def _identity(self, owner: Any) -> dict[str, Any]:
        if owner not in self._identities:
            self._identities[owner] = {} if owner is None else owner.identity()
        return self._identities[owner]

    def _node(self, made: Stage, unit: int = 0) -> Node:
        settings = dict(self._identity(made.owner))
        weights: dict[str, str] = {}
        inputs: dict[str, str] = {}
        needs: list[str] = []
        for name, needed in made.inputs.items():
            if needed.given is not None:
                settings[name] = self._given(needed.given)
            elif name in self.stages:
                of = range(len(self.units or ())) if needed.every else [unit]
                if self.stages[name].each and self.units:  # in the key by what they are
                    found = [fingerprint(self.units[one].arrays()) for one in of]
                    inputs[name] = fingerprint(found) if needed.every else found[0]
                else:
                    needs += [self.node_name(name, one) for one in of]
            elif needed.kind in self._provisions:
                weights |= self._provisions[needed.kind].weights()
            elif (config := self._config(needed.kind)) is not None:
                settings |= identity(config)
        kinds = [needed.kind for needed in made.inputs.values()]
        steps = None
        if made.steps is not None:
            configs = [self._config(kind) for kind in kinds if self._config(kind)]
            steps = made.steps(configs[0] if made.owner is None else made.owner)
        return Node(
            self.node_name(made.name, unit),
            made.version,
            lambda work, start=0, stop=0: self._arrays(made, work, start, stop, unit),
            settings,
            tuple(needs),
            weights,
            source="frames" in made.inputs or Clip in kinds,
            whole=made.whole,
            chunk=made.chunk,
            steps=steps,
            kept=made.kept,
            stage=made.name,
            inputs=inputs,
            rows=getattr(made.makes, "ROWS", ()) if made.whole and made.kept else (),
            compress=made.compress,
            before=max((n.near.before for n in made.values.values() if n.near), default=0),
            after=max((n.near.reach for n in made.values.values() if n.near), default=0),
            resumes=made.resumes,
        )

    def _arrays(
        self, made: Stage, work: Work, start: int, stop: int, unit: int
    ) -> Arrays | Iterator[Arrays]:
        value = self._make(made, work, start, stop, unit)
        return (piece.arrays() for piece in value) if made.streamed else value.arrays()

    @contextmanager
    def at_hand(self, found: dict[tuple[str, int, int], Any] | None) -> Iterator[None]:
        """Meanwhile what the cache does not hold is made once for its takers. found: what is there
        already; None to make it for each of them."""
        former, self._at_hand = self._at_hand, found
        try:
            yield
        finally:
            self._at_hand = former

    def _once(self, made: Stage, work: Work, start: int, stop: int, unit: int) -> Any:
        if self._at_hand is None:
            return self._make(made, work, start, stop, unit)
        which = self.node_name(made.name, unit), start, stop
        if which not in self._at_hand:
            self._at_hand[which] = self._make(made, work, start, stop, unit)
        return self._at_hand[which]

    def _make(self, made: Stage, work: Work, start: int = 0, stop: int = 0, unit: int = 0) -> Any:
        """Call a stage for the frames start … stop − 1, or for the clip."""
        # What sees the whole clip reads it bit by bit, and none of it stays at hand.
        found = {} if self._at_hand is None else self._at_hand
        with self.at_hand(None if made.whole else found):
            return self._called(made, work, start, stop, unit)

    def _called(self, made: Stage, work: Work, start: int, stop: int, unit: int) -> Any:
        arguments: dict[str, Any] = {}
        for name, needed in made.inputs.items():
            if needed.given is not None:
                arguments[name] = self._given(needed.given)
            elif needed.every:
                arguments[name] = _Every(self, work, name, start, stop)
            elif needed.series:
                arguments[name] = _Clip(self, work, name, needed.kind, unit)
            elif needed.is_value:
                early, late = start, stop
                if needed.near is not None:
                    early, late = needed.near.range(start, stop, work.frame_count)
                arguments[name] = self.value(work, name, early, late, unit)
            elif needed.kind is Clip:
                arguments[name] = work.reader.clip
            elif needed.kind is Span:
                arguments[name] = Span(start, stop)
            elif needed.kind is Meter:
                arguments[name] = work.meter
            elif needed.kind is AtOnce:
                arguments[name] = work.at_once
            elif needed.kind is Progress:
                arguments[name] = work.progress
            elif needed.kind in self._provisions:
                arguments[name] = self._provisions[needed.kind].make()
            else:
                arguments[name] = self._config(needed.kind)
        return made.make(**arguments)

    # ---- values

    def value(self, work: Work, name: str, start: int = 0, stop: int = 0, unit: int = 0) -> Any:
        """What the frames start … stop − 1 have of a value, or all of one that has no frames.

        unit: of which of those whom the flow fans out to, by its place among them.
        """
        if name in SOURCE:
            return Frames(work.frames, start, stop)
        made = self.stages[name]
        if made.each:
            return self.fan_out(work)[unit]
        node = self.node_name(name, unit)
        rows = getattr(made.makes, "ROWS", ())
        if rows and made.kept:
            fixed = work.per_clip(node) if made.whole else {}
            return made.makes.of(fixed | work.per_frame(node, start, stop))
        if not made.whole:
            return self._once(made, work, start, stop, unit)
        unit = unit if made.fanned else 0
        if (name, unit) not in self._made:
            kept = made.kept
            self._made[name, unit] = (
                made.makes.of(work.per_clip(node)) if kept else self._make(made, work, unit=unit)
            )
        found = self._made[name, unit]
        return found.rows(start, stop) if rows else found

    def field(self, work: Work, name: str, field: str, unit: int = 0) -> NDArray[Any]:
        """One field of a value, of all frames."""
        made = self.stages[name]
        if not made.kept:
            found: NDArray[Any] = getattr(self.value(work, name, 0, work.frame_count, unit), field)
            return found
        return work.per_frame(self.node_name(name, unit), 0, work.frame_count, (field,))[field]

    def pictures(
        self, work: Work, start: int, stop: int
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
        """What the flow makes: frames uint8 [T, H, W, 3], and their alpha [T, H, W] if they have
        any."""
        frames, made = work.frames(start, stop), self.value(work, self.goal, start, stop)
        if isinstance(made, cut_out.CutOut):
            return frames, made.alpha
        alpha = work.alpha(start, stop) if work.reader.clip.alpha else None
        return made.over(frames), alpha

    def shown(self, work: Work) -> NDArray[np.bool_]:
        """[T] bool: whether a frame shows somebody who is edited; of whole frames without places,
        all are."""
        if "places" in self.stages:
            drawn: NDArray[np.bool_] = (self.field(work, "places", "share") > 0).any(1)
            return drawn
        if "track" not in self.stages:
            return np.ones(work.frame_count, bool)
        units = range(len(self.fan_out(work)))
        present = [self.field(work, "track", "present", unit) for unit in units]
        shown: NDArray[np.bool_] = np.any(present, axis=0)
        return shown

    def quarters(self, work: Work) -> int:
        """By how many quarters of a circle, to the left, frames have to be turned for the heads
        that are edited to be upright, as parsers, bodies and hair that hangs have them. None where
        heads do not agree, or what is given or made has the places of frames as they are."""
        fixed = self.recipe.matte.from_ or any(
            edit.whole_frames or edit.painted_over for edit in self.recipe.edits
        )
        if fixed or "track" not in self.stages:
            return 0
        units = [unit for unit in self.fan_out(work) if isinstance(unit, people.Person)]
        tracks = [track for unit in units for track in unit.tracks]
        chosen = np.isin(self.field(work, "tracks", "track"), tracks)
        return quarters_of(self.field(work, "tracks", "axes")[chosen][:, 2:])

    def _lying(self, work: Work, unit: int) -> int:
        """Frames in which a person's head is turned by more than LYING."""
        across = self.field(work, "track", "mesh", unit)[:, list(EARS)]
        right, down = np.moveaxis(across[:, 1] - across[:, 0], -1, 0)
        return int((np.abs(np.arctan2(down, right)) > LYING).sum())

    def _unchanged(self, work: Work, unit: int) -> bool:
        """Whether a person's hair keeps its shape in all frames."""
        parts = (self.value(work, "reshaped", *part, unit) for part in ranges(work.frame_count))
        return not any(part.levels.any() for part in parts)

    def _without_hair(self, work: Work, unit: int) -> int:
        """Frames that show a person, and none of their hair."""
        area = self.field(work, "matte", "area", unit)
        return int((self.field(work, "track", "present", unit) & (area == 0)).sum())

    def _unseen(self, work: Work) -> list[str]:
        """Notes on facial hair that is to be dyed, and that nobody has."""
        if "facial_colors" not in self.stages:
            return []
        units = range(len(self.fan_out(work)))
        colors = [self.value(work, "facial_colors", unit=unit) for unit in units]
        return [
            f"no {part} can be told from the skin, and nothing is dyed there"
            for part in self.recipe.edits[-1].facial
            if not any(one.seen(part) for one in colors)
        ]

    def _of_longer_hair(self, ends: Sequence[HairEnd]) -> Iterator[str]:
        """Of people whose hair becomes longer, how, by where it ends."""
        if draws(self.recipe):
            yield (
                "hair that comes is a drawing of the pack; edit.by = layer lets long hair fall "
                "further down by itself, and renders strands for short hair"
            )
            return
        if any(end.long for end in ends):
            yield "long hair is the person's own, and falls further down"
        if not all(end.long for end in ends):
            yield (
                "hair that was short is rendered, strand by strand, in the person's own color, "
                "and parted; hairstyle has others, and hair_reference those of photos"
            )

    def _of_fringes(self, work: Work, units: range) -> Iterator[str]:
        """Of people on whom there is nothing that an edit of fringes could comb."""
        lines: list[Hairline] = [
            self.value(work, "hairline", 0, work.frame_count, unit) for unit in units
        ]
        told = [
            line.fringed(row)
            for line in lines
            for row in np.flatnonzero(~np.isnan(line.end).any(1)).tolist()
        ]
        if not told:
            yield "no hair is seen above the forehead that could fall over it; fringe draws none"
        elif not any(told) and not any(
            isinstance(edit, Fringe) and edit.adds for edit in self.recipe.edits
        ):
            yield "no fringe is seen that could be taken away, as fringe below 0 does"

    def notes(self, work: Work) -> list[str]:
        """What a person should know about how the clip was read and edited."""
        units = range(len(self.fan_out(work)))
        notes = []
        count = self.value(work, "people").count if "people" in self.stages else 0
        if count > 1:
            who = "all are" if len(units) == count else f"{self.fan_out(work)[0]} is"
            notes.append(f"{count} people; {who} edited (`vidhair inspect` lists them)")
        missing = int((~self.shown(work)).sum())
        if missing:
            of_whom = "no face" if count < 2 else "nobody who is edited"
            notes.append(f"{missing} frames show {of_whom} and are passed through untouched")
        bridged = 0
        for unit in units:
            present = self.field(work, "track", "present", unit)
            bridged += int((present & ~self.field(work, "track", "detected", unit)).sum())
        if bridged:
            notes.append(f"{bridged} frames without a detection are bridged by interpolation")
        if "skull" in self.stages:
            lying = sum(self._lying(work, unit) for unit in units)
            if lying:
                notes.append(
                    f"in {lying} frames the head lies on its side, where what hair hides of body "
                    "and surroundings is guessed as if it were upright; edit such shots apart"
                )
        own = units if "hair_end" in self.stages else ()
        ends = [self.value(work, "hair_end", unit=unit) for unit in own]
        cuts = not all(edit.keeps_hair for edit in self.recipe.edits)
        if cuts and any(end.highest for end in ends):
            notes.append(
                "hair ends beside the ears already, above which hair_length cuts none; volume "
                "lays it closer, and bald takes it away"
            )
        if any(isinstance(edit, HairLength) and edit.longer for edit in self.recipe.edits):
            notes += self._of_longer_hair(ends)
        if "hairline" in self.stages:
            notes += self._of_fringes(work, units)
        if not any(cuts or end.long for end in ends) and (
            "reshaped" in self.stages and all(self._unchanged(work, unit) for unit in units)
        ):
            notes.append(
                "no hair comes or goes, as drawings with the edit and without it are too alike; "
                "ask for more of it, or take another pack"
            )
        photos = units if "photo_hair" in self.stages else ()
        if any(self.value(work, "photo_hair", unit=unit).mirrored for unit in photos):
            notes.append(
                "the photo's face looks the other way than the person's; its hair is worn as in a "
                "mirror, with its parting on the other side"
            )
        if "matte" in self.stages:
            bare = sum(self._without_hair(work, unit) for unit in units)
            if bare:
                notes.append(f"no hair is seen on {bare} of the faces that are edited")
        if "doubts" in self.stages:
            found = [self.value(work, "doubts", unit=unit).sentences for unit in units]
            notes += dict.fromkeys(chain.from_iterable(found))
        notes += self._unseen(work)
        if "prior" in self.stages:
            notes.append(self.segmenter.about)
        if not draws(self.recipe):
            notes += dict.fromkeys(edit.note for edit in self.recipe.edits if edit.note)
        if self.recipe.matte.from_:
            notes.append(f"hair is where {self.recipe.matte.from_} says, as matte.from asks")
        if self.tuned:
            notes.append(self.perceptual.about)
        notes += [decided.note for decided in self.precisions.values() if decided.note]
        if self.recipe.compose.mode == "auto":
            notes.append(f"compose.mode is {mode_of(self.recipe)}, as the edit asks for")
        if any(
            self.value(work, name, unit=unit).seen == 0
            for name in self.stages
            if name.startswith("face_effect")
            for unit in units
        ):
            notes.append(
                "no face is found in what the pack draws; the motion of its pictures tells what "
                "the edit does, which is less sure"
            )
        if mode_of(self.recipe) == "replace" and not self.pack.generator.synthesis.expands:
            notes.append(
                "the pack's generator draws the aligned face only; what lies around it stays as "
                "it was"
            )
        return notes


@dataclass(frozen=True)
class _Clip:
    """A `Series` of a flow's values."""

    flow: Flow
    work: Work
    name: str
    kind: type[Value]
    unit: int

    @property
    def count(self) -> int:
        return self.work.frame_count

    def rows(self, start: int, stop: int) -> Any:
        return self.flow.value(self.work, self.name, start, stop, self.unit)

    def whole(self) -> Any:
        return self.rows(0, self.count)

    def field(self, name: str) -> NDArray[Any]:
        return self.flow.field(self.work, self.name, name, self.unit)


@dataclass(frozen=True)
class _Every:
    """An `Every` of a flow's values."""

    flow: Flow
    work: Work
    name: str
    start: int
    stop: int

    def __len__(self) -> int:
        return len(self.flow.fan_out(self.work))

    def __iter__(self) -> Iterator[Any]:
        for unit in range(len(self)):
            with self.flow.at_hand({**(self.flow._at_hand or {})}):
                value = self.flow.value(self.work, self.name, self.start, self.stop, unit)
            yield value
