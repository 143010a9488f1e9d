"""The flow: which nodes a recipe needs, in order, and how they take from each other.

    decode → align → invert → smooth → tune ─┬→ render source ─┐
                  └→ parse → matte ──────────┴→ edit → render ─┴→ compose → encode

`smooth` gives the pivots, that is steady codes without an edit. Every edit here adds the same
amount to all frames of a shot, so smoothing before or after it gives the same codes; before, the
tuned generator can be asked what an edit will look like.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch

from vidhair.edits import Bald, HairColor, Reconstruct
from vidhair.edits.colors import is_picture, parse_colour
from vidhair.edits.directions import AttributeSpace, pack_attributes
from vidhair.flow.node import Arrays, Node
from vidhair.flow.runner import Work
from vidhair.geometry import Box, CropAxes, Similarity
from vidhair.models.aligned import MovableSynthesis
from vidhair.models.face_landmarks import PersonSegmenter
from vidhair.models.mappers import BaldMapper
from vidhair.models.pack import Pack
from vidhair.models.perceptual import Perceptual, find_perceptual
from vidhair.ops.color import rgb_to_lab
from vidhair.ops.warp import cut_rectangle, to_unit
from vidhair.recipe import Recipe, precisions
from vidhair.stages import align, matte
from vidhair.stages import edit as editing
from vidhair.stages.align import FaceTrack
from vidhair.stages.compose import (
    ReplaceMasks,
    compose_replace,
    compose_residual,
    replace_masks,
)
from vidhair.stages.invert import invert
from vidhair.stages.matte import HeadRegion
from vidhair.stages.render import Canvas, drawn_share, input_transforms, plan_canvas, render
from vidhair.stages.smooth import smooth_similarity, smooth_styles
from vidhair.stages.tune import Pivots, choose_frames, refine, tune, with_weights

PROBE_FRAMES = 4
COLOR_FRAMES = 12


@dataclass(frozen=True)
class Geometry:
    """What follows from the track alone: where to render and where to look for hair."""

    track: FaceTrack
    canvas: Canvas
    region: HeadRegion

    @property
    def crop_side(self) -> float:
        """Typical side of the face crop in frame pixels."""
        return self.track.box.side

    @property
    def zoom(self) -> int:
        """How many times finer than the parser's grid the matte is."""
        return max(1, min(4, int(self.region.step)))

    @property
    def matte_grid(self) -> tuple[float, float, float]:
        """(left, top, step) of the matte in frame pixels."""
        return self.region.left, self.region.top, self.region.step / self.zoom


