"""Who is who: faces of neighbouring frames make a track, tracks that look alike make a person.

A track is one face within one shot. Tracks are linked over cuts and gaps by what the encoder makes
of a few good frames of each, and by the colors of skin and hair. Who is edited is chosen by number,
by size, or by a picture.

Shapes: T frames, F faces of a frame, K tracks, N looks.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from vidhair.errors import InvalidSetting, NoFaceFound
from vidhair.geometry import Box, CropAxes, crop_axes
from vidhair.imaging.color import rgb_to_lab
from vidhair.imaging.warp import cut_squares, to_unit
from vidhair.media import read_image
from vidhair.models.encoders.attributes import AttributeSpace
from vidhair.models.encoders.inversion import Inverter
from vidhair.models.faces.identity import ALIGNED_SIZE, FaceIdentity, face_of_aligned
from vidhair.models.faces.landmarks import POINTS, eyes_and_mouth
from vidhair.models.faces.regions import face_heights
from vidhair.stages.align import (
    DOUBTFUL,
    LEAST_FACE,
    Faces,
    FaceTrack,
    Shots,
    bridge,
    bridge_pieces,
    frontal,
    largest_face,
)
from vidhair.stages.invert import InvertConfig, invert
from vidhair.types import Clip, Frames
from vidhair.wiring import Each, Fact, Series, Setting, Value, stage

AT_ONCE = 256  # frames whose meshes are held at a time
SHAPE_POINTS = tuple(range(0, 468, 12))  # of a mesh, enough to tell how a face is turned and built
# Costs of taking a face for the next one of a track, in sides of its crop.
FARTHEST = 0.35  # from where it is expected: half a face
OTHER_SHAPE = 4.0  # weight of how far the points of the mesh are from what they were
OTHER_SIZE = 0.5  # weight of the logarithm of how much larger it is
COAST = 0.5  # seconds for which a face that is lost is expected to go on moving
LOOKS = 5  # frames by which a track is known
HIDDEN_SECONDS = 2.0  # a neighbour who is lost for as long and comes back was there meanwhile
BRIEF = 0.2  # seconds; who is seen for less is nobody, unless all are


@dataclass(frozen=True)
class Tracks(Value):
    """Faces that go together, within shots.

    track: [T, F] int32, number of each face's track, −1 for none. axes: [T, F, 4] float32, centre
    and x axis of its FFHQ crop in pixels. frontal: [T, F] float32, 1 from the front … 0 in profile.
    height: [K] pixels, of a track's face; area_seconds: [K], area of its face times how long it is
    seen.
    """

    ROWS = ("track", "axes", "frontal")
    track: NDArray[np.int32]
    axes: NDArray[np.float32]
    frontal: NDArray[np.float32]
    height: NDArray[np.float32]
    area_seconds: NDArray[np.float32]


@dataclass(frozen=True)
class _Face:
    """What is remembered of a track's last face. centre: [2]; shape: [S, 2], in its crop."""

    seconds: float
    centre: NDArray[np.float64]
    speed: NDArray[np.float64]
    side: float
    shape: NDArray[np.float64]

    def cost(
        self, seconds: float, centre: NDArray[np.float64], side: float, shape: NDArray[np.float64]
    ) -> float:
        """Of a face at a later time being the same; infinite where it cannot be."""
        ahead = self.speed * min(seconds - self.seconds, COAST)
        mean = (self.side * side) ** 0.5
        away = float(np.hypot(*(centre - self.centre - ahead))) / mean
        if seconds - self.seconds > COAST:  # it may have stopped meanwhile
            away = min(away, float(np.hypot(*(centre - self.centre))) / mean)
        if away > FARTHEST:
            return np.inf
        differs = float(np.sqrt(np.square(shape - self.shape).sum(-1).mean()))
        cost: float = away + OTHER_SHAPE * differs + OTHER_SIZE * abs(np.log(side / self.side))
        return cost

    def next(
        self, seconds: float, centre: NDArray[np.float64], side: float, shape: NDArray[np.float64]
    ) -> "_Face":
        speed = (centre - self.centre) / max(seconds - self.seconds, 1e-6)
        return _Face(seconds, centre, (self.speed + speed) / 2, side, shape)


