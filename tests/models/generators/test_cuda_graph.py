"""Drawing on a GPU: as on the CPU, recorded once and cuda_graphed."""

import gc
from typing import Any
from weakref import ref

import numpy as np
import pytest
import torch

from tests.models.tiny import R, T, random, seeded, tiny_generator, tiny_stylegan2_config
from tests.tolerances import TOLERANCES, relative_error
from vidhair.geometry import Similarity
from vidhair.models.generators.aligned import AlignedGenerator
from vidhair.models.generators.cuda_graph import CudaGraph, cuda_graphed, with_gradients
from vidhair.models.generators.stylegan3 import Extent, Generator
from vidhair.stages.render import Canvas, RenderConfig, render

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
WIDE = Extent(8, 3, 0, 5)


@pytest.fixture(params=[T, R], ids=["T", "R"])
def generator(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    return tiny_generator(32, **request.param, channel_max=40)


def scene(
    generator: Generator | AlignedGenerator, count: int = 2, seed: int = 5
) -> tuple[torch.Tensor, torch.Tensor]:
    """Codes and transforms."""
    ws = random(count, generator.config.num_ws, generator.config.w_dim, seed=seed)
    turned = Similarity(
        *np.array([[9.0 * seed] * count, [0.1] * count, [0.0] * count, [1.0] * count])
    )
    return ws, torch.linalg.inv(torch.as_tensor(turned.matrices(), dtype=torch.float32))


class TestOnTheCpu:
    def test_nothing_is_recorded(self) -> None:
        synthesis = tiny_generator(16).synthesis
        assert cuda_graphed(synthesis) is synthesis

    def test_with_gradients_is_the_synthesis(self) -> None:
        generator = tiny_generator(16)
        ws, transform = scene(generator)
        draw = with_gradients(generator.synthesis, ws, transform, WIDE, torch.float32)
        want = generator.synthesis(ws, transform=transform, canvas=WIDE)
        assert torch.equal(draw(ws, transform), want)


@needs_gpu
class TestOnAGpu:
    def test_draws_what_the_cpu_draws(self, generator: AlignedGenerator) -> None:
        ws, transform = scene(generator)
        want = generator.synthesis(ws, transform=transform, canvas=WIDE)
        synthesis = generator.synthesis.cuda()
        got = synthesis(ws.cuda(), transform=transform.cuda(), canvas=WIDE)
        assert relative_error(got.cpu(), want) < 10 * TOLERANCES["synthesis", torch.float32]

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_in_16_bit(self, generator: AlignedGenerator, dtype: Any) -> None:
        ws, transform = scene(generator)
        want = generator.synthesis(ws, transform=transform)
        got = generator.synthesis.cuda()(ws.cuda(), transform=transform.cuda(), dtype=dtype)
        error = 8e-3 if dtype == torch.float16 else TOLERANCES["synthesis", dtype]
        assert 0 < relative_error(got.cpu(), want) < error

    def test_gradients(self, generator: AlignedGenerator) -> None:
        ws, transform = scene(generator)
        synthesis = generator.synthesis.requires_grad_(True)
        found = []
        for device in ("cpu", "cuda"):
            synthesis = synthesis.to(device)
            codes = ws.to(device).requires_grad_()
            y = synthesis(codes, transform=transform.to(device))
            weights = [p for layer in synthesis.tunable() for p in layer.parameters()]
            found.append(torch.autograd.grad(y, [codes, *weights], random(*y.shape).to(device)))
        for want, got in zip(*found, strict=True):
            assert relative_error(got.cpu(), want) < 1e-3

    def test_compiled(self, generator: AlignedGenerator) -> None:
        ws, transform = (t.cuda() for t in scene(generator))
        synthesis = generator.synthesis.cuda()
        torch.compiler.reset()
        compiled = torch.compile(synthesis, fullgraph=True, backend="aot_eager")
        torch.testing.assert_close(
            compiled(ws, transform=transform), synthesis(ws, transform=transform)
        )


@needs_gpu
class TestCudaGraph:
    def test_every_call_draws_its_own_codes(self, generator: AlignedGenerator) -> None:
        synthesis = generator.synthesis.cuda()
        replay = cuda_graphed(synthesis)
        assert isinstance(replay, CudaGraph) and cuda_graphed(synthesis) is replay
        with torch.inference_mode():
            for seed in range(3):
                ws, transform = (t.cuda() for t in scene(generator, seed=seed))
                for canvas in (Extent(), WIDE):
                    for dtype in (torch.float32, torch.float16):
                        options: dict[str, Any] = {
                            "transform": transform,
                            "canvas": canvas,
                            "dtype": dtype,
                        }
                        got, want = replay(ws, **options), synthesis(ws, **options)
                        assert relative_error(got.cpu(), want.cpu()) < 1e-6

    def test_changed_weights_count(self, generator: AlignedGenerator) -> None:
        synthesis = generator.synthesis.cuda()
        replay, (ws, transform) = CudaGraph(synthesis), (t.cuda() for t in scene(generator))
        options: dict[str, Any] = {
            "transform": transform,
            "canvas": Extent(),
            "dtype": torch.float32,
        }
        with torch.no_grad():
            for _ in range(2):
                got, want = replay(ws, **options), synthesis(ws, **options)
                assert relative_error(got.cpu(), want.cpu()) < 1e-6
                weight = synthesis.get_parameter("layers.3.weight")
                weight.mul_(torch.rand_like(weight))

    def test_a_synthesis_is_forgotten_with_its_graphs(self, generator: AlignedGenerator) -> None:
        synthesis = generator.synthesis.cuda()
        ws, transform = (t.cuda() for t in scene(generator))
        with torch.no_grad():
            cuda_graphed(synthesis)(ws, transform=transform, canvas=Extent(), dtype=torch.float16)
        gone = ref(synthesis)
        generator.synthesis = None  # type: ignore[assignment]
        del synthesis
        gc.collect()
        assert gone() is None

    def test_stylegan2_too(self) -> None:
        generator = seeded(lambda: AlignedGenerator(tiny_stylegan2_config(32)))
        synthesis = generator.synthesis.cuda()
        ws, transform = (t.cuda() for t in scene(generator))
        options: dict[str, Any] = {"transform": transform, "canvas": WIDE, "dtype": torch.float32}
        with torch.no_grad():
            got, want = cuda_graphed(synthesis)(ws, **options), synthesis(ws, **options)
        assert relative_error(got.cpu(), want.cpu()) < 1e-5

    @pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
    def test_the_stage_renders_every_frame_in_batches_of_one_size(
        self, generator: AlignedGenerator, precision: str
    ) -> None:
        styles = random(5, generator.config.num_ws, generator.config.w_dim).numpy()
        similarity = Similarity(*np.array([[0, 5, -9, 20, 3.0], *[[0, 0.1, -0.2, 0.1, 0]] * 2,
                                           [1, 1.1, 0.9, 1, 1]]))  # fmt: skip
        canvas = Canvas(32, WIDE, 0.0, 0.0, 1.0)
        want = render(generator.synthesis, styles, similarity, canvas, RenderConfig()).astype(int)
        config = RenderConfig(precision=precision, batch=2)
        got = render(generator.synthesis.cuda(), styles, similarity, canvas, config)
        assert got.shape == want.shape
        assert np.abs(got - want).max() <= {"float32": 1, "float16": 2, "bfloat16": 6}[precision]


@needs_gpu
class TestWithGradients:
    @pytest.mark.parametrize("codes_too", [True, False])
    def test_gradients_are_those_of_the_synthesis(
        self, generator: AlignedGenerator, codes_too: bool
    ) -> None:
        synthesis = generator.synthesis.cuda().requires_grad_(True)
        synthesis.input.requires_grad_(False)
        codes, place = (t.cuda() for t in scene(generator))
        codes.requires_grad_(codes_too)
        draw = with_gradients(synthesis, codes, place, WIDE, torch.float32)
        weights = [p for layer in synthesis.tunable() for p in layer.parameters()]
        for seed in (1, 2):
            ws, transform = (t.cuda() for t in scene(generator, seed=seed))
            ws.requires_grad_(codes_too)
            wanted = [ws, *weights] if codes_too else weights
            plain = synthesis(ws, transform=transform, canvas=WIDE)
            dy = random(*plain.shape, seed=seed).cuda()
            want = torch.autograd.grad(plain, wanted, dy)
            picture = draw(ws, transform)
            assert relative_error(picture.cpu(), plain.cpu()) < 1e-5
            for got, definition in zip(torch.autograd.grad(picture, wanted, dy), want, strict=True):
                assert relative_error(got.cpu(), definition.cpu()) < 1e-4
            with torch.no_grad():
                for weight in weights:
                    weight.add_(0.01)
