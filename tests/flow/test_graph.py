"""The flow's nodes together: where a composed frame differs, and what a cut keeps apart."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation

from tests import small
from tests.flow.made_up import a_pack, nodes_of
from tests.stages.faces import clip_of
from tests.stages.series import means_of
from vidhair.cache import DiskStore, MemoryStore, fingerprint
from vidhair.edits import Bald
from vidhair.errors import CheckpointUnreadable
from vidhair.flow import graph
from vidhair.flow.graph import Flow
from vidhair.flow.runner import Means, Runner, Work
from vidhair.geometry import Grid
from vidhair.media import open_clip
from vidhair.models.generators.stylegan3 import Generator
from vidhair.recipe import load_recipe
from vidhair.stages.align import AlignConfig, Faces, FaceTrack, Shots, Thumbnails
from vidhair.stages.bare_view import EARS
from vidhair.stages.compose import Changes
from vidhair.stages.doubts import Doubts
from vidhair.stages.ends import HairEnd
from vidhair.stages.fringe import Hairline
from vidhair.stages.invert import Latents
from vidhair.stages.people import Person
from vidhair.stages.render import Drawer
from vidhair.stages.smooth import smooth_similarity, smooth_styles
from vidhair.types import Clip, Frames
from vidhair.wiring import Each, Every, Fact, Meter, Near, Series, Setting, Span, WiringError, stage

pytestmark = pytest.mark.usefixtures("one_thread")


def touchable(alpha: NDArray[Any], grid: Grid, reach: int = 2) -> NDArray[Any]:
    """[T, H, W]: pixels up to `reach` samples away from where a matte [T, h, w] is not zero."""
    left, top, step = grid.left, grid.top, grid.step
    width, height = small.SIZE
    wide = np.pad(alpha > 0, [(0, 0), (reach, reach), (reach, reach)])
    near = binary_dilation(wide, np.ones((1, 2 * reach + 1, 2 * reach + 1)))
    columns = np.floor((np.arange(width) + 0.5 - left) / step).astype(int) + reach
    rows = np.floor((np.arange(height) + 0.5 - top) / step).astype(int) + reach
    inside = np.ones((height, width), bool)
    inside &= ((rows >= 0) & (rows < near.shape[1]))[:, None]
    inside &= (columns >= 0) & (columns < near.shape[2])
    picked = near[:, rows.clip(0, near.shape[1] - 1)][:, :, columns.clip(0, near.shape[2] - 1)]
    return picked & inside


@pytest.fixture(scope="module")
def composed() -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], Grid]:
    """(source frames, composed frames, matte, its grid) of the finished run."""
    with open_clip(small.clip()) as reader:
        flow, runner = small.flow_on(DiskStore(small.finished().cache), reader)
        work, count = runner.work, small.FRAMES
        alpha = work.per_frame("matte", 0, count, ("alpha",))["alpha"]
        frames = flow.pictures(work, 0, count)[0]
        return work.frames(0, count), frames, alpha, flow.value(work, "hair_window")


def test_outside_the_matte_every_pixel_is_the_sources(
    composed: tuple[NDArray[Any], NDArray[Any], NDArray[Any], Grid],
) -> None:
    source, frames, alpha, grid = composed
    allowed, differs = touchable(alpha, grid), (frames != source).any(-1)
    assert not (differs & ~allowed).any()
    assert 0.1 < allowed.mean() < 0.9, "the matte should cover some of the frame and not all"


def test_inside_the_matte_most_pixels_change(
    composed: tuple[NDArray[Any], NDArray[Any], NDArray[Any], Grid],
) -> None:
    source, frames, alpha, grid = composed
    full = touchable(np.where(alpha > 200, alpha, 0), grid, reach=0)
    assert full.mean() > 0.05
    assert (frames != source).any(-1)[full].mean() > 0.9


def test_composing_frame_by_frame_gives_the_same(
    composed: tuple[NDArray[Any], NDArray[Any], NDArray[Any], Grid],
) -> None:
    _, frames, _, _ = composed
    with open_clip(small.clip()) as reader:
        flow, runner = small.flow_on(DiskStore(small.finished().cache), reader)
        for frame in (0, 5, small.FRAMES - 1):
            (alone,) = flow.value(runner.work, "composed", frame, frame + 1).pixels
            assert np.abs(alone.astype(int) - frames[frame]).max() <= 1


def test_an_edit_of_no_strength_changes_next_to_nothing() -> None:
    """The edited rendering is then the unedited one, so no difference is added."""
    with open_clip(small.clip()) as reader:
        changes = {"edit.strength": 0.0}
        store = DiskStore(small.finished().copy(small.folder() / "none"))
        flow, runner = small.flow_on(store, reader, changes=changes)
        work, count = runner.work, small.FRAMES
        np.testing.assert_array_equal(
            work.per_frame("edited", 0, count)["levels"],
            work.per_frame("rendered", 0, count)["levels"],
        )
        difference = flow.pictures(work, 0, count)[0].astype(int) - work.frames(0, count)
    assert np.abs(difference).max() <= 1


@pytest.fixture(scope="module")
def two_shots(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Flow, FaceTrack, NDArray[Any], dict[str, NDArray[Any]]]:
    """Codes and transforms around a cut: the person, then the same mirrored and much darker."""
    person = small.person()[:6]
    frames = np.concatenate([person, (person[:, :, ::-1] * 0.6).astype(np.uint8)])
    source = small.write_clip(tmp_path_factory.mktemp("cut") / "cut.mp4", frames)
    with open_clip(source) as reader:
        flow, runner = small.flow_on(MemoryStore(), reader, until="pivots")
        work = runner.work
        raw = work.per_frame("latents", 0, len(frames))["styles"]
        smooth = work.per_frame("pivots", 0, len(frames))
        return flow, flow.value(work, "track", 0, len(frames)), raw, smooth


SHOTS = slice(0, 6), slice(6, 12)


def smoothed(
    flow: Flow, styles: NDArray[Any], present: NDArray[Any], cuts: NDArray[Any]
) -> NDArray[Any]:
    means = means_of(styles, present, cuts)
    return smooth_styles(styles, means, present, cuts, flow.recipe.smooth, flow.pack.attributes)


def test_a_cut_is_found(
    two_shots: tuple[Flow, FaceTrack, NDArray[Any], dict[str, NDArray[Any]]],
) -> None:
    _, track, _, _ = two_shots
    assert np.flatnonzero(track.cuts).tolist() == [0, 6]
    assert track.present.all()


def test_every_shot_is_smoothed_as_if_alone(
    two_shots: tuple[Flow, FaceTrack, NDArray[Any], dict[str, NDArray[Any]]],
) -> None:
    flow, track, raw, smooth = two_shots
    config, similarity = flow.recipe.smooth, track.similarity
    whole = smoothed(flow, raw, track.present, np.arange(12) == 0)
    for shot in SHOTS:
        cuts, present = track.cuts[shot], track.present[shot]
        alone = smoothed(flow, raw[shot], present, cuts)
        np.testing.assert_allclose(smooth["styles"][shot], alone, atol=1e-5)
        assert np.abs(whole[shot] - alone).max() > 1e-3, "the cut should make a difference"
        values = (similarity.angle_deg, similarity.tx, similarity.ty, similarity.scale)
        here = type(similarity)(*(v[shot] for v in values))
        steady = smooth_similarity(here, present, cuts, config)
        columns = np.stack([steady.angle_deg, steady.tx, steady.ty, steady.scale], 1)
        np.testing.assert_allclose(smooth["transform"][shot], columns, atol=1e-6)


def test_the_person_is_the_same_all_through_a_shot(
    two_shots: tuple[Flow, FaceTrack, NDArray[Any], dict[str, NDArray[Any]]],
) -> None:
    """Fine layers do not move inside a shot at all; between the shots they differ."""
    flow, _, raw, smooth = two_shots
    first = flow.recipe.smooth.average_fine_from
    fine = smooth["styles"][:, first:]
    for shot in SHOTS:
        np.testing.assert_allclose(fine[shot] - fine[shot][:1], 0, atol=1e-5)
        assert np.abs(raw[shot, first:] - raw[shot][:1, first:]).max() > 1e-4
    assert np.abs(fine[0] - fine[6]).max() > 1e-3


def test_a_packs_attributes_are_its_space(
    two_shots: tuple[Flow, FaceTrack, NDArray[Any], dict[str, NDArray[Any]]],
) -> None:
    flow, *_ = two_shots
    space = flow.pack.attributes
    assert space is not None and "smile" in space.names and space.knows_motion


# ---- wires that do not fit


def nobodys(faces: Series[Faces], landmarks: Series[Faces]) -> FaceTrack: ...


def of_another_type(faces: Series[Faces], shots: Series[Thumbnails]) -> FaceTrack: ...


def no_setting(faces: Series[Faces], gap: Annotated[float, Setting("align.gap")]) -> FaceTrack: ...


def no_table(faces: Series[Faces], gap: Annotated[float, Setting("gap.gap")]) -> FaceTrack: ...


def no_fact(faces: Series[Faces], rate: Annotated[float, Fact("frame.rate")]) -> FaceTrack: ...


def no_network(faces: Series[Faces], model: Generator) -> FaceTrack: ...


def other_edit(faces: Series[Faces], edit: Bald) -> FaceTrack: ...


def a_default(faces: Series[Faces], gap: float = 0.5) -> FaceTrack: ...


def other_value(faces: Series[Faces]) -> Shots: ...


def a_circle(faces: Series[Faces], latents: Series[Latents]) -> FaceTrack: ...


def a_chunk_of_one(faces: Series[Faces], shots: Shots) -> FaceTrack: ...


@pytest.mark.parametrize(
    ("track", "said"),
    [
        (nobodys, "track takes landmarks, which nothing makes"),
        (of_another_type, "track takes shots as Thumbnails, and it is Shots"),
        (no_setting, "track takes gap, of which nothing is known"),
        (no_table, "track takes gap, of which nothing is known"),
        (no_fact, "track takes rate, of which nothing is known"),
        (no_network, "track takes model, of which nothing is known"),
        (other_edit, "track takes edit, of which nothing is known"),
        (a_default, "track takes gap, of which nothing is known"),
        (other_value, "takes track as FaceTrack, and it is Shots"),
        (
            a_circle,
            "latents → track.* goes in a circle",
        ),
        (a_chunk_of_one, "take shots as Series, too"),
    ],
)
def test_a_stage_that_does_not_fit_is_refused_before_anything_runs(
    monkeypatch: pytest.MonkeyPatch, track: Callable[..., Any], said: str
) -> None:
    recipe = load_recipe("hair_color")
    Flow(recipe, a_pack())
    monkeypatch.setitem(graph.HEAD, "track", stage()(track))
    with pytest.raises(WiringError, match=said):
        Flow(recipe, a_pack())


def undeclared(faces: Series[Faces], config=None) -> FaceTrack: ...  # type: ignore[no-untyped-def]


def anything(faces: Series[Faces], **rest) -> FaceTrack: ...  # type: ignore[no-untyped-def]


def all_of_it(faces: Series[Faces], *rest) -> FaceTrack: ...  # type: ignore[no-untyped-def]


@pytest.mark.parametrize("track", [undeclared, anything, all_of_it])
def test_what_a_stage_does_not_declare_has_no_way_to_it(
    monkeypatch: pytest.MonkeyPatch, track: Callable[..., Any]
) -> None:
    monkeypatch.setitem(graph.HEAD, "track", stage()(track))
    with pytest.raises(AssertionError, match=f"{track.__name__}: annotations"):
        Flow(load_recipe("hair_color"), a_pack())


def test_it_is_given_just_what_it_declares(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}

    @stage(keep=False)
    def thumbnails(
        frames: Annotated[Frames, Near(2, 1)], span: Span, clip: Clip, meter: Meter,
        config: AlignConfig, cut: Annotated[float, Setting("align.cut_threshold")],
        stride: Annotated[int, Fact("parser.stride")],
    ) -> Thumbnails:  # fmt: skip
        given.update(
            frames=frames, span=span, clip=clip, meter=meter, config=config, cut=cut, stride=stride
        )
        return Thumbnails(frames.pixels[span.core(2), :24, :32])

    @stage()
    def shots(thumbnails: Series[Thumbnails], frames: Series[Frames]) -> Shots:
        given.update(series=thumbnails, clip_frames=frames)
        return Shots(thumbnails.field("pictures")[:, 0, 0, 0] > 3)

    monkeypatch.setitem(graph.HEAD, "thumbnails", thumbnails)
    monkeypatch.setitem(graph.HEAD, "shots", shots)
    recipe = load_recipe("hair_color", {"align.cut_threshold": 0.3})
    flow = Flow(recipe, a_pack(), goal="shots")
    assert list(flow.stages) == ["thumbnails", "shots"]
    pixels = np.arange(8, dtype=np.uint8)[:, None, None, None] * np.ones((24, 32, 3), np.uint8)
    clip = clip_of(32, 24, range(8))
    reader: Any = SimpleNamespace(clip=clip, read=lambda start, stop: pixels[start:stop])
    work = Work(reader)
    nodes = {node.name: node for node in flow.nodes()}
    pictures = nodes["thumbnails"].compute(work, 4, 6)["pictures"]
    assert pictures[:, 0, 0, 0].tolist() == [4, 5]
    seen = given.pop("frames")
    assert (seen.start, seen.stop, len(seen.pixels)) == (2, 7, 5)
    assert given == {
        "span": Span(4, 6), "clip": clip, "meter": work.meter, "config": recipe.align, "cut": 0.3,
        "stride": 16,
    }  # fmt: skip
    assert nodes["shots"].compute(work)["begins"].tolist() == [False] * 4 + [True] * 4
    assert given["series"].count == 8
    assert np.array_equal(given["series"].whole().pictures, pixels)
    assert np.array_equal(given["series"].rows(3, 5).pictures, pixels[3:5])
    assert np.array_equal(given["clip_frames"].rows(3, 5).pixels, pixels[3:5])


def test_what_is_made_for_the_clip_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Drawer] = []
    nothing: Any = None

    @stage(keep=False)
    def untuned() -> Drawer:
        made.append(Drawer(nothing))
        return made[-1]

    monkeypatch.setitem(graph.UNTUNED, "drawer", untuned)
    recipe = load_recipe("hair_color_latent", {"tune.steps": 0, "tune.refine_steps": 0})
    flow, work = Flow(recipe, a_pack(), goal="drawer"), Work(nothing)
    assert flow.value(work, "drawer") is flow.value(work, "drawer") is made[0]
    assert len(made) == 1


def test_layers_take_half_of_the_memory_at_most() -> None:
    def layers(setting: int, memory: int) -> int:
        recipe = small.recipe(changes={"render.memory": setting})
        flow = Flow(recipe, small.pack(), means=Means(memory=memory << 20))
        return flow.recipe.render.memory

    assert layers(2048, 4096) == 2048
    assert layers(2048, 1024) == 512
    assert layers(100, 1024) == 100


def test_what_is_made_for_each_is_made_from_ones_own_and_gathered_in_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Pictures of the clip, as many times as a person's number says, back in one."""

    @stage(keep=False)
    def person() -> Each[Person]:
        return [Person(2, np.array([0])), Person(3, np.array([1]))]

    @stage()
    def thumbnails(frames: Frames, person: Person) -> Thumbnails:
        return Thumbnails(frames.pixels * np.uint8(person.number))

    @stage()
    def latents(thumbnails: Series[Thumbnails]) -> Latents:
        return Latents(thumbnails.field("pictures").reshape(thumbnails.count, -1)[:, :1, None])

    @stage(keep=False)
    def composed(frames: Frames, thumbnails: Every[Thumbnails], latents: Every[Latents]) -> Frames:
        pairs = zip(thumbnails, latents, strict=True)
        values = [one.pictures + two.styles[:, :, None] for one, two in pairs]
        assert len(thumbnails) == len(values) == 2
        return Frames.of_pixels(np.concatenate([frames.pixels, *values], axis=3))

    for made in (person, thumbnails, latents, composed):
        monkeypatch.setitem(graph.HEAD, made.__name__, made)
    flow = Flow(load_recipe("hair_color_latent"), a_pack(), goal="composed")
    pixels = np.arange(8, dtype=np.uint8)[:, None, None, None] * np.ones((2, 3, 1), np.uint8)
    clip: Any = SimpleNamespace(
        fingerprint=fingerprint("clip"), frame_count=8, width=3, height=2, alpha=False
    )
    reader: Any = SimpleNamespace(
        clip=clip, reading="", read=lambda a, b: pixels[a:b], keep=lambda *count: None
    )
    runner = Runner(MemoryStore(), reader)
    runner.run(flow.nodes())
    runner.run(flow.fanned_nodes(runner.work))
    names = [report.name for report in runner.reports]
    assert names == [f"{n} (person {k})" for k in (2, 3) for n in ("thumbnails", "latents")]
    got = flow.value(runner.work, "composed", 3, 5).pixels
    assert got[:, 0, 0].tolist() == [[3, 12, 18], [4, 16, 24]]
    one = flow.value(runner.work, "thumbnails", 3, 5, unit=1).pictures
    assert one[:, 0, 0, 0].tolist() == [9, 12]