class Tracker:
    """Gives faces the numbers of their tracks, frame after frame."""

    def __init__(self) -> None:
        self.count = 0
        self._seen: dict[int, _Face] = {}

    def cut(self) -> None:
        """No track goes on over it."""
        self._seen = {}

    def __call__(
        self,
        seconds: float,
        centres: NDArray[np.float64],
        sides: NDArray[np.float64],
        shapes: NDArray[np.float64],
    ) -> list[int]:
        """The tracks of a frame's faces. centres: [F, 2]; sides: [F]; shapes: [F, S, 2]."""
        faces = list(zip(centres, sides, shapes, strict=True))
        numbers = [-1] * len(faces)
        known = list(self._seen)
        costs = np.array([[self._seen[k].cost(seconds, *face) for k in known] for face in faces])
        if costs.size:
            # Together the cheapest, so that one face does not take what is the next one's.
            finite = np.isfinite(costs)
            rows, columns = linear_sum_assignment(np.where(finite, costs, 1e6))
            for row, column in zip(rows, columns, strict=True):
                if finite[row, column]:
                    numbers[row] = known[column]
        for row, face in enumerate(faces):
            if numbers[row] < 0:
                numbers[row], self.count = self.count, self.count + 1
                self._seen[numbers[row]] = _Face(seconds, face[0], np.zeros(2), *face[1:])
            else:
                self._seen[numbers[row]] = self._seen[numbers[row]].next(seconds, *face)
        return numbers


def find_tracks(
    pieces: Iterator[NDArray[np.float32]],
    seconds: NDArray[np.float64],
    begins: NDArray[np.bool_],
    ends: float,
) -> Tracks:
    """Follow all faces. pieces: meshes [n, F, 478, 2] of the frames one after the other.

    seconds: [T], when each frame appears; ends: when the last one disappears. begins: [T] bool,
    True where a shot begins.
    """
    lasts = np.diff(np.append(seconds, ends))
    tracker, frame = Tracker(), 0
    track, axes, turned, heights = [], [], [], []
    for meshes in pieces:
        found = crop_axes(*eyes_and_mouth(meshes))
        shapes = found.locate(meshes[..., SHAPE_POINTS, :])
        axes.append(np.concatenate([found.centre, found.x], -1).astype(np.float32))
        turned.append(frontal(meshes, found))
        heights.append(face_heights(meshes))
        for row in range(len(meshes)):
            if begins[frame]:
                tracker.cut()
            here = np.flatnonzero(~np.isnan(found.centre[row, :, 0]))
            numbers = np.full(meshes.shape[1], -1, np.int32)
            numbers[here] = tracker(
                float(seconds[frame]),
                found.centre[row, here],
                found.side[row, here],
                shapes[row, here],
            )
            track.append(numbers)
            frame += 1
    every, height = np.stack(track), np.concatenate(heights)
    found_at = every >= 0
    areas = (height**2 * lasts[:, None])[found_at]
    return Tracks(
        every,
        np.concatenate(axes),
        np.concatenate(turned),
        np.array([np.median(height[every == k]) for k in range(tracker.count)], np.float32),
        np.bincount(every[found_at], areas, tracker.count).astype(np.float32),
    )


# ---- who looks alike

# By how much a pack's reading of what lasts of a person counts: large where it wavers little with
# light, pose and background and differs much between people. Measured on 20 rendered people in four
# of these each, and scaled so that at a distance of one about as many of these pictures of one
# person are taken for two as pictures of two for one: about a tenth.
LASTING = {
    "melanin": 1.49, "brow_colour.r": 4.91, "brow_colour.g": 5.16, "brow_colour.b": 5.13,
    "hair_colour.r": 2.85, "hair_colour.g": 2.95, "hair_colour.b": 2.98, "hair_length": 1.46,
    "hair_volume": 6.46, "hair_wave": 0.58, "hair_fringe": 0.93, "hair_bun": 0.6,
    "hair_curl": 0.92, "hair_lift": 0.42, "hair_recede": 0.76, "nose_length": 0.46,
    "lip_redness": 0.42, "eye_spacing": 0.35, "mouth_width": 0.31, "chin_length": 0.25,
    "eye_size": 0.25, "redness": 0.21,
}  # fmt: skip
LEAST_COSINE = 0.35  # of ArcFace's embeddings of one person
LEAST_CODE_COSINE = 0.5  # of the codes of one person beyond the mean code: a rough guide


