"""Edits that are told in words, with a tiny made-up CLIP."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests import small
from tests.models.clip_files import TINY
from tests.models.tiny import random
from vidhair.edits import HairText, TextDirection
from vidhair.edits.hair_text import moved_view, words_loss
from vidhair.edits.latents import style_direction, text_direction
from vidhair.edits.style_space import StyleSpread, style_sizes, style_spread
from vidhair.edits.text import PHRASES
from vidhair.edits.text_direction import covered
from vidhair.errors import CheckpointUnreadable, InvalidSetting, WeightsDoNotFit

pytestmark = pytest.mark.usefixtures("one_thread")

E = TINY.embedding


def with_clip(**settings: Any) -> dict[str, Any]:
    weights, merges = small.clip_files()
    return {"clip": str(weights), "merges": str(merges), **settings}


def text_edit(**settings: Any) -> HairText:
    return HairText(**with_clip(text="long hair") | settings)


# ---- hair by text


def test_without_weights_it_is_said_what_to_pull(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pull = r"`vidhair models pull clip-vit-b-32 clip-merges`$"
    monkeypatch.setenv("VIDHAIR_WEIGHTS", str(tmp_path))
    with pytest.raises(InvalidSetting, match=rf"needs CLIP, and .* here; fetch it by {pull}"):
        HairText(text="long hair").check(small.pack(), "edit")
    own = (
        rf"none\.txt is not a file that is here; check edit\.merges, or leave it out and run {pull}"
    )
    with pytest.raises(InvalidSetting, match=own):
        text_edit(merges=str(tmp_path / "none.txt")).check(small.pack(), "edit")
    with pytest.raises(InvalidSetting, match=r"edit\.text is empty; say what is wanted"):
        text_edit(text=" ").check(small.pack(), "edit")
    text_edit().check(small.pack(), "edit")


def test_weights_and_words_that_do_not_belong_together(tmp_path: Path) -> None:
    (tmp_path / "few.txt").write_text("h a\n")
    with pytest.raises(WeightsDoNotFit, match=r"few\.txt makes 515 tokens, .* knows 520"):
        text_edit(merges=str(tmp_path / "few.txt")).reader()


@pytest.mark.parametrize("name", ["clip", "merges"])
def test_a_file_of_another_kind_is_refused_before_any_work(name: str, tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("hello\n")
    wrong = text_edit(**{name: str(tmp_path / "note.txt")})
    with pytest.raises(CheckpointUnreadable, match=r"note\.txt is (in no known|no list of merges)"):
        wrong.check(small.pack(), "edit")


def test_the_files_are_in_the_key_and_their_names_are_not(tmp_path: Path) -> None:
    weights, _ = small.clip_files()
    again = tmp_path / "again.safetensors"
    again.write_bytes(weights.read_bytes())
    one, same, other = (
        edit.identity()
        for edit in (text_edit(), text_edit(clip=str(again)), text_edit(text="short hair"))
    )
    assert one == same != other


def test_pictures_come_nearer_to_a_text() -> None:
    reader = text_edit().reader()
    wanted = reader.embedded(["long hair"]).clone()
    rng = torch.Generator().manual_seed(0)
    picture = (0.1 * random(1, 3, 32, 32)).requires_grad_()
    optimiser = torch.optim.Adam([picture], lr=0.05)

    def loss() -> torch.Tensor:
        return words_loss(reader.clip, picture, wanted, rng)

    before = float(loss().detach())
    for _ in range(15):
        optimiser.zero_grad()
        loss().backward()
        optimiser.step()
    assert 0 < float(loss().detach()) < 0.7 * before


def test_views_are_the_picture_somewhat_moved() -> None:
    rng, picture = torch.Generator().manual_seed(1), random(2, 3, 20, 20)
    views = [moved_view(picture, rng) for _ in range(30)]
    still = [torch.equal(view, picture) for view in views]
    assert 2 <= sum(still) <= 18
    assert all(view.shape == picture.shape and view.isfinite().all() for view in views)


@pytest.mark.slow
def test_a_run_by_text(tmp_path: Path) -> None:
    changes = small.needed("hair_text") | {
        "edit.steps": 2, "edit.refine_steps": 1, "edit.frames": 2,
    }  # fmt: skip
    result = small.edit(
        tmp_path / "out.mp4", tmp_path / "cache", name="hair_text", changes=changes,
        models=small.stylegan3_pack(),
    )  # fmt: skip
    assert result.frames == small.FRAMES and "proxy" in small.computed(result)


# ---- global directions


def effects_file(path: Path, count: int, width: int = E) -> str:
    np.save(path, random(count, width, seed=4).numpy())
    return str(path)


def embeddings(path: Path, seed: int, width: int = E) -> str:
    np.save(path, random(3, width, seed=seed).numpy())
    return str(path)


@pytest.mark.parametrize("pack", [small.stylegan2_pack, small.stylegan3_pack])
@pytest.mark.parametrize("colors", [True, False])
def test_it_is_the_published_direction(pack: Any, colors: bool, tmp_path: Path) -> None:
    """Of all channels, as for StyleGAN3, or without the layers to colors, as for StyleGAN2."""
    generator = pack().generator
    to_color = np.repeat(generator.synthesis.to_color(), style_sizes(generator))
    told = np.ones_like(to_color) if colors else ~to_color
    edit = TextDirection(
        file=effects_file(tmp_path / "delta_i_c.npy", int(told.sum())),
        neutral=embeddings(tmp_path / "face.npy", 1), target=embeddings(tmp_path / "smile.npy", 2),
        threshold=0.5,
    )  # fmt: skip
    edit.check(pack(), "edit")
    spread = style_spread(generator)
    change = edit.style_change(spread)
    wanted = text_direction(random(3, E, seed=1), random(3, E, seed=2))
    relevance = random(len(change[told]), E, seed=4) @ wanted
    relevance[relevance.abs() < 0.5] = 0
    want = relevance / relevance.abs().max() * torch.from_numpy(spread.deviation[told])
    np.testing.assert_allclose(change[told], want, atol=1e-6)
    assert not change[~told].any() and np.count_nonzero(change) == int((want != 0).sum()) > 0


def test_texts_are_phrased_in_several_ways(tmp_path: Path) -> None:
    sizes = style_sizes(small.pack().generator)
    edit = TextDirection(
        **with_clip(
            file=effects_file(tmp_path / "e.npy", sum(sizes)), neutral="a face",
            target="long hair", threshold=0.0,
        )
    )  # fmt: skip
    edit.check(small.pack(), "edit")
    spread = StyleSpread(
        np.ones(sum(sizes), np.float32), np.array(sizes), np.zeros(len(sizes), bool)
    )
    reader = edit.reader()
    neutral, target = (
        reader.embedded([phrase.format(text) for phrase in PHRASES])
        for text in ("a face", "long hair")
    )
    assert len(neutral) == len(PHRASES) > 1
    effects = random(sum(sizes), E, seed=4)
    wanted = text_direction(neutral, target)
    (want,) = style_direction(wanted, effects, [torch.ones(sum(sizes))], 0.0)
    np.testing.assert_allclose(edit.style_change(spread), want, atol=1e-5)


def test_which_channels_a_file_tells_of() -> None:
    sizes, to_color = [3, 2, 4], [False, True, False]
    assert covered(9, sizes, to_color).all()
    assert covered(7, sizes, to_color).tolist() == [True] * 3 + [False] * 2 + [True] * 4
    assert not covered(8, sizes, to_color).any()


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    pack = small.stylegan2_pack()
    count = sum(style_sizes(pack.generator))
    files: dict[str, Any] = {
        "file": effects_file(tmp_path / "fs3.npy", count),
        "neutral": embeddings(tmp_path / "a.npy", 1),
        "target": embeddings(tmp_path / "b.npy", 2),
    }
    for changes, said in (
        ({"file": ""}, r"edit\.file is not given; name what each channel"),
        ({"file": effects_file(tmp_path / "few.npy", count - 1)},
         rf"tells of {count - 1} channels, and this pack's generator has {count}"),
        ({"target": embeddings(tmp_path / "wide.npy", 2, E + 1)}, r"edit\.target = .* give those"),
        ({"target": "smile", "clip": "absent.pt"}, r"needs CLIP, and absent\.pt is not a file"),
        (with_clip(
            file=effects_file(tmp_path / "of others.npy", count, E + 1), target="smile",
         ), rf"others\.npy' tells of embeddings of {E + 1} numbers, and CLIP gives {E}; take"),
        ({"target": ""}, r"edit\.target is empty"),
    ):  # fmt: skip
        with pytest.raises(InvalidSetting, match=said):
            TextDirection(**files | changes).check(pack, "edit")
    TextDirection(**files).check(pack, "edit")