def test_what_is_not_kept_is_made_once_for_the_takers_of_a_chunk(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And nothing of it stays: a stage that sees the whole clip reads it bit by bit."""
    made: list[tuple[int, int]] = []

    @stage(keep=False)
    def thumbnails(frames: Frames, span: Span) -> Thumbnails:
        made.append((span.start, span.stop))
        return Thumbnails(frames.pixels)

    @stage(keep=False)
    def latents(thumbnails: Thumbnails) -> Latents:
        return Latents(thumbnails.pictures[..., 0].astype(np.float32))

    @stage()
    def changes(frames: Frames, thumbnails: Thumbnails, latents: Latents) -> Changes:
        return Changes(thumbnails.pictures + latents.styles[..., None].astype(np.uint8))

    @stage()
    def shots(thumbnails: Series[Thumbnails], latents: Series[Latents]) -> Shots:
        for row in range(thumbnails.count):
            thumbnails.rows(row, row + 1)
            latents.rows(row, row + 1)
        return Shots(np.zeros(thumbnails.count, bool))

    for one in (thumbnails, latents, changes, shots):
        monkeypatch.setitem(graph.HEAD, one.__name__, one)
    pixels = np.arange(4, dtype=np.uint8)[:, None, None, None] * np.ones((2, 3, 3), np.uint8)
    clip = clip_of(3, 2, range(4))
    work = Work(cast(Any, SimpleNamespace(clip=clip, read=lambda a, b: pixels[a:b])))
    flow = Flow(load_recipe("hair_color"), a_pack(), goal="changes")
    (node,) = (node for node in flow.nodes() if node.name == "changes")
    for start, stop in ((0, 2), (2, 4)):
        assert np.array_equal(node.compute(work, start, stop)["levels"], 2 * pixels[start:stop])
    assert made == [(0, 2), (2, 4)]
    made.clear()
    flow = Flow(load_recipe("hair_color"), a_pack(), goal="shots")
    (node,) = (node for node in flow.nodes() if node.name == "shots")
    node.compute(work)
    assert made == [(row, row + 1) for row in range(4) for _ in range(2)]


# ---- the segmenter


def segmenting(choice: str) -> Flow:
    return Flow(load_recipe("hair_color", {"matte.segmenter": choice}), a_pack())


def test_the_segmenters_weights_are_in_the_keys_of_what_it_finds(shared: Any) -> None:
    path = str(shared("models/hair_segmentation.tflite"))
    found, plain = (
        {node.name: node for node in nodes_of(segmenting(choice))} for choice in (path, "auto")
    )
    assert list(found["prior"].weights) == ["segmenter"] and not plain["prior"].weights
    assert found["prior"].needs != plain["prior"].needs, "the parser is not asked"
    assert "hair_colors" in plain and "hair_colors" not in found
    assert path not in repr(found["prior"].settings), "not where the file lies"


def test_a_segmenter_that_is_none_is_refused_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(CheckpointUnreadable, match=r"none\.tflite cannot be read"):
        segmenting(str(tmp_path / "none.tflite"))


@pytest.mark.parametrize(("areas", "said"), [([0.0, 0.2, 0.0], "on 1 of"), ([0.1, 0.2, 0.0], "")])
def test_faces_without_hair_are_told_of(
    monkeypatch: pytest.MonkeyPatch, areas: list[float], said: str
) -> None:
    """Not of frames in which nobody is."""
    seen = np.array([True, True, False])
    fields = {"present": seen, "detected": seen, "area": np.array(areas)}
    monkeypatch.setattr(Flow, "field", lambda self, work, name, field, unit=0: fields[field])
    values = {"people": SimpleNamespace(count=1), "doubts": Doubts(0, 0, 0)}
    monkeypatch.setattr(Flow, "value", lambda self, work, name, **rest: values[name])
    flow, work = Flow(load_recipe("hair_color"), a_pack()), cast(Any, None)
    flow.units = [cast(Any, None)]
    found = [note for note in flow.notes(work) if "no hair" in note]
    assert [said in note for note in found] == [True] * bool(said)


@pytest.mark.parametrize("given", [False, True])
def test_doubtful_mattes_are_told_of_once(monkeypatch: pytest.MonkeyPatch, given: bool) -> None:
    """Of several people; and not where the matte is the user's."""
    fields = {"present": np.ones(2, bool), "detected": np.ones(2, bool), "area": np.ones(2)}
    monkeypatch.setattr(Flow, "field", lambda self, work, name, field, unit=0: fields[field])
    of_each = [Doubts(0.9, 0.0, unit * 0.9) for unit in range(2)]
    values: dict[str, Any] = {"people": [SimpleNamespace(count=2)], "doubts": of_each}
    monkeypatch.setattr(Flow, "value", lambda self, work, name, unit=0: values[name][unit])
    changes = {"matte.from": "mine.mov"} if given else {}
    flow, work = Flow(load_recipe("hair_color", changes), a_pack()), cast(Any, None)
    flow.units = [cast(Any, None), cast(Any, None)]
    found = [note for note in flow.notes(work) if "look at it with `vidhair matte`" in note]
    assert len(found) == (0 if given else 2)


@pytest.mark.parametrize("come", [False, True])
def test_an_edit_that_changes_no_hair_is_told_of(
    monkeypatch: pytest.MonkeyPatch, come: bool
) -> None:
    levels = np.zeros((300, 2, 4, 4), np.uint8)
    levels[280, 1, 2, 2] = 255 * come

    def value(
        self: Flow, work: Any, name: str, start: int = 0, stop: int = 0, unit: int = 0
    ) -> Any:
        return SimpleNamespace(levels=levels[start:stop])

    monkeypatch.setattr(Flow, "value", value)
    work = cast(Any, SimpleNamespace(frame_count=300))
    assert Flow(load_recipe("hair_length"), small.pack())._unchanged(work, 0) != come


def test_heads_that_lie_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    mesh = np.full((4, 478, 2), np.nan, np.float32)
    for frame, (x, y) in enumerate([(1, 0), (0, 1), (0.9, -0.3)]):
        mesh[frame, list(EARS)] = np.array([[-x, -y], [x, y]]) * 20
    monkeypatch.setattr(Flow, "field", lambda self, work, name, field, unit=0: mesh)
    flow = Flow(load_recipe("bald"), small.pack())
    assert flow._lying(cast(Any, None), 0) == 1


@pytest.mark.parametrize(
    ("by", "end", "told"),
    [
        ("auto", 0.1, "is rendered, strand by strand"),
        ("auto", 2.0, "is the person's own"),
        ("latent", 0.1, "is a drawing of the pack"),
    ],
)
def test_whose_hair_becomes_longer_is_told_how(by: str, end: float, told: str) -> None:
    flow = Flow(load_recipe("hair_length", {"edit.by": by}), small.pack())
    (note,) = flow._of_longer_hair([HairEnd(end)])
    assert told in note


@pytest.mark.parametrize(
    ("amount", "end", "told"),
    [
        (1.0, np.nan, "no hair is seen above the forehead"),
        (-1.0, np.nan, "no hair is seen above the forehead"),
        (-1.0, 0.0, "no fringe is seen"),
        (-1.0, 0.5, ""),
        (1.0, 0.0, ""),
    ],
)
def test_where_there_is_nothing_to_comb_it_is_told(
    monkeypatch: pytest.MonkeyPatch, amount: float, end: float, told: str
) -> None:
    """end: where hair ends, of the way from where the forehead begins to the brows."""
    ones, nothing = np.ones((1, 49), np.float32), np.zeros((1, 49), np.float32)
    line = Hairline(nothing[:, 0], ones[:, 0], -ones, end * ones, ones, nothing, ones)
    monkeypatch.setattr(Flow, "value", lambda *_: line)
    flow = Flow(load_recipe("fringe", {"edit.amount": amount}), small.pack())
    notes = list(flow._of_fringes(cast(Any, SimpleNamespace(frame_count=1)), range(1)))
    assert [note for note in notes if told not in note] == [] and len(notes) == bool(told)
