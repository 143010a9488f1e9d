"""Rendered scenes of several people, against the truth of who is where.

People are told apart by the bundled pack. What is drawn is left to a small generator with random
weights: an edit's reach does not depend on it.
"""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion

from tests import small
from vidhair.cache import DiskStore, MemoryStore
from vidhair.flow.graph import Flow
from vidhair.flow.runner import Runner
from vidhair.media import open_clip, write_png
from vidhair.models.generators.stylegan3 import Generator, StyleGAN3Config
from vidhair.models.pack import Pack, load_pack
from vidhair.recipe import load_recipe
from vidhair.samples import render_scene
from vidhair.stages.people import Tracks
from vidhair.synthetic.scenes import FPS, SCENES

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]

PLAIN = {"tune.steps": 0, "tune.refine_steps": 0, "render.expand": 0.1, "matte.size": 96}


@cache
def pack() -> Pack:
    """The bundled one with a small generator."""
    models = load_pack()
    torch.manual_seed(3)
    config = StyleGAN3Config(
        resolution=32, z_dim=64, w_dim=models.inverter.w_dim, channel_base=256, channel_max=16
    )
    models.generator = Generator(config).eval().requires_grad_(False)
    return models


@cache
def rendered(name: str) -> Path:
    return render_scene(name, small.folder() / "scenes")


def truth(name: str) -> dict[str, NDArray[Any]]:
    """begins: first frames of shots; hair: [T, A, H, W] bool; centres: [T, A, 2]."""
    with np.load(rendered(name).with_suffix(".truth.npz")) as file:
        found = dict(file)
    return found | {"hair": found["hair"] > 200}


@cache
def flow_to(name: str, goal: str) -> tuple[Flow, Runner]:
    flow = Flow(load_recipe("hair_color", PLAIN), pack(), goal=goal)
    with open_clip(rendered(name)) as reader:
        runner = Runner(MemoryStore(), reader)
        runner.run(flow.nodes())
    return flow, runner


def actors_of(name: str) -> tuple[Tracks, NDArray[Any], NDArray[Any]]:
    """(tracks, person of every face [T, F], the actor that it is [T, F]); −1 for none, and where
    two faces are too near to each other to say."""
    flow, runner = flow_to(name, "people")
    tracks = flow.value(runner.work, "tracks", 0, runner.work.frame_count)
    people = flow.value(runner.work, "people")
    person = np.where(tracks.track >= 0, people.person[tracks.track], -1)
    centres = truth(name)["centres"]
    apart = np.linalg.norm(tracks.axes[:, :, None, :2] - centres[:, None], axis=-1)
    apart = np.where(np.isnan(apart), np.inf, apart)
    nearest, second = np.sort(apart, -1)[..., 0], np.sort(apart, -1)[..., 1]
    clear = (nearest < 0.6 * second) & (tracks.track >= 0)
    return tracks, person, np.where(clear, apart.argmin(-1), -1)


@pytest.mark.parametrize("name", SCENES)
def test_identities_never_swap(name: str) -> None:
    _, person, actor = actors_of(name)
    seen = actor >= 0
    pairs = {(int(p), int(a)) for p, a in zip(person[seen], actor[seen], strict=True)}
    count = len(SCENES[name]().actors)
    assert len(pairs) == count, f"people and actors go together as {sorted(pairs)}"
    assert {p for p, _ in pairs} == set(range(1, count + 1))
    assert seen.any(1).mean() > 0.75, "most frames tell"


@pytest.mark.parametrize("name", SCENES)
def test_no_track_goes_over_a_cut(name: str) -> None:
    tracks, _, _ = actors_of(name)
    flow, runner = flow_to(name, "people")
    begins = flow.value(runner.work, "shots", 0, runner.work.frame_count).begins
    assert np.flatnonzero(begins).tolist() == truth(name)["begins"].tolist()
    shot = np.cumsum(begins)
    for k in range(len(tracks.height)):
        assert len(set(shot[(tracks.track == k).any(1)])) == 1


def person_of(name: str, actor: int) -> int:
    _, person, of = actors_of(name)
    (number,) = set(person[of == actor].tolist())
    return number


