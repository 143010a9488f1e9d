"""Counted work against brute force, and against what is known of the published generators."""

from typing import Any

import pytest
import torch

from vidhair.bench import counting
from vidhair.bench.counting import Work, with_backward
from vidhair.bench.generators import STYLEGAN3
from vidhair.models.generators.stylegan3 import Extent, designed_filters, layer_geometries
from vidhair.ops.filtered_lrelu import reference as filtered_lrelu
from vidhair.ops.upfirdn2d import upfirdn2d

FLOAT = 4  # bytes


def met(outputs: int, taps: int, *, up: int = 1, down: int = 1, before: int = 0) -> int:
    """Multiplications of one axis, one by one: taps that do not lie on an inserted zero."""
    return sum(
        (i * down + k - before) % up == 0 for i in range(outputs) for k in range(taps)
    )  # fmt: skip


class TestFilteredLRelu:
    @pytest.mark.parametrize("up", [2, 4])
    @pytest.mark.parametrize("padding", [(9, 8, 7, 10), (20, -3, -2, 21)], ids=str)
    @pytest.mark.parametrize("radial", [False, True], ids=["separable", "radial"])
    def test_against_brute_force(
        self, radial: bool, padding: tuple[int, int, int, int], up: int
    ) -> None:
        x = torch.zeros(2, 3, 11, 13)
        fu, fd = torch.ones(6 * up), torch.ones(12, 12) if radial else torch.ones(12)
        arguments: dict[str, Any] = {"fu": fu, "fd": fd, "up": up, "down": 2, "padding": padding}
        h, w = filtered_lrelu(x, **arguments).shape[2:]
        rows, columns = 2 * (h - 1) + 12, 2 * (w - 1) + 12  # of the upsampled signal, as needed
        macs = met(rows, 6 * up, up=up, before=padding[2]) * 13
        macs += met(columns, 6 * up, up=up, before=padding[0]) * rows
        if radial:
            macs += met(h, 12, down=2) * met(w, 12, down=2)
        else:
            macs += met(w, 12, down=2) * rows + met(h, 12, down=2) * w
        counted = counting.filtered_lrelu(x, b=torch.zeros(3), clamp=1.0, **arguments)
        assert counted.filter == 6 * macs and counted.convolution == 0
        values = x.numel() + 6 * h * w + fu.numel() + fd.numel() + 3
        assert counted.bytes == FLOAT * values

    def test_without_filters_only_bytes_are_left(self) -> None:
        x = torch.zeros(1, 2, 5, 5, dtype=torch.bfloat16)
        assert counting.filtered_lrelu(x) == Work(bytes=2 * 2 * x.numel())

    def test_a_filter_that_is_not_separable(self) -> None:
        x = torch.zeros(1, 1, 6, 8)
        arguments: dict[str, Any] = {"fu": torch.ones(4, 4), "up": 2, "padding": 3}
        h, w = filtered_lrelu(x, **arguments).shape[2:]
        macs = met(h, 4, up=2, before=3) * met(w, 4, up=2, before=3)
        assert counting.filtered_lrelu(x, **arguments).filter == macs


