"""Hair by a photo, or as it is painted: what is asked for, what is refused, and what goes where."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests import small
from tests.edits.codes import (
    COUNT,
    LAYERS,
    NAMES,
    PRESENT,
    RAMP,
    SPACE,
    TRACK,
    D,
    pack_of,
    steady,
    styles,
)
from tests.flow.made_up import a_pack, nodes_of
from tests.models.tiny import random, tiny_generator
from tests.stages.series import InMemory
from vidhair.edits.hair_proxy import (
    HairMask,
    HairProxy,
    HairReferenceLatent,
    Proxy,
    read_hairstyle,
    towards,
)
from vidhair.edits.recolor import HAIR_COLOR
from vidhair.errors import InvalidSetting, NoFaceFound
from vidhair.flow.graph import Flow
from vidhair.media import write_png
from vidhair.recipe import build, load_recipe
from vidhair.stages.render import Codes
from vidhair.wiring import Span

WHOLE = Span(0, COUNT)


def proxy_of(count: int = 1, space: str = "w+") -> Proxy:
    shape = {"w+": (LAYERS, D), "s": (9,), "f": (3, 4, 4)}[space]
    return Proxy.of_change(random(count, *shape, seed=4), space, random(LAYERS, D, seed=5))


def coded(edit: HairProxy, proxy: Proxy, span: Span = WHOLE) -> Any:
    rows = span.start, span.stop
    given = Codes(styles()[slice(*rows)])
    got = edit.coded(given, proxy, TRACK.rows(*rows), RAMP.rows(*rows), span).styles
    return got - given.styles


def test_one_change_is_added_to_every_frames_own_code() -> None:
    proxy = proxy_of()
    want = RAMP.values[:, None, None] * proxy.codes
    want[~PRESENT] = 0
    np.testing.assert_allclose(coded(HairReferenceLatent(), proxy), want, atol=1e-6)


def test_changes_of_their_own_are_those_of_the_clips_frames() -> None:
    proxy, span = proxy_of(COUNT), Span(3, 6)
    got = coded(HairReferenceLatent(consistency="frame"), proxy, span)
    want = RAMP.values[3:6, None, None] * proxy.codes[3:6]
    np.testing.assert_allclose(got, want, atol=1e-6)


def test_a_fixed_code_is_the_same_in_all_frames() -> None:
    proxy, edit = proxy_of(), HairReferenceLatent(consistency="fixed")
    got = edit.coded(Codes(styles()), proxy, TRACK, steady(1.0), WHOLE).styles[PRESENT]
    want = np.broadcast_to(proxy.base + proxy.codes[0], got.shape)
    np.testing.assert_allclose(got, want, atol=1e-5)


@pytest.mark.parametrize("space", ["s", "f"])
def test_what_codes_cannot_say_goes_beside_them(space: str) -> None:
    proxy, edit = proxy_of(space=space), HairReferenceLatent(space=space)
    assert not coded(edit, proxy).any()
    change = edit.beyond_codes(proxy, InMemory(RAMP))
    assert not change.is_none and np.array_equal(change.strength[:, 0], RAMP.values)
    assert change.styles.size == (9 if space == "s" else 0)
    assert change.features.size == (48 if space == "f" else 0)
    name = {"s": "styles", "f": "features"}[space]
    some = change.rows(2, 4).of_frames(name, range(2, 4)).numpy()
    np.testing.assert_allclose(some[1], RAMP.values[3] * getattr(proxy, name)[0])


class TestTowards:
    SYNTHESIS = tiny_generator(16).synthesis

    def test_attributes_of_the_hair_come_to_those_of_the_photo(self) -> None:
        codes, given = random(1, LAYERS, D), random(LAYERS, D, seed=3)
        for colored in (False, True):
            change = towards(codes, given, self.SYNTHESIS, SPACE, colored)
            after, wanted, before = (SPACE.read(x) for x in (codes + change, given, codes))
            for k, name in enumerate(NAMES):
                taken = name.startswith("hair_") and (colored or name not in HAIR_COLOR)
                target = wanted[k] if taken else before[0, k]
                assert float(after[0, k]) == pytest.approx(float(target), abs=1e-5), name

    def test_without_them_the_codes_of_the_first_half_do(self) -> None:
        codes, given = random(2, 16, D), random(16, D, seed=3)
        half = self.SYNTHESIS.halfway_codes
        after = codes + towards(codes, given, self.SYNTHESIS, None, False)
        torch.testing.assert_close(after[:, :half], given[:half].expand(2, -1, -1))
        assert torch.equal(after[:, half:], codes[:, half:]) and half < 16
        after = codes + towards(codes, given, self.SYNTHESIS, None, True)
        torch.testing.assert_close(after, given.expand(2, -1, -1))


class TestPhoto:
    def test_the_largest_face_with_its_hair(self, tmp_path: Path) -> None:
        write_png(tmp_path / "a.png", small.person()[0])
        pack = small.pack()
        found = read_hairstyle(str(tmp_path / "a.png"), pack.inverter, pack.parser, 32)
        assert found.picture.shape == (32, 32, 3) and found.hair.shape == (32, 32)
        assert found.styles.shape == (16, small.WIDTH)
        # The small parser takes all of the person beside the face for hair.
        assert found.hair[4, 16] > 150 and found.hair[16, 16] < 100
        assert abs(found.turn) < 0.5

    def test_no_face_is_said(self, tmp_path: Path) -> None:
        write_png(tmp_path / "a.png", small.nobody(1)[0])
        pack = small.pack()
        with pytest.raises(NoFaceFound, match=r"no face in .*a\.png"):
            read_hairstyle(str(tmp_path / "a.png"), pack.inverter, pack.parser, 32)


def test_pictures_that_are_not_given_are_asked_for() -> None:
    with pytest.raises(InvalidSetting, match=r"edit\.2\.style is not given"):
        HairReferenceLatent().check(pack_of(SPACE), "edit.2")
    with pytest.raises(InvalidSetting, match=r"edit\.mask is not given"):
        HairMask().check(pack_of(SPACE), "edit")


def test_a_picture_counts_by_what_it_shows(tmp_path: Path) -> None:
    for name, level in (("a.png", 80), ("b.png", 80), ("c.png", 90)):
        write_png(tmp_path / name, np.full((8, 8, 3), level, np.uint8))
    names = [str(tmp_path / name) for name in ("a.png", "b.png", "c.png")]
    for edits in (
        [HairReferenceLatent(style=name) for name in names], [HairMask(mask=name) for name in names]
    ):  # fmt: skip
        a, b, c = (edit.identity() for edit in edits)
        assert a == b != c


def test_what_all_photos_share_has_the_same_keys(tmp_path: Path) -> None:
    found = []
    for level in (80, 90):
        path = tmp_path / f"{level}.png"
        write_png(path, np.full((8, 8, 3), level, np.uint8))
        recipe = load_recipe("hair_reference_latent", {"edit.style": str(path)})
        nodes = nodes_of(Flow(recipe, a_pack()))
        found.append({node.name: (node.settings, node.needs) for node in nodes if node.kept})
    differing = {name for name in found[0] if found[0][name] != found[1][name]}
    assert differing == {"hairstyle", "proxy"}
    assert {"tuned", "rendered", "labels"} <= set(found[0])


@pytest.mark.parametrize("space", ["w+", "s", "f"])
def test_steps_are_those_of_the_edit(space: str) -> None:
    edit: dict[str, Any] = {"kind": "hair_reference_latent", "space": space}
    edit |= {"style": str(small.matte() / "1.png"), "steps": 7, "refine_steps": 2}
    flow = Flow(build("stack", "", {"edit": edit, "compose": {"mode": "replace"}}), a_pack())
    (node,) = (node for node in nodes_of(flow) if node.name == "proxy")
    assert node.steps == 3 + 9 and node.whole and node.kept
    assert "beyond_codes" not in flow.stages
    drawn = flow.stages["drawn_change"]
    assert (drawn.owner is not None) == (space != "w+")
