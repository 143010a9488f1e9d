"""The flow of a recipe on a clip: which functions make its values, and what they are given.

    thumbnails → shots ─┐
    faces ──────────────┴→ track → latents → pivots → tuned → rendered ───────┐
                             └→ labels → hair_colors → matte → edited_codes → edited → composed

What the cache keeps of the composed frames are their `changes` of the source, from which they are
written.
Everything else follows from the signatures of the stages (`vidhair.wiring`). `pivots` are smoothed
codes without an edit. Every edit here adds the same amount to all frames of a shot, so smoothing
before or after it gives the same codes; before, the tuned generator can be asked what an edit will
look like.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from vidhair.edits import Bald, Edit, HairColor, Reconstruct
from vidhair.edits.directions import AttributeSpace, pack_attributes
from vidhair.flow.node import Node
from vidhair.flow.runner import Means, Work
from vidhair.models.aligned import MovableGenerator
from vidhair.models.head_parser import Parser
from vidhair.models.inversion import Inverter
from vidhair.models.mappers import BaldMapper
from vidhair.models.pack import Pack
from vidhair.models.perceptual import Perceptual, find_perceptual
from vidhair.recipe import TABLES, Recipe, precisions
from vidhair.settings import identity
from vidhair.stages import align, compose, edit, invert, matte, render, smooth, tune
from vidhair.types import Clip, Frames
from vidhair.wiring import (
    Fact,
    Input,
    Makers,
    Meter,
    Setting,
    Span,
    Stage,
    Value,
    makers,
    plan,
)

GOAL = "changes"
SOURCE: dict[str, type] = {"frames": Frames}

HEAD = makers(
    align.thumbnails, align.faces, align.shots, align.track, invert.latents, smooth.shot_codes,
    smooth.pivots,
    matte.region, matte.labels, matte.hair_colors, matte.matte, render.canvas, render.rendered,
    compose.changes,
)  # fmt: skip
TUNED = makers(tune.tuned, drawer=tune.fine_tuned, codes=tune.offset_pivots)
UNTUNED = makers(drawer=tune.untuned, codes=tune.plain_pivots)


def makers_of(recipe: Recipe) -> Makers:
    """Who makes the values of a recipe."""
    tuned = recipe.tune.steps + recipe.tune.refine_steps > 0
    found = HEAD | (TUNED if tuned else UNTUNED)
    if isinstance(recipe.edit, HairColor):
        found |= makers(
            edit.target_color, edit.code_change, render.edited, edited_codes=edit.recolored
        )
    elif isinstance(recipe.edit, Reconstruct):
        found |= makers(edited=compose.unedited)
    else:
        change = edit.made_bald if isinstance(recipe.edit, Bald) else edit.moved
        found |= makers(render.edited, edited_codes=change)
    if recipe.compose.mode == "replace":
        return found | makers(composed=compose.replaced)
    dyes = isinstance(recipe.edit, HairColor)
    return found | makers(composed=compose.dyed if dyes else compose.residual)


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
        self.pack = pack
        self.precisions = precisions(recipe, pack.device)
        # So that keys hold what was computed in, not "auto".
        set_here = {p: d.name for p, d in self.precisions.items() if p != "probe"}
        layers = min(recipe.render.memory, (means or Means()).layers >> 20)
        self.recipe = recipe.override(set_here | {"render.memory": layers})
        self.stages = {
            s.name: s for s in plan(makers or makers_of(recipe), goal, SOURCE, self._known)
        }
        self._made: dict[str, Any] = {}  # derived values that hold for the clip
        edit.check_edit(recipe.edit, self.space, self.bald)

    # ---- what stages are given

    @cached_property
    def space(self) -> AttributeSpace | None:
        """The pack's attributes, if it has any."""
        return pack_attributes(self.pack.files)

    @cached_property
    def bald(self) -> BaldMapper | None:
        """The pack's mapper to bald heads, if it has one and it is asked for."""
        wanted = isinstance(self.recipe.edit, Bald) and self.pack.has("bald_mapper")
        return self.pack.build("bald_mapper") if wanted else None

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
            Parser: Provision(lambda: pack.parser, lambda: self._weights("parser")),
            Perceptual: Provision(lambda: self.perceptual, lambda: self.perceptual.weights),
            AttributeSpace | None: Provision(
                lambda: self.space,
                lambda: {} if self.space is None else self._weights("attributes"),
            ),
            BaldMapper | None: Provision(
                lambda: self.bald,
                lambda: {} if self.bald is None else self._weights("bald_mapper"),
            ),
        }

    @cached_property
    def _facts(self) -> dict[str, Callable[[], Any]]:
        return {
            "face_pixels": lambda: self.recipe.matte.size or self.pack.parser.face_pixels,
            "parser.stride": lambda: self.pack.parser.stride,
            "generator.resolution": lambda: self.pack.generator.config.resolution,
            "precision.probe": lambda: self.precisions["probe"].name,
        }

    def _config(self, kind: Any) -> Any:
        """The table of the recipe whose type this is, or None."""
        if isinstance(kind, type) and issubclass(kind, Edit):
            return self.recipe.edit if isinstance(self.recipe.edit, kind) else None
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
        known = needed.kind in (Clip, Span, Meter) or needed.kind in self._provisions
        return known or self._config(needed.kind) is not None

    # ---- nodes

    def nodes(self) -> list[Node]:
        """In the order in which they run: what can fail without the clip comes first."""
        found = [self._node(made) for made in self.stages.values()]
        return sorted(found, key=lambda node: bool(node.needs) or node.source)

    def _node(self, made: Stage) -> Node:
        settings: dict[str, Any] = {}
        weights: dict[str, str] = {}
        for name, needed in made.inputs.items():
            if needed.given is not None:
                settings[name] = self._given(needed.given)
            elif needed.kind in self._provisions:
                weights |= self._provisions[needed.kind].weights()
            elif (config := self._config(needed.kind)) is not None:
                settings |= config.identity() if isinstance(config, Edit) else identity(config)
        kinds = [needed.kind for needed in made.inputs.values()]
        steps = None
        if made.steps is not None:
            steps = next(made.steps(self._config(kind)) for kind in kinds if self._config(kind))
        return Node(
            made.name,
            made.version,
            lambda work, *span: self._make(made, work, *span).arrays(),
            settings,
            tuple(name for name in made.values if name not in SOURCE),
            weights,
            source="frames" in made.inputs or Clip in kinds,
            whole=made.whole,
            chunk=made.chunk,
            steps=steps,
            kept=made.kept,
            rows=getattr(made.makes, "ROWS", ()) if made.whole and made.kept else (),
            compress=made.compress,
            before=max((n.near.before for n in made.values.values() if n.near), default=0),
            after=max((n.near.reach for n in made.values.values() if n.near), default=0),
        )

    def _make(self, made: Stage, work: Work, start: int = 0, stop: int = 0) -> Any:
        """Call a stage for the frames start … stop − 1, or for the clip."""
        arguments: dict[str, Any] = {}
        for name, needed in made.inputs.items():
            if needed.given is not None:
                arguments[name] = self._given(needed.given)
            elif needed.series:
                arguments[name] = _Clip(self, work, name, needed.kind)
            elif needed.is_value:
                early, late = start, stop
                if needed.near is not None:
                    early, late = needed.near.range(start, stop, work.frame_count)
                arguments[name] = self.value(work, name, early, late)
            elif needed.kind is Clip:
                arguments[name] = work.reader.clip
            elif needed.kind is Span:
                arguments[name] = Span(start, stop)
            elif needed.kind is Meter:
                arguments[name] = work.meter
            elif needed.kind in self._provisions:
                arguments[name] = self._provisions[needed.kind].make()
            else:
                arguments[name] = self._config(needed.kind)
        return made.make(**arguments)

    # ---- values

    def value(self, work: Work, name: str, start: int = 0, stop: int = 0) -> Any:
        """What the frames start … stop − 1 have of a value, or all of one that has no frames."""
        if name in SOURCE:
            return Frames(work.frames, start, stop)
        made = self.stages[name]
        rows = getattr(made.makes, "ROWS", ())
        if rows and made.kept:
            fixed = work.per_clip(name) if made.whole else {}
            return made.makes.of(fixed | work.per_frame(name, start, stop))
        if not made.whole:
            return self._make(made, work, start, stop)
        if name not in self._made:
            kept = made.kept
            self._made[name] = (
                made.makes.of(work.per_clip(name)) if kept else self._make(made, work)
            )
        return self._made[name]

    def field(self, work: Work, name: str, field: str) -> np.ndarray:
        """One field of a value, of all frames."""
        made = self.stages[name]
        if not made.kept:
            return getattr(self.value(work, name, 0, work.frame_count), field)
        return work.per_frame(name, 0, work.frame_count, (field,))[field]

    def compose(self, work: Work, start: int, stop: int) -> np.ndarray:
        """The final frames, uint8 [T, H, W, 3]."""
        return self.value(work, GOAL, start, stop).over(work.frames(start, stop))

    def notes(self, work: Work) -> list[str]:
        """What a person should know about how the clip was read and edited."""
        others = self.value(work, "track", 0, 1).others
        present, detected = (self.field(work, "track", name) for name in ("present", "detected"))
        notes = []
        if others > 0:
            notes.append(f"up to {others + 1} faces in a frame; the largest one is edited")
        missing = int((~present).sum())
        if missing:
            notes.append(f"{missing} frames show no face and are passed through untouched")
        bridged = int((present & ~detected).sum())
        if bridged:
            notes.append(f"{bridged} frames without a detection are bridged by interpolation")
        if self.tuned:
            notes.append(self.perceptual.about)
        notes += [decided.note for decided in self.precisions.values() if decided.note]
        if self.recipe.compose.mode == "replace" and not self.pack.generator.synthesis.expands:
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

    @property
    def count(self) -> int:
        return self.work.frame_count

    def rows(self, start: int, stop: int) -> Any:
        return self.flow.value(self.work, self.name, start, stop)

    def whole(self) -> Any:
        return self.rows(0, self.count)

    def field(self, name: str) -> np.ndarray:
        return self.flow.field(self.work, self.name, name)