class TestUpfirdn2d:
    @pytest.mark.parametrize("separable", [False, True])
    @pytest.mark.parametrize(
        ("up", "down", "padding"),
        [(1, 1, 1), (2, 1, (2, 1, 2, 1)), (1, 2, 3), ((2, 1), (1, 2), (3, 1)), (4, 2, 0)],
        ids=str,
    )
    def test_against_brute_force(
        self,
        separable: bool,
        up: int | tuple[int, int],
        down: int | tuple[int, int],
        padding: int | tuple[int, ...],
    ) -> None:
        x = torch.zeros(2, 3, 9, 7)
        f = torch.ones(4) if separable else torch.ones(4, 4)
        h, w = upfirdn2d(x, f, up=up, down=down, padding=padding).shape[2:]
        up_x, up_y = (up, up) if isinstance(up, int) else up
        down_x, down_y = (down, down) if isinstance(down, int) else down
        across, along = met(w, 4, up=up_x, down=down_x), met(h, 4, up=up_y, down=down_y)
        macs = 9 * across + w * along if separable else across * along
        counted = counting.upfirdn2d(x, f, up=up, down=down, padding=padding)
        assert counted.filter == 6 * macs
        assert counted.bytes == FLOAT * (x.numel() + f.numel() + 6 * h * w)

    def test_the_identity_multiplies_nothing(self) -> None:
        x = torch.zeros(1, 1, 4, 4)
        assert counting.upfirdn2d(x, None, up=2) == Work(bytes=FLOAT * (16 + 64))

    def test_factors_that_do_not_divide_the_taps_count_as_their_mean(self) -> None:
        x, f = torch.zeros(1, 1, 1, 300), torch.ones(1, 4)
        exact = met(300 * 3 - 3, 4, up=3)
        counted = counting.upfirdn2d(x, f, up=(3, 1)).filter
        assert counted == pytest.approx(exact, rel=2e-3)


def test_bias_act_moves_bytes_only() -> None:
    x = torch.zeros(2, 3, 4, 4, dtype=torch.float16)
    assert counting.bias_act(x, torch.zeros(3)) == Work(bytes=2 * 2 * x.numel() + 3 * FLOAT)


def test_modulated_conv() -> None:
    x, weight, styles = torch.zeros(2, 3, 5, 4), torch.zeros(6, 3, 3, 3), torch.zeros(2, 3)
    counted = counting.modulated_conv(x, weight, styles, torch.zeros(2, 6), padding=2)
    assert torch.nn.functional.conv2d(x, weight, padding=2).shape == (2, 6, 7, 6)
    assert counted.convolution == 2 * 6 * 7 * 6 * 3 * 9
    assert counted.bytes == FLOAT * (120 + 162 + 6 + 12 + 504)
    assert counted.flop == 2 * counted.convolution


def test_a_transposed_convolution_counts_every_input() -> None:
    x, weight = torch.zeros(2, 3, 5, 4), torch.zeros(3, 6, 3, 3)
    assert counting.transposed_convolution(x.shape, weight) == 2 * 5 * 4 * 3 * 6 * 9


def test_work_adds_up_and_doubles_backward() -> None:
    assert Work(1, 2, 3) + Work(10, 20, 30) == Work(11, 22, 33)
    assert with_backward(Work(10, 7)) == Work(30, 14)


@pytest.mark.parametrize(
    ("name", "convolutions", "filters"),
    [
        ("256-T", 105.0, 4.0),
        ("256-R", 44.5, 17.9),
        ("1024-T", 285.2, 22.3),
        ("1024-R", 123.8, 98.3),
    ],
)
def test_the_published_generators(name: str, convolutions: float, filters: float) -> None:
    """In 10⁹ multiply-accumulates, counted once by hand from the geometry."""
    total = Work()
    for g in layer_geometries(STYLEGAN3[name][1]):
        x = torch.empty(1, g.source.channels, g.source.size, g.source.size, device="meta")
        shape = g.result.channels, g.source.channels, g.kernel, g.kernel
        weight = torch.empty(shape, device="meta")
        styles = torch.empty(1, g.source.channels, device="meta")
        total += counting.modulated_conv(x, weight, styles, None, padding=g.kernel - 1)
        if not g.is_torgb:
            side = g.source.size + g.kernel - 1
            y = torch.empty(1, g.result.channels, side, side, device="meta")
            up, down = designed_filters(g)
            padding = g.padding(Extent(), Extent())
            total += counting.filtered_lrelu(
                y, fu=up, fd=down, up=g.up, down=g.down, padding=padding
            )
    assert total.convolution / 1e9 == pytest.approx(convolutions, abs=0.06)
    assert total.filter / 1e9 == pytest.approx(filters, abs=0.06)
