"""Frames inverted at keyframes, and drawn along directions, in other styles, by other domains."""

from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from tests import small
from tests.edits.test_toonify import faces_of, shots_of
from tests.edits.test_wide import FACE, SIZE, levels_of, the_frame
from tests.flow.made_up import pack_for
from tests.models.tiny import tiny_styleganex
from tests.stages.faces import clip_of
from tests.stages.series import InMemory
from vidhair.checkpoints.packs import write_pack
from vidhair.edits.invert_frame import MOST_KEYS, InvertFrame, Keyframes
from vidhair.edits.labels_to_face import sample
from vidhair.errors import InvalidSetting
from vidhair.flow.graph import Flow
from vidhair.models.pack import load_pack
from vidhair.models.perceptual import Perceptual
from vidhair.models.styleganex.network import LAYOUT_CODES, Layout
from vidhair.recipe import load_recipe
from vidhair.stages.people import tracks
from vidhair.stages.render import RenderConfig
from vidhair.types import Frames
from vidhair.wiring import Span

pytestmark = pytest.mark.usefixtures("one_thread")

SQUARES = Perceptual("", {}, lambda: lambda got, want, mask=None: F.mse_loss(got, want))  # type: ignore[arg-type, return-value]


class Made:
    """What the stages make of a few frames with one face."""

    def __init__(self, count: int = 1, **settings: Any):
        given: dict[str, Any] = {"size": "drawn", "steps": 2} | settings
        self.edit = InvertFrame(**given)
        self.network = small.wide_pack("inversion").styleganex
        pixels = np.stack([np.roll(the_frame(), 2 * n, 1) for n in range(count)])
        self.frames, clip = (
            Frames.of_pixels(pixels),
            clip_of(SIZE[1], SIZE[0], [*range(0, 40 * count, 40)]),
        )
        faces, self.shots = InMemory(faces_of([[FACE]] * count)), InMemory(shots_of(count))
        found = InMemory(tracks(faces, self.shots, clip))
        self.places = self.edit.places(faces, found, self.shots, clip, "largest")
        config = RenderConfig()
        frames, places = InMemory(self.frames), InMemory(self.places)
        self.styles = self.edit.wide_styles(frames, places, self.network, config)
        self.done: list[float] = []
        self.keys = self.edit.keyframes(
            frames, places, self.shots, self.styles, self.network, SQUARES,
            lambda done, note="": self.done.append(done),
        )  # fmt: skip
        self.pixels = self.edit.drawn(
            self.frames, self.places, self.styles, self.keys, self.network, Span(0, count), config
        ).pixels

    @torch.no_grad()
    def plain(self, codes: torch.Tensor, row: int = 0, change: Any = 0.0) -> NDArray[np.int64]:
        picture = self.edit.picture(self.frames.pixels[row], self.places, 0)
        layout = Layout(self.network.encode_layout(picture).feature + change)
        return levels_of(
            self.network.render(layout, codes, noise=self.network.synthesis.no_noise())
        )


class TestAround:
    KEYS = Keyframes(
        np.array([0, 0, 1]), np.array([4, 8, 2]), np.zeros((3, 1, 1), np.float32),
        np.arange(6, dtype=np.float16), np.array([[1, 1, 2]] * 3), np.array([0, 2, 4]),
    )  # fmt: skip

    @pytest.mark.parametrize(
        ("place", "frame", "want"),
        [
            (0, 2, [(0, 1.0)]), (0, 4, [(0, 1.0)]), (0, 5, [(0, 0.75), (1, 0.25)]),
            (0, 8, [(0, 0.0), (1, 1.0)]), (0, 9, [(1, 1.0)]), (1, 30, [(2, 1.0)]),
        ],
    )  # fmt: skip
    def test_frames_lie_between_keyframes(self, place: int, frame: int, want: Any) -> None:
        assert self.KEYS.around(place, frame) == want

    def test_features(self) -> None:
        assert self.KEYS.feature(1).tolist() == [[[[2, 3]]]]


class TestKeyframes:
    def test_one_of_each_place_or_every_few_frames(self) -> None:
        assert Made(3).keys.frame.tolist() == [0]
        made = Made(5, every=2)
        assert made.keys.frame.tolist() == [0, 2, 4] and made.done[-1] == pytest.approx(5)
        assert np.abs(made.keys.codes[1:] - made.keys.codes[:1]).max() == 0, "one style"
        assert made.keys.codes.any() and made.keys.features.any()

    def test_a_keyframe_is_drawn_as_it_was_optimised(self) -> None:
        made = Made()
        codes = torch.from_numpy(made.styles.codes + made.keys.codes)
        want = made.plain(codes, change=made.keys.feature(0))
        assert np.abs(made.pixels[0] - want).max() <= 1

    def test_other_frames_get_what_it_changed(self) -> None:
        made = Made(2)
        codes = torch.from_numpy(made.styles.codes + made.keys.codes)
        want = made.plain(codes, 1, made.keys.feature(0))
        assert np.abs(made.pixels[1] - want).max() <= 1


