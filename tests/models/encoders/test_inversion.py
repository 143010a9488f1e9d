"""What all encoders of packs have in common, and which of them looks at its own renderings."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.models.tiny import random, seeded, tiny_generator, tiny_published_encoder
from tests.models.tiny import tiny_stylegan2_config as stylegan2_config
from vidhair.checkpoints.packs import write_pack
from vidhair.models.encoders.inversion import ENCODERS, PublishedEncoder, RestyleLoop
from vidhair.models.encoders.restyle import restyle
from vidhair.models.encoders.small import SmallEncoder, SmallEncoderConfig
from vidhair.models.encoders.style import StyleEncoderConfig
from vidhair.models.generators.aligned import AlignedGenerator
from vidhair.models.generators.stylegan3 import Generator
from vidhair.models.pack import Pack, load_pack
from vidhair.models.skip_init import SkipInit

pytestmark = pytest.mark.usefixtures("one_thread")

RESTYLE = [kind for kind in ENCODERS if kind.startswith("restyle")]
AT_ONCE = [kind for kind in ENCODERS if kind not in RESTYLE]
FACES = random(2, 3, 32, 32)


def stylegan3() -> Generator:
    return tiny_generator(16)


def stylegan2() -> AlignedGenerator:
    return seeded(lambda: AlignedGenerator(stylegan2_config(64, w_dim=12)))


class TestPublishedEncoder:
    @pytest.mark.parametrize("kind", ENCODERS)
    def test_codes_are_relative_to_the_average(self, kind: str) -> None:
        encoder = tiny_published_encoder(kind)
        assert type(encoder.network) is ENCODERS[kind]
        images = random(2, encoder.config.in_channels, 32, 32)
        want = encoder.network(images) + encoder.w_avg
        assert torch.equal(encoder(images), want) and want.shape == (2, 16, 12)
        encoder.w_avg.zero_()
        assert torch.equal(encoder(images), encoder.network(images))

    @pytest.mark.parametrize("kind", ENCODERS)
    def test_a_plan_that_was_json_makes_the_same_encoder(self, kind: str) -> None:
        encoder = tiny_published_encoder(kind, steps=5)
        again = PublishedEncoder.planned(kind, json.loads(json.dumps(encoder.plan)))
        assert (again.kind, again.config, again.steps) == (kind, encoder.config, 5)
        assert again.plan == encoder.plan
        again.load_state_dict(encoder.state_dict(), strict=True)
        images = random(1, encoder.config.in_channels, 32, 32)
        assert torch.equal(again.eval()(images), encoder(images))

    def test_the_plan_of_a_published_size_leaves_it_as_published(self) -> None:
        with SkipInit():
            encoder = PublishedEncoder("w_encoder", StyleEncoderConfig(num_ws=18))
            again = PublishedEncoder.planned("w_encoder", json.loads(json.dumps(encoder.plan)))
        assert again.config == encoder.config and again.config.widths is None
        shapes = {name: t.shape for name, t in encoder.state_dict().items()}
        assert {name: t.shape for name, t in again.state_dict().items()} == shapes

    def test_no_step_is_refused(self) -> None:
        plan = tiny_published_encoder("restyle_psp").plan
        with pytest.raises(AssertionError, match="0 steps"):
            PublishedEncoder.planned("restyle_psp", plan | {"steps": 0})


class TestRestyleLoop:
    @pytest.mark.parametrize("steps", [1, 3])
    @pytest.mark.parametrize("kind", RESTYLE)
    @pytest.mark.parametrize("make", [stylegan3, stylegan2])
    def test_it_is_the_last_of_the_steps(
        self, make: Callable[..., Any], kind: str, steps: int
    ) -> None:
        synthesis = make().synthesis
        encoder = tiny_published_encoder(kind, num_ws=synthesis.config.num_ws, steps=steps)
        loop = RestyleLoop(encoder, synthesis)
        history = restyle(FACES, encoder.network, synthesis, encoder.w_avg, steps=steps)
        assert history.shape[1] == steps
        assert torch.equal(loop(FACES), history[:, -1])
        torch.testing.assert_close(loop(FACES[1:]), history[1:, -1], rtol=1e-4, atol=1e-4)

    def test_the_average_face_is_drawn_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        synthesis, drawn = stylegan3().synthesis, []
        forward = synthesis.forward

        def noted(ws: torch.Tensor, **how: Any) -> Any:
            drawn.append(len(ws))
            return forward(ws, **how)

        monkeypatch.setattr(synthesis, "forward", noted)
        loop = RestyleLoop(tiny_published_encoder("restyle_e4e", steps=3), synthesis)
        loop(FACES)
        loop(FACES)
        assert drawn == [1, 2, 2, 2, 2]


def pack_of(
    folder: Path, generator: Generator, encoder: tuple[str, dict[str, Any], torch.nn.Module]
) -> Pack:
    """In float32. encoder: (kind, configuration, module)."""
    kind, config, module = encoder
    name = "stylegan2" if isinstance(generator, AlignedGenerator) else "stylegan3"
    parts = {
        "generator": (name, vars(generator.config), generator.state_dict()),
        "encoder": (kind, config, module.state_dict()),
    }
    write_pack(folder / "p", "p", parts, {}, dtype=None)
    return load_pack(folder / "p")


class TestInverterOfAPack:
    @pytest.mark.parametrize("make", [stylegan3, stylegan2])
    @pytest.mark.parametrize("kind", ENCODERS)
    def test_published_encoders(self, kind: str, make: Callable[..., Any], tmp_path: Path) -> None:
        generator = make()
        encoder = tiny_published_encoder(kind, num_ws=generator.config.num_ws)
        pack = pack_of(tmp_path, generator, (kind, encoder.plan, encoder))
        inverter = pack.inverter
        assert (inverter.size, inverter.num_ws) == (32, generator.config.num_ws)
        assert (inverter.w_dim, inverter.device) == (12, torch.device("cpu"))
        looped = RestyleLoop(encoder, generator.synthesis)
        want = looped(FACES) if kind in RESTYLE else encoder(FACES)
        torch.testing.assert_close(inverter.codes(FACES), want)

    def test_the_small_encoder(self, tmp_path: Path) -> None:
        config = SmallEncoderConfig(size=32, num_ws=16, w_dim=12, widths=(4, 6), hidden=5)
        encoder = seeded(lambda: SmallEncoder(config))
        pack = pack_of(tmp_path, stylegan3(), ("small_encoder", vars(config), encoder))
        assert pack.inverter_parts == ("encoder",)
        assert (pack.inverter.size, pack.inverter.num_ws, pack.inverter.w_dim) == (32, 16, 12)
        torch.testing.assert_close(pack.inverter.codes(FACES), encoder(FACES))

    @pytest.mark.parametrize("kind", ENCODERS)
    def test_only_restyle_depends_on_the_generator(self, kind: str, tmp_path: Path) -> None:
        encoder = tiny_published_encoder(kind)
        pack = pack_of(tmp_path, stylegan3(), (kind, encoder.plan, encoder))
        wanted = {"restyle_psp", "restyle_e4e"}
        assert pack.inverter_parts == (("encoder", "generator") if kind in wanted else ("encoder",))
        assert pack.inverter.size == 32
        assert ("generator" in vars(pack)) == (kind in wanted), "loaded only where it is needed"