# Where a face's crop shows skin and hair in most pictures, as shares of its side: left, top, right,
# bottom.
SKIN = ((0.31, 0.56, 0.41, 0.69), (0.59, 0.56, 0.69, 0.69))
HAIR = ((0.375, 0.03, 0.625, 0.16),)
LIT = 65.0  # lightness of skin, to which all colors are brought
# By how much differences count, of the skin's tint and of the hair's lightness and tint: as much as
# the color of the light of another shot may make of it is less than another person.
COUNTS = (1 / 25, 1 / 25, 1 / 45, 1 / 30, 1 / 30)
BLACK = 16.0  # what Lab's lightness lacks to be a cube root of light
CROP = 64  # side of the crop that colors are taken from, in pixels


@dataclass(frozen=True)
class Looks(Value):
    """What a few good frames of every track look like. features: [N, E] float32; those of one
    person are less than one apart. colors: [N, 5] float32, of skin and hair, which tell people
    apart in one clip, beside features that do so less well. track: [N], whose they are."""

    features: NDArray[np.float32]
    colors: NDArray[np.float32]
    track: NDArray[np.int32]


def color_look(
    picture: NDArray[np.uint8], centre: NDArray[np.float64], x: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Colors of skin and hair, [5], times COUNTS, however bright the light is: Lab, scaled as more
    light would do it until skin is as light as LIT. picture: uint8 [H, W, 3]; centre, x: [2], of
    the crop's axes."""
    (square,) = cut_squares(to_unit(picture[None]), centre[None], x[None], CROP)
    lab = rgb_to_lab((square[None] + 1) / 2)[0]

    def typical(*boxes: tuple[float, ...]) -> Tensor:
        corners = [[round(CROP * share) for share in box] for box in boxes]
        seen = [lab[:, top:bottom, left:right].flatten(1) for left, top, right, bottom in corners]
        # What twice the light multiplies, as cube roots: L + 16, a and b.
        return torch.cat(seen, 1).median(1).values + torch.tensor([BLACK, 0.0, 0.0])

    skin, hair = typical(*SKIN), typical(*HAIR)
    found = torch.cat([skin[1:], hair]) * (LIT + BLACK) / skin[0] * torch.tensor(COUNTS)
    look: NDArray[np.float32] = found.numpy()
    return look


@torch.inference_mode()
def describe(
    pictures: Iterable[NDArray[np.uint8]],
    axes: CropAxes,
    inverter: Inverter,
    space: AttributeSpace | None,
    identity: FaceIdentity | None,
    config: InvertConfig,
) -> NDArray[np.float32]:
    """Features [N, E] of faces, of which Euclidean distances of one and more are of two people.

    pictures: N of uint8 [H, W, 3]; axes: [N]. By ArcFace, if there is one; else by what lasts among
    the attributes of the encoder's codes; else by the directions of the codes.
    """
    if identity is not None:
        device = next(identity.parameters()).device
        squares = [
            cut_squares(to_unit(frame[None], device), c[None], x[None], ALIGNED_SIZE)
            for frame, c, x in zip(pictures, axes.centre, axes.x, strict=True)
        ]
        found = [identity(face_of_aligned(square, identity.size)) for square in squares]
        embeddings: Tensor = torch.cat(found) / (2 - 2 * LEAST_COSINE) ** 0.5
        return embeddings.cpu().numpy()
    codes = torch.from_numpy(invert(pictures, axes, inverter, config))
    lasting = {} if space is None else {n: w for n, w in LASTING.items() if n in space.names}
    if space is not None and len(lasting) > len(LASTING) / 2:
        read = space.read(codes)[:, space.index(list(lasting))]
        return (read * torch.tensor(list(lasting.values()))).numpy()
    away = F.normalize((codes - inverter.average).flatten(1))
    features: Tensor = away / (2 - 2 * LEAST_CODE_COSINE) ** 0.5
    return features.numpy()


def good_frames(tracks: Tracks, track: int, count: int) -> NDArray[np.intp]:
    """Up to `count` frames, spread over a track, in which its face is large and seen from the
    front."""
    frames, faces = np.nonzero(tracks.track == track)
    side = np.hypot(*np.moveaxis(tracks.axes[frames, faces, 2:], -1, 0))
    score = side * tracks.frontal[frames, faces]
    parts = np.array_split(np.arange(len(frames)), min(count, len(frames)))
    return np.array([frames[part[np.argmax(score[part])]] for part in parts])


def link_tracks(distance: NDArray[np.float64], apart: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Number the people that tracks belong to, [K], from 0 on.

    distance: [K, K], how unlike two tracks look; one and more is two people. apart: [K, K] bool,
    True for two that cannot be one person. The two groups that look most alike are joined first, by
    the mean over their pairs.
    """
    groups = [[k] for k in range(len(distance))]
    mean = np.where(apart, np.inf, distance)
    np.fill_diagonal(mean, np.inf)
    while len(groups) > 1:
        a, b = divmod(int(np.argmin(mean)), len(groups))
        if not mean[a, b] < 1:
            break
        sizes = len(groups[a]), len(groups[b])
        joined = (mean[a] * sizes[0] + mean[b] * sizes[1]) / sum(sizes)
        mean[a], mean[:, a] = joined, joined
        mean[a, a] = np.inf
        mean = np.delete(np.delete(mean, b, 0), b, 1)
        groups[a] += groups.pop(b)
    numbers = np.zeros(len(distance), np.int32)
    for number, group in enumerate(groups):
        numbers[group] = number
    return numbers


def unlikeness(
    features: NDArray[np.float32], track: NDArray[np.int32], count: int
) -> NDArray[np.float64]:
    """How unlike tracks look, [K, K], from the features [N, E] of their looks, by their means."""
    means = np.full((count, features.shape[1]), np.nan)
    for k in np.unique(track):
        means[k] = features[track == k].mean(0)
    away = np.linalg.norm(means[:, None] - means[None], axis=-1)
    return np.where(np.isnan(away), np.inf, away)


@dataclass(frozen=True)
class People(Value):
    """person: [K] int32, of every track, from 1 on in the order of face area times seconds; 0 where
    it is nobody's: a face too small to edit, or one that is hardly seen."""

    person: NDArray[np.int32]

    @property
    def count(self) -> int:
        return int(self.person.max(initial=0))

    def tracks_of(self, number: int) -> NDArray[np.intp]:
        return np.flatnonzero(self.person == number)


@dataclass(frozen=True)
class Person(Value):
    """Who is edited. number: in the order of `People`; tracks: [n], numbers of those of the
    clip."""

    number: int
    tracks: NDArray[np.intp]

    def __str__(self) -> str:
        return f"person {self.number}"


def overlapping(track: NDArray[np.int32], count: int) -> NDArray[np.bool_]:
    """[K, K] bool: tracks [T, F] that share a frame, so that they are two people."""
    apart = np.zeros((count, count), bool)
    for row in np.unique(np.sort(track, 1), axis=0):
        here = row[row >= 0]
        apart[np.ix_(here, here)] = True
    np.fill_diagonal(apart, False)
    return apart


def number_people(
    tracks: Tracks, distance: NDArray[np.float64], seconds: NDArray[np.float64]
) -> People:
    """Link tracks, and order the people. distance: [K, K]; seconds: [K], how long each is seen."""
    large = tracks.height >= LEAST_FACE
    groups = link_tracks(distance, overlapping(tracks.track, len(large)))
    size = np.bincount(groups[large], tracks.area_seconds[large], len(large))
    long = np.bincount(groups[large], seconds[large], len(large)) >= BRIEF
    kept = (size > 0) & (long | ~long[size > 0].any())
    order = np.argsort(-size, kind="stable")
    numbers = np.zeros(len(large), np.int32)
    ranked = order[kept[order]]
    numbers[ranked] = np.arange(len(ranked)) + 1
    return People(np.where(large, numbers[groups], 0).astype(np.int32))


# ---- stages


def _pieces(faces: Series[Faces]) -> Iterator[NDArray[np.float32]]:
    for start in range(0, faces.count, AT_ONCE):
        yield faces.rows(start, min(start + AT_ONCE, faces.count)).meshes


@stage()
def tracks(faces: Series[Faces], shots: Series[Shots], clip: Clip) -> Tracks:
    """Reads meshes by range, and holds a few numbers of each face."""
    ends = clip.end_pts * float(clip.time_base)
    return find_tracks(_pieces(faces), clip.seconds_T, shots.whole().begins, ends)


@stage(version=3)
def looks(
    frames: Series[Frames],
    tracks: Series[Tracks],
    inverter: Inverter,
    space: AttributeSpace | None,
    identity: FaceIdentity | None,
    config: InvertConfig,
) -> Looks:
    """Only of faces that are large enough to be edited."""
    found = tracks.whole()
    large = np.flatnonzero(found.height >= LEAST_FACE)
    wanted = sorted((int(f), int(k)) for k in large for f in good_frames(found, int(k), LOOKS))
    if not wanted:
        none = np.zeros((0, 1), np.float32)
        return Looks(none, none, np.zeros(0, np.int32))
    rows = np.array([found.axes[f][found.track[f] == k][0] for f, k in wanted], np.float64)
    axes = CropAxes(rows[:, :2], rows[:, 2:])
    colors = np.zeros((len(wanted), len(COUNTS)), np.float32)

    def pictures() -> Iterator[NDArray[np.uint8]]:
        for row, (frame, _) in enumerate(wanted):
            (picture,) = frames.rows(frame, frame + 1).pixels
            if identity is None:
                colors[row] = color_look(picture, axes.centre[row], axes.x[row])
            yield picture

    features = describe(pictures(), axes, inverter, space, identity, config)
    return Looks(features, colors, np.array([k for _, k in wanted], np.int32))


@stage()
def people(
    tracks: Series[Tracks],
    looks: Looks,
    clip: Clip,
    min_confidence: Annotated[float, Setting("align.min_confidence")],
) -> People:
    """Raises NoFaceFound if there is no face in the whole clip, or none that is large enough."""
    found = tracks.whole()
    height = found.height
    if not len(height):
        lower = f"set align.min_confidence={DOUBTFUL:g} (now {min_confidence:g}) or "
        raise NoFaceFound(
            f"no face in any of the {clip.frame_count} frames of {clip.path}; "
            f"{lower if min_confidence > DOUBTFUL else ''}take a clip where a face is seen from "
            f"the front, {LEAST_FACE} pixels high or more"
        )
    if height.max() < LEAST_FACE:
        raise NoFaceFound(
            f"the largest face in {clip.path} is {height.max():.0f} pixels high, too small to "
            f"edit; take a clip where it has {LEAST_FACE} or more"
        )
    lasts = np.diff(np.append(clip.seconds_T, clip.end_pts * float(clip.time_base)))
    owner, count = found.track, len(height)
    here = owner >= 0
    seen = np.broadcast_to(lasts[:, None], owner.shape)[here]
    seconds: NDArray[Any] = np.bincount(owner[here], seen, count)  # float64, as its weights
    by_look = (unlikeness(of, looks.track, count) for of in (looks.features, looks.colors))
    distance = np.hypot(*by_look)
    return number_people(found, distance, seconds)


LARGEST, ALL = "largest", "all"
Wanted = Annotated[str | int, Setting("align.person")]


def is_reference(wanted: str | int) -> bool:
    """Whether a choice of a person is the path of a picture."""
    return isinstance(wanted, str) and wanted not in (LARGEST, ALL) and not wanted.isdigit()


@stage(keep=False)
def person(people: People, wanted: Wanted, clip: Clip) -> Each[Person]:
    """Raises InvalidSetting for a number that nobody has."""
    if wanted == ALL:
        numbers = range(1, people.count + 1)
    else:
        number = 1 if wanted == LARGEST else int(wanted)
        if not 1 <= number <= people.count:
            raise InvalidSetting(
                f"align.person = {wanted!r}, but {clip.path} shows {people.count} "
                f"{'person' if people.count == 1 else 'people'}; see `vidhair inspect` for their "
                "numbers"
            )
        numbers = range(number, number + 1)
    return [Person(number, people.tracks_of(number)) for number in numbers]


@dataclass(frozen=True)
class Look(Value):
    """features: [E], as in `Looks`, of the largest face of a picture."""

    features: NDArray[np.float32]


@stage()
def reference(
    wanted: Wanted,
    picture: Annotated[str, Fact("person.picture")],
    inverter: Inverter,
    space: AttributeSpace | None,
    identity: FaceIdentity | None,
    config: InvertConfig,
) -> Look:
    """picture: its fingerprint. Raises NoFaceFound."""
    seen = read_image(str(wanted))
    face = largest_face(seen, str(wanted), "give a picture of the person, seen from the front")
    axes = crop_axes(*eyes_and_mouth(face[None].astype(np.float64)))
    return Look(describe([seen], axes, inverter, space, identity, config)[0])


@stage(keep=False)
def most_like(people: People, looks: Looks, reference: Look, wanted: Wanted) -> Each[Person]:
    """The person who looks most like the picture. Raises InvalidSetting if nobody does."""
    away = []
    for number in range(1, people.count + 1):
        mine = looks.features[np.isin(looks.track, people.tracks_of(number))]
        away.append(float(np.linalg.norm(mine.mean(0) - reference.features)))
    number = int(np.argmin(away)) + 1
    if not away[number - 1] < 1:
        raise InvalidSetting(
            f"nobody in the clip looks like align.person = {str(wanted)!r}; give another picture, "
            "or a number that `vidhair inspect` shows"
        )
    return [Person(number, people.tracks_of(number))]


# ---- the face of a person


def neighbours_of(
    person: Person, tracks: Tracks, seconds: NDArray[np.float64], begins: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """[T, N, 5], as in `FaceTrack`: all faces but the person's, hidden ones too; NaN for none."""
    mine = np.zeros(len(seconds))
    for k in person.tracks:
        frames = np.flatnonzero((tracks.track == k).any(1))
        mine[frames[0] : frames[-1] + 1] = tracks.height[k]
    lost = ~np.isin(tracks.track, person.tracks).any(1)
    others = np.setdiff1d(tracks.track[tracks.track >= 0], person.tracks)
    found: list[list[NDArray[np.float32]]] = [[] for _ in seconds]
    for k in others:
        frames, faces = np.nonzero(tracks.track == k)
        first, last = frames[0], frames[-1] + 1
        axes = np.full((last - first, 2, 2), np.nan, np.float32)
        axes[frames - first] = tracks.axes[frames, faces].reshape(-1, 2, 2)
        whole = bridge(axes, seconds[first:last], begins[first:last], HIDDEN_SECONDS)
        for frame in np.flatnonzero(~np.isnan(whole[:, 0, 0])):
            hidden = np.isnan(axes[frame, 0, 0])
            larger = tracks.height[k] / max(mine[first + frame], 1e-6)
            # Of two who overlap the one who is not found is behind.
            larger = 0 if hidden else np.inf if lost[first + frame] else larger
            found[first + frame].append(np.append(whole[frame].ravel(), np.float32(larger)))
    most = max(map(len, found))
    neighbours = np.full((len(seconds), most, 5), np.nan, np.float32)
    for frame, axes_of in enumerate(found):
        neighbours[frame, : len(axes_of)] = np.reshape(axes_of, (-1, 5))
    return neighbours


def meshes_of(
    mine: NDArray[np.bool_], pieces: Iterable[NDArray[np.float32]]
) -> Iterator[NDArray[np.float32]]:
    """One face of every frame, [n, 478, 2]; NaN for none. mine: [T, F] bool, at most one a frame;
    pieces: as in `find_tracks`."""
    start = 0
    for meshes in pieces:
        rows, faces = np.nonzero(mine[start : start + len(meshes)])
        found = np.full((len(meshes), POINTS, 2), np.nan, np.float32)
        found[rows] = meshes[rows, faces]
        yield found
        start += len(meshes)


def box_of(pieces: Iterable[NDArray[np.float32]]) -> Box:
    """The middle one of the crops of meshes [n, 478, 2], upright."""
    found = [crop_axes(*eyes_and_mouth(mesh[~np.isnan(mesh[:, 0, 0])])) for mesh in pieces]
    side = float(np.median(np.concatenate([axes.side for axes in found])))
    x, y = np.median(np.concatenate([axes.centre for axes in found]), axis=0)
    return Box(float(x - side / 2), float(y - side / 2), side)


@stage(version=2)
def track(
    faces: Series[Faces],
    tracks: Series[Tracks],
    shots: Series[Shots],
    person: Person,
    clip: Clip,
    bridge_seconds: Annotated[float, Setting("align.bridge_seconds")],
) -> Iterator[FaceTrack]:
    """A person's faces, short gaps bridged, in one box."""
    found, begins, seconds = tracks.whole(), shots.whole().begins, clip.seconds_T
    mine = np.isin(found.track, person.tracks)

    def bridged() -> Iterator[NDArray[np.float32]]:
        return bridge_pieces(meshes_of(mine, _pieces(faces)), seconds, begins, bridge_seconds)

    box, beside, start = box_of(bridged()), neighbours_of(person, found, seconds, begins), 0
    for mesh in bridged():
        rows = slice(start, start + len(mesh))
        present = ~np.isnan(mesh[:, 0, 0])
        yield FaceTrack(mesh, mine[rows].any(1), present, begins[rows], box, beside[rows])
        start = rows.stop