@cache
def changes(name: str, wanted: str) -> NDArray[Any]:
    """How much each pixel changes before encoding, [T, H, W], when these are dyed blue."""
    settings = PLAIN | {"align.person": wanted, "edit.color": "#2040d0"}
    flow = Flow(load_recipe("hair_color", settings), pack())
    with open_clip(rendered(name)) as reader:
        runner = Runner(DiskStore(small.folder() / "scene-cache"), reader)
        runner.run(flow.nodes())
        runner.run(flow.fanned_nodes(runner.work))
        work, count = runner.work, runner.work.frame_count
        step = 12
        parts = [
            np.abs(flow.pictures(work, a, min(a + step, count))[0].astype(int)
                   - work.frames(a, min(a + step, count))).mean(-1)
            for a in range(0, count, step)
        ]  # fmt: skip
    return np.concatenate(parts)


def hair_change(name: str, wanted: str) -> NDArray[Any]:
    """[T, A]: of everybody's hair, as far as it is seen; NaN where it is not."""
    change, hair = changes(name, wanted), truth(name)["hair"]
    found = np.full(hair.shape[:2], np.nan)
    for t, a in np.ndindex(found.shape):
        inside = binary_erosion(hair[t, a], iterations=2)
        if inside.sum() > 30:
            found[t, a] = change[t][inside].mean()
    return found


@pytest.mark.parametrize("actor", [0, 1])
def test_only_the_chosen_one_of_two_who_cross_is_edited(actor: int) -> None:
    got = hair_change("crossing", str(person_of("crossing", actor)))
    apart = np.r_[0:8, -4:0]
    assert (got[apart, actor] > 25).all(), got[apart, actor].round(1)
    other = got[:, 1 - actor]
    assert np.nanmax(other[apart]) < 2, other.round(1)
    # Of who is hidden behind a head in front some hair beside it is taken for that head's.
    share = other / np.nanmedian(got[:, actor])
    assert np.nanmean(share) < 0.15 and np.nanmax(share) < 0.6, share.round(2)


def test_in_every_shot_of_theirs_and_in_no_other() -> None:
    wanted = person_of("cuts", 0)
    got, change = hair_change("cuts", str(wanted)), changes("cuts", str(wanted))
    here = ~np.isnan(truth("cuts")["centres"][:, 0, 0])
    assert here.sum() == 2 * FPS and (got[here, 0] > 25).all()
    assert (change[~here] == 0).all(), "bit for bit"
    firsts = np.flatnonzero(np.diff(here.astype(int)) == 1) + 1
    for first in (0, *firsts):
        assert got[first, 0] == pytest.approx(got[first + 3, 0], rel=0.15), "no fading at a cut"


def test_everybody_who_is_chosen() -> None:
    got, here = hair_change("cuts", "all"), ~np.isnan(truth("cuts")["centres"][:, :, 0])
    assert (got[here] > 15).all()


def test_who_leaves_fades_and_is_edited_again_after() -> None:
    actor = 1
    got = hair_change("returning", str(person_of("returning", actor)))
    assert (got[: FPS // 2, actor] > 25).all() and (got[-FPS // 2 :, actor] > 25).all()
    assert np.nanmax(got[:, 0]) < 2, "who stays is not edited"
    steps = np.abs(np.diff(got[:, actor]))
    assert np.nanmax(steps) < 0.5 * np.nanmax(got[:, actor]), "nothing pops"


def test_a_picture_chooses(tmp_path: Path) -> None:
    with open_clip(rendered("cuts")) as reader:
        write_png(tmp_path / "dark.png", reader.read(4 * FPS + 5, 4 * FPS + 6)[0])
    settings = PLAIN | {"align.person": str(tmp_path / "dark.png")}
    flow = Flow(load_recipe("hair_color", settings), pack(), goal="composed")
    with open_clip(rendered("cuts")) as reader:
        runner = Runner(DiskStore(small.folder() / "scene-cache"), reader)
        runner.run(flow.nodes())
        (chosen,) = flow.fan_out(runner.work)
    assert str(chosen) == f"person {person_of('cuts', 1)}"