class TestAfterwards:
    def test_a_direction(self, tmp_path: Path) -> None:
        rows = np.random.default_rng(0).standard_normal((2, 16)).astype(np.float32)
        np.save(tmp_path / "d.npy", rows)
        path = str(tmp_path / "d.npy")
        made = Made(steps=0, direction=path, row=1, strength=-2.0, layers="0-3,8")
        codes = torch.from_numpy(made.styles.codes.copy())
        codes[:, [0, 1, 2, 3, 8]] -= 2 * torch.from_numpy(rows[1])
        assert np.abs(made.pixels[0] - made.plain(codes)).max() <= 1

    def test_one_of_the_codes(self) -> None:
        """A plain number, as the command line reads it."""
        assert load_recipe("invert_frame", {"edit.layers": 8}).edits[0] == InvertFrame(layers=8)

    def test_another_style(self) -> None:
        made = Made(steps=0, mix=4)
        codes = torch.from_numpy(made.styles.codes.copy())
        with torch.no_grad():
            codes[:, LAYOUT_CODES:] = sample(made.network, 4)[:, LAYOUT_CODES:]
        assert np.abs(made.pixels[0] - made.plain(codes)).max() <= 1

    def test_another_generator(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        loaded = Mock(wraps=load_pack)
        monkeypatch.setattr("vidhair.edits.invert_frame.load_pack", loaded)
        other = tiny_styleganex(skips=0, fuse_rgb=False)
        with torch.no_grad():
            for weight in other.generator.synthesis.parameters():
                weight.mul_(1.3)
        part = small.wide_pack("inversion").files.part("styleganex")
        contents = {"styleganex": (part.kind, part.config, other.state_dict())}
        write_pack(tmp_path / "other", "other", contents, {}, dtype=None)
        made = Made(steps=0, generator=str(tmp_path / "other"))
        # To where the network is that its features come from.
        loaded.assert_called_once_with(str(tmp_path / "other"), device=made.network.w_avg.device)
        plain = made.plain(torch.from_numpy(made.styles.codes))
        made.network = other
        with torch.no_grad():
            layout = small.wide_pack("inversion").styleganex.encode_layout(
                made.edit.picture(made.frames.pixels[0], made.places, 0)
            )
            quiet = other.synthesis.no_noise()
            want = levels_of(other.render(layout, torch.from_numpy(made.styles.codes), noise=quiet))
        assert np.abs(made.pixels[0] - want).max() <= 1 < np.abs(plain - want).max()


class TestRefused:
    def refused(self, match: str, **changes: Any) -> None:
        settings = {f"edit.{key}": value for key, value in changes.items()}
        with pytest.raises(InvalidSetting, match=match):
            Flow(load_recipe("invert_frame", settings), pack_for("invert_frame"))

    def test_directions_of_other_codes(self, tmp_path: Path) -> None:
        np.save(tmp_path / "d.npy", np.ones((1, 512)))
        self.refused("1 rows of 512 numbers", direction=str(tmp_path / "d.npy"))
        np.save(tmp_path / "e.npy", np.ones((1, 16)))
        self.refused(r"edit\.row = 1", direction=str(tmp_path / "e.npy"), row=1)
        self.refused(r"edit\.layers", layers="0-99")

    def test_too_many_keyframes(self) -> None:
        clip = clip_of(96, 96, [*range(0, 40 * (MOST_KEYS + 2), 40)])
        with pytest.raises(InvalidSetting, match=r"more than 64 keyframes.*give 2 or more"):
            InvertFrame(every=1).check_clip(clip, "edit")
        InvertFrame(every=2).check_clip(clip, "edit")
        InvertFrame(every=1, steps=0).check_clip(clip, "edit")

    def test_a_generator_of_another_size(self, tmp_path: Path) -> None:
        other = tiny_styleganex(skips=0, fuse_rgb=False, resolution=128)
        part = small.wide_pack("inversion").files.part("styleganex")
        contents = {
            "styleganex": (part.kind, part.config | {"resolution": 128}, other.state_dict())
        }
        write_pack(tmp_path / "large", "large", contents, {}, dtype=None)
        self.refused("of another size", generator=str(tmp_path / "large"))