class Flow:
    """The nodes of one recipe on one clip."""

    def __init__(self, recipe: Recipe, pack: Pack, source: str):
        self.pack, self.source = pack, source
        self.precisions = precisions(recipe, pack.device)
        # So that keys hold what was computed in, not "auto".
        set_here = {p: d.name for p, d in self.precisions.items() if p != "probe"}
        self.recipe = recipe.override(set_here)
        self._synthesis: MovableSynthesis | None = None
        self._geometry: Geometry | None = None
        editing.check_edit(recipe.edit, self.space, self.bald)

    # ---- what is shared by nodes

    @cached_property
    def space(self) -> AttributeSpace | None:
        """The pack's attributes, if it has any."""
        return pack_attributes(self.pack.files)

    @cached_property
    def bald(self) -> BaldMapper | None:
        """The pack's mapper to bald heads, if it has one and it is asked for."""
        wanted = isinstance(self.recipe.edit, Bald) and self.pack.has("bald_mapper")
        return self.pack.build("bald_mapper") if wanted else None

    @property
    def _attributes(self) -> dict[str, str]:
        return self._weights("attributes") if self.space is not None else {}

    def _weights(self, *parts: str) -> dict[str, str]:
        return {part: self.pack.fingerprint(part) for part in parts}

    @property
    def face_pixels(self) -> int:
        """Side of the face crop as the parser sees it."""
        return self.recipe.matte.size or self.pack.parser.face_pixels

    @property
    def tuned(self) -> bool:
        return self.recipe.tune.steps + self.recipe.tune.refine_steps > 0

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
    def _tune_settings(self) -> dict[str, Any]:
        """Without how the perceptual distance was found; its weights say what it is."""
        settings = asdict(self.recipe.tune) | {"expand": self.recipe.render.expand}
        return {n: v for n, v in settings.items() if n not in ("perceptual", "perceptual_weights")}

    def geometry(self, work: Work) -> Geometry:
        if self._geometry is None:
            track = self.track(work)
            clip = work.reader.clip
            size = (clip.width, clip.height)
            axes = track.axes
            seen = CropAxes(axes.centre[track.present], axes.x[track.present])
            resolution = self.pack.generator.config.resolution
            canvas = plan_canvas(seen, track.box, size, resolution, self.recipe.render.expand)
            stride = self.pack.parser.stride
            region = matte.plan_region(seen, size, self.face_pixels, stride)
            self._geometry = Geometry(track, canvas, region)
        return self._geometry

    def track(self, work: Work) -> FaceTrack:
        found = work.per_clip("align")
        box = Box(*(float(v) for v in found["box"]))
        return FaceTrack(
            found["mesh"],
            found["detected"],
            found["present"],
            found["cuts"],
            box,
            int(found["others"]),
        )

    def similarity(self, work: Work) -> Similarity:
        """Steady (r, tx, ty, scale) of every frame."""
        return Similarity(*work.per_clip("smooth")["transform"].T)

    def styles(self, work: Work) -> np.ndarray:
        """Steady codes, with the offset that tuning found."""
        styles = work.per_clip("smooth")["styles"]
        return styles + work.per_clip("tune")["offset"] if self.tuned else styles

    def synthesis(self, work: Work) -> MovableSynthesis:
        if self._synthesis is None:
            weights = {}
            if self.tuned:
                found = work.per_clip("tune")
                weights = {n: torch.from_numpy(v) for n, v in found.items() if n != "offset"}
            self._synthesis = with_weights(self.pack.generator, weights).to(self.pack.device)
        return self._synthesis

    # ---- nodes

    def nodes(self) -> list[Node]:
        """In the order in which they run."""
        r = self.recipe
        nodes = [
            Node("decode", 1, self._decode, source=True, chunk=64),
            Node(
                "faces",
                2,
                self._faces,
                {"min_confidence": r.align.min_confidence},
                source=True,
                chunk=64,
            ),
            Node("align", 2, self._align, asdict(r.align), ("decode", "faces"), whole=True),
            Node(
                "invert",
                1,
                self._invert,
                {},
                ("align",),
                self._weights(*self.pack.inverter_parts),
                source=True,
            ),
            Node(
                "smooth",
                1,
                self._smooth,
                asdict(r.smooth),
                ("align", "invert"),
                self._attributes,
                whole=True,
            ),
            Node(
                "parse",
                1,
                self._parse,
                {"size": self.face_pixels},
                ("align",),
                self._weights("parser"),
                source=True,
            ),
            Node("colors", 2, self._colors, {}, ("align", "parse"), source=True, whole=True),
            Node(
                "matte",
                2,
                self._matte,
                asdict(r.matte) | {"size": self.face_pixels},
                ("align", "parse", "colors"),
                source=True,
            ),
        ]
        if self.tuned:
            nodes.append(
                Node(
                    "tune",
                    2,
                    self._tune,
                    self._tune_settings,
                    ("align", "smooth", "parse"),
                    self._weights("generator") | dict(self.perceptual.weights),
                    source=True,
                    whole=True,
                    steps=r.tune.steps + r.tune.refine_steps,
                )
            )
        steady = ("align", "smooth", "tune") if self.tuned else ("align", "smooth")
        look = {"expand": r.render.expand, "precision": r.render.precision}
        generator = self._weights("generator")
        nodes.append(Node("render_source", 1, self._render_source, look, steady, generator))
        if isinstance(r.edit, Reconstruct):
            return nodes
        edit: dict[str, Any] = {"kind": r.edit.kind, **asdict(r.edit)}
        if isinstance(r.edit, HairColor):
            edit["color"] = self._color_settings(r.edit)
            edit["precision"] = self.precisions["probe"].name
        nodes.append(
            Node(
                "edit",
                4,
                self._edit,
                edit | {"expand": r.render.expand},
                (*steady, "matte"),
                generator
                | self._attributes
                | (self._weights("bald_mapper") if self.bald is not None else {}),
                whole=True,
            )
        )
        nodes.append(Node("render_edit", 1, self._render_edit, look, (*steady, "edit"), generator))
        return nodes

    def _decode(self, work: Work, start: int, stop: int) -> Arrays:
        return {"thumbnail": align.thumbnails(work.each(start, stop))}

    def _faces(self, work: Work, start: int, stop: int) -> Arrays:
        early = max(0, start - align.WARM_UP)
        frames = work.each(early, stop)
        return {"mesh": align.find_faces(frames, self.recipe.align, start - early)}

    def _align(self, work: Work) -> Arrays:
        count = work.frame_count
        meshes = work.per_frame("faces", 0, count)["mesh"]
        thumbs = work.per_frame("decode", 0, count)["thumbnail"]
        cuts = align.find_cuts(thumbs, self.recipe.align.cut_threshold)
        seconds = work.reader.clip.seconds_T
        track = align.follow_face(meshes, seconds, cuts, self.recipe.align, self.source)
        work.meter(count)
        return {
            "mesh": track.mesh,
            "detected": track.detected,
            "present": track.present,
            "cuts": track.cuts,
            "box": np.array([track.box.left, track.box.top, track.box.side]),
            "others": np.array(track.others),
        }

    def _invert(self, work: Work, start: int, stop: int) -> Arrays:
        track, inverter = self.track(work), self.pack.inverter
        styles = np.zeros((stop - start, inverter.num_ws, inverter.w_dim), np.float32)
        rows = track.present[start:stop]
        if rows.any():
            axes = track.axes
            frames = (frame for frame, row in zip(work.each(start, stop), rows, strict=True) if row)
            here = CropAxes(axes.centre[start:stop][rows], axes.x[start:stop][rows])
            styles[rows] = invert(frames, here, inverter, self.recipe.invert)
        return {"styles": styles}

    def _smooth(self, work: Work) -> Arrays:
        track, config = self.track(work), self.recipe.smooth
        raw = work.per_frame("invert", 0, work.frame_count)["styles"]
        styles = smooth_styles(raw, track.present, track.cuts, config, self.space)
        s = smooth_similarity(track.similarity, track.present, track.cuts, config)
        columns = np.stack([s.angle_deg, s.tx, s.ty, s.scale], 1)
        work.meter(work.frame_count)
        return {"styles": styles, "transform": columns}

    def _parse(self, work: Work, start: int, stop: int) -> Arrays:
        geometry = self.geometry(work)
        segmenter = PersonSegmenter()
        planes = matte.parse(
            work.each(start, stop),
            geometry.track.mesh[start:stop],
            geometry.region,
            self.pack.parser,
            segmenter,
        )
        segmenter.close()
        return {"planes": planes}

    def _look(self, work: Work, frame: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Label probabilities and Lab of a frame on the grid of the matte."""
        geometry = self.geometry(work)
        planes = work.per_frame("parse", frame, frame + 1)["planes"]
        probability = torch.nn.functional.interpolate(
            torch.from_numpy(planes[:, :4]).float() / 255,
            scale_factor=geometry.zoom,
            mode="bilinear",
            align_corners=False,
        )
        unit = to_unit(work.frames(frame, frame + 1))
        return probability, rgb_to_lab(geometry.region.cut(unit, geometry.zoom) / 2 + 0.5)

    def _colors(self, work: Work) -> Arrays:
        present = self.track(work).present
        chosen = np.flatnonzero(present)
        chosen = chosen[np.linspace(0, len(chosen) - 1, min(COLOR_FRAMES, len(chosen))).astype(int)]
        geometry = self.geometry(work)

        def samples() -> Iterator[matte.Sample]:
            for done, frame in enumerate(int(f) for f in chosen):
                probability, lab = self._look(work, frame)
                place = (range(frame, frame + 1), geometry.matte_grid, lab.shape[2:])
                neck = matte.face_part(matte.NECK, geometry.track, *place)
                face = matte.face_part(matte.MIDDLE, geometry.track, *place)
                yield lab, probability, neck, face
                work.meter(work.frame_count * (done + 1) / len(chosen))

        return {"log_density": matte.learn_colors(samples()).log_density}

    def _matte(self, work: Work, start: int, stop: int) -> Arrays:
        geometry = self.geometry(work)
        early, late = (
            max(0, start - matte.NEIGHBOURS),
            min(work.frame_count, stop + matte.NEIGHBOURS),
        )
        return matte.make_mattes(
            partial(self._look, work),
            matte.ColorModels(work.per_clip("colors")["log_density"]),
            geometry.track,
            range(early, late),
            range(start, stop),
            geometry.matte_grid,
            self.recipe.matte,
        )

    def _tune(self, work: Work) -> Arrays:
        config, pack = self.recipe.tune, self.pack
        geometry, track = self.geometry(work), self.track(work)
        styles = work.per_clip("smooth")["styles"]
        similarity = self.similarity(work)
        looks = np.column_stack([styles.mean(1), similarity.angle_deg, similarity.scale])
        chosen = choose_frames(looks, track.present, config.frames)
        canvas, region = geometry.canvas, geometry.region
        pictures, weights = [], []
        for frame in chosen:
            unit = to_unit(work.frames(frame, frame + 1), pack.device)
            box = (canvas.left, canvas.top, canvas.step, canvas.height, canvas.width)
            pictures.append(cut_rectangle(unit, *box))
            planes = work.per_frame("parse", int(frame), int(frame) + 1)["planes"]
            head = torch.from_numpy(planes[:, 1:3]).float().sum(1, keepdim=True) / 255
            weights.append(matte.on_canvas(head.clamp(0, 1), region, canvas))
        transforms = input_transforms(similarity, pack.device)[torch.from_numpy(chosen)]
        weight = 0.1 + 0.9 * torch.cat(weights).to(pack.device)
        pivots = Pivots(
            torch.from_numpy(styles[chosen]).to(pack.device),
            transforms,
            torch.cat(pictures),
            weight * drawn_share(pack.generator.synthesis, transforms, canvas),
        )
        distance = self.perceptual.build()
        work.meter(0)
        offset = refine(
            pack.generator.synthesis,
            pivots,
            canvas,
            distance,
            config,
            lambda step, _, loss: work.meter(step, f"loss {loss:.3f}"),
        )
        moved = Pivots(pivots.styles + offset, pivots.transforms, pivots.pictures, pivots.weight)
        tuned = tune(
            pack.generator,
            moved,
            canvas,
            distance,
            config,
            lambda step, _, loss: work.meter(config.refine_steps + step, f"loss {loss:.3f}"),
        )
        return {n: v.cpu().numpy() for n, v in tuned.items()} | {"offset": offset.cpu().numpy()}

    def _render(self, work: Work, styles: np.ndarray, start: int, stop: int) -> Arrays:
        geometry = self.geometry(work)
        canvas, rows = geometry.canvas, geometry.track.present[start:stop]
        pictures = np.zeros((stop - start, canvas.height, canvas.width, 3), np.uint8)
        if rows.any():
            columns = work.per_clip("smooth")["transform"][start:stop][rows]
            pictures[rows] = render(
                self.synthesis(work),
                styles[start:stop][rows],
                Similarity(*columns.T),
                canvas,
                self.recipe.render,
            )
        return {"picture": pictures}

    def _render_source(self, work: Work, start: int, stop: int) -> Arrays:
        return self._render(work, self.styles(work), start, stop)

    def _render_edit(self, work: Work, start: int, stop: int) -> Arrays:
        return self._render(work, work.per_clip("edit")["styles"], start, stop)

    def _edit(self, work: Work) -> Arrays:
        track, edit = self.track(work), self.recipe.edit
        wanted = self._wanted_change(work, edit) if isinstance(edit, HairColor) else None
        edited = editing.edit_styles(
            edit,
            self.styles(work),
            track.present,
            track.cuts,
            self.space,
            None if wanted is None else self._color_change(work, wanted),
            self.bald,
        )
        work.meter(work.frame_count)
        return {"styles": edited} | ({} if wanted is None else {"lab_change": wanted.numpy()})

    # ---- hair colour

    def _color_settings(self, edit: HairColor) -> list[float]:
        """The colour itself, so that its name or file does not matter to the cache."""
        if is_picture(edit.color):
            return list(matte.mean_hair_color(edit.color, self.pack.parser))
        return list(parse_colour(edit.color))

    def _hair(self, work: Work) -> tuple[np.ndarray, np.ndarray]:
        """Of every frame: how much hair there is [T], and its mean Lab [T, 3]."""
        found = work.per_frame("matte", 0, work.frame_count, ("area", "mean_lab"))
        return found["area"] * self.track(work).present, found["mean_lab"]

    def _wanted_change(self, work: Work, edit: HairColor) -> torch.Tensor:
        """The change [3] of the hair's mean Lab over the clip."""
        area, mean_lab = self._hair(work)
        if area.sum() == 0:
            return torch.zeros(3)
        mean = (mean_lab * area[:, None]).sum(0) / area.sum()
        target = rgb_to_lab(torch.tensor(self._color_settings(edit))[None, :, None, None])
        return (target.flatten() - torch.from_numpy(mean).float()) * edit.strength

    def _color_change(self, work: Work, wanted: torch.Tensor) -> torch.Tensor:
        """The change [D] or [L, D] of the codes that makes the hair's mean change as wanted."""
        device, geometry = self.pack.device, self.geometry(work)
        # A mean needs no hair beyond the box, which is about a third of the canvas.
        canvas = geometry.canvas.nominal
        area, _ = self._hair(work)
        if area.sum() == 0:
            return torch.zeros(self.pack.generator.config.w_dim)
        order = np.flatnonzero(area > np.median(area[area > 0]) / 2)
        chosen = order[np.linspace(0, len(order) - 1, min(PROBE_FRAMES, len(order))).astype(int)]
        mattes = []
        for frame in chosen:
            alpha = work.per_frame("matte", int(frame), int(frame) + 1, ("alpha",))["alpha"]
            full = torch.from_numpy(alpha)[:, None].float() / 255
            mattes.append(matte.on_canvas(full, geometry.region, canvas, geometry.zoom))
        synthesis = self.synthesis(work)
        transforms = input_transforms(self.similarity(work), device)[torch.from_numpy(chosen)]
        probe = editing.Probe(
            synthesis,
            torch.from_numpy(self.styles(work)[chosen]).to(device),
            transforms,
            torch.cat(mattes).to(device) * drawn_share(synthesis, transforms, canvas),
            canvas,
            self.precisions["probe"].dtype,
        )
        return editing.solve_hair_color(probe, self.space, wanted.to(device))

    # ---- the last stage, which is not cached: its results are as large as the video

    def notes(self, work: Work) -> list[str]:
        """What a person should know about how the clip was read and edited."""
        track, notes = self.track(work), []
        if track.others > 0:
            notes.append(f"up to {track.others + 1} faces in a frame; the largest one is edited")
        missing = int((~track.present).sum())
        if missing:
            notes.append(f"{missing} frames show no face and are passed through untouched")
        bridged = int((track.present & ~track.detected).sum())
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

    def compose(self, work: Work, start: int, stop: int) -> np.ndarray:
        """The final frames, uint8 [T, H, W, 3]."""
        frames = work.frames(start, stop)
        geometry = self.geometry(work)
        rows = geometry.track.present[start:stop]
        if not rows.any():
            return frames
        recon = work.per_frame("render_source", start, stop)["picture"][rows]
        config = self.recipe.compose
        side = geometry.crop_side
        if isinstance(self.recipe.edit, Reconstruct):
            edited = recon
        else:
            edited = work.per_frame("render_edit", start, stop)["picture"][rows]
        if config.mode == "residual":
            alpha = work.per_frame("matte", start, stop, ("alpha",))["alpha"][rows]
            composed = compose_residual(
                frames[rows],
                recon,
                edited,
                alpha,
                geometry.matte_grid,
                geometry.canvas,
                side,
                config,
                None if edited is recon else work.per_clip("edit").get("lab_change"),
            )
        else:
            masks = self._replace_masks(work, edited, start, stop, rows)
            composed = compose_replace(frames[rows], recon, edited, masks, geometry.canvas, side)
        frames[rows] = composed
        return frames

    def _replace_masks(
        self, work: Work, edited: np.ndarray, start: int, stop: int, rows: np.ndarray
    ) -> ReplaceMasks:
        geometry = self.geometry(work)
        canvas, region = geometry.canvas, geometry.region
        planes = (
            torch.from_numpy(work.per_frame("parse", start, stop)["planes"][rows]).float() / 255
        )
        source = {
            "skin": matte.on_canvas(planes[:, 1:2], region, canvas),
            "hair": matte.on_canvas(planes[:, 2:3], region, canvas),
        }
        meshes = geometry.track.mesh[start:stop][rows]
        shown = matte.parse_canvas(edited, meshes, canvas, self.pack.parser, self.face_pixels)
        transforms = input_transforms(self.similarity(work))[start:stop][rows]
        drawn = drawn_share(self.pack.generator.synthesis, transforms, canvas)
        crop_pixels = geometry.crop_side / canvas.step
        return replace_masks(self.recipe.compose, source, shown, drawn, crop_pixels)
