"""StyleGAN3, configurations T and R, and the expanded field of view."""

import re

import torch

from tests.golden.runner import CannotServe, Case, Check, Results, adapter, relative_error
from vidhair.checkpoints.generator_names import STYLEGAN3
from vidhair.checkpoints.official import load_official
from vidhair.models.generators.stylegan3 import (
    NUM_CRITICAL,
    Extent,
    Generator,
    StyleGAN3Config,
    Synthesis,
    layer_geometries,
    make_transform,
)

# kernel, and whether filters are radial, unless the constructor is told
CONFIGURATIONS = {"T": (3, False), "R": (1, True)}
SEAM = 6  # pixels beside a tile's edge where the zero padding of its layers still shows


def config_of(case: Case) -> StyleGAN3Config:
    official, letter = case.options["constructor"], case.options["config"]
    if letter not in CONFIGURATIONS:
        raise CannotServe("config", letter, f"known are {', '.join(CONFIGURATIONS)}")
    kernel, radial = CONFIGURATIONS[letter]
    # Of moving averages in training, which what is compared here only reads.
    official.get("magnitude_ema_beta")
    return StyleGAN3Config(
        resolution=official["img_resolution"],
        z_dim=official["z_dim"],
        c_dim=official["c_dim"],
        w_dim=official["w_dim"],
        channel_base=official["channel_base"],
        channel_max=official["channel_max"],
        mapping_layers=official["mapping_kwargs"]["num_layers"],
        num_layers=official.get("num_layers", 14),
        conv_kernel=official.get("conv_kernel", kernel),
        radial_filters=official.get("use_radial_filters", radial),
        img_channels=official["img_channels"],
    )


def build(case: Case) -> tuple[Generator, list[str]]:
    """Our generator with the case's weights, and the official layer names in order."""
    return load_generator(config_of(case), case.weights("G"))


def load_generator(
    config: StyleGAN3Config, weights: dict[str, torch.Tensor]
) -> tuple[Generator, list[str]]:
    """A generator with these weights, and the official layer names in order."""
    generator = Generator(config).eval()
    load_official(generator, weights, STYLEGAN3)
    # Its filters we design ourselves.
    for theirs in (name for name in weights if name.endswith("_filter")):
        layer, kind = theirs.split(".")[1:]
        designed = getattr(generator.synthesis.layers[int(layer[1:].split("_")[0])], kind)
        assert torch.allclose(designed, weights[theirs], rtol=1e-5, atol=1e-7), theirs
    layers = sorted(
        {n.split(".")[1] for n in weights if ".L" in n}, key=lambda n: int(n[1:].split("_")[0])
    )
    return generator, layers


def _geometry(case: Case, config: StyleGAN3Config) -> Results:
    """The layers are those that the case lists, in numbers of six digits."""
    same = Extent()
    for index, (options, layer) in enumerate(
        zip(case.options["layers"], layer_geometries(config), strict=True)
    ):
        source, result = layer.source, layer.result
        last = config.num_layers - NUM_CRITICAL
        ours = {
            "name": f"L{index}_{result.size}_{result.channels}",
            "in_size": source.size,
            "out_size": result.size,
            "up": layer.up,
            "down": layer.down,
            "up_taps": layer.up_taps,
            "down_taps": layer.down_taps,
            "padding": list(layer.padding(same, same)),
            "critical": index >= last,
            "radial": layer.radial,
            "in_rate": source.rate,
            "out_rate": result.rate,
        }
        for option, value in ours.items():
            options.expect(option, value, f"the layer has {value!r}")
        for side, signal in (("in", source), ("out", result)):
            for option, value in (("cutoff", signal.cutoff), ("half_width", signal.half_width)):
                theirs = options[f"{side}_{option}"]
                yield Check(f"{options['name']}/{side}_{option}", abs(value / theirs - 1), 1e-5)


def _truncations(case: Case) -> dict[str, tuple[float, int | None]]:
    """Outputs such as "ws_psi04_cutoff6" → psi and cutoff; a leading zero has a point behind it."""
    found: dict[str, tuple[float, int | None]] = {}
    for name in case.outputs:
        if match := re.fullmatch(r"ws_psi(\d)(\d*)(?:_cutoff(\d+))?", name):
            cutoff = None if match[3] is None else int(match[3])
            found[name] = float(f"{match[1]}.{match[2] or 0}"), cutoff
    return found


def _stats(outputs: list[torch.Tensor]) -> torch.Tensor:
    rows = [
        torch.stack([x.mean([1, 2, 3]), x.std([1, 2, 3], correction=0)], dim=1) for x in outputs
    ]
    return torch.stack(rows)


@adapter("sg3_t", "sg3_r")
def check_generator(case: Case) -> Results:
    generator, layers = build(case)
    synthesis = generator.synthesis
    case.options.expect("force_fp32", True)
    case.options.get("noise_mode")  # any will do: StyleGAN3 has no noise
    names = ["input", *layers]
    yield from _geometry(case, synthesis.config)
    with torch.no_grad():
        z, codes = case.tensor("z"), {"wplus": case.tensor("wplus")}
        for name, (psi, cutoff) in _truncations(case).items():
            codes[name] = generator.mapping(z, truncation_psi=psi, truncation_cutoff=cutoff)
            yield name, codes[name]
        for k, options in enumerate(case.options["transforms"]):
            transform = make_transform(options["translate"], options["angle_deg"]).inverse()
            yield (
                Check(
                    f"t{k}/transform",
                    relative_error(transform, case.data[f"t{k}/transform"]),
                    case.bound("transform"),
                )
            )
            for name, value in codes.items():
                if f"t{k}/img_{name}" in case.data:
                    n = len(case.data[f"t{k}/img_{name}"])
                    yield f"t{k}/img_{name}", synthesis(value[:n], transform=transform)
                if f"t{k}/layer_stats_{name}" in case.data:
                    outputs = synthesis.layer_outputs(value, transform=transform)
                    yield f"t{k}/layer_stats_{name}", _stats(outputs)
                    for official, output in zip(names, outputs, strict=True):
                        feature = f"t{k}/x_{official.split('_')[0]}"
                        if feature in case.data:
                            yield feature, output[:1]

        ws = codes[case.said("s_affine/<layer>", r"(ws_psi\w+)", "ws_psi07")]
        styles = synthesis.styles(ws)
        for name, style in zip(names, styles, strict=True):
            yield f"s_space/{name}", style
        affines = [synthesis.input.affine, *(layer.affine for layer in synthesis.layers)]
        for name, affine, w in zip(names, affines, ws.unbind(1), strict=True):
            yield f"s_affine/{name}", affine(w)
        edited = [case.tensor(f"all_s/{name}") for name in names]
        yield "all_s_img", synthesis.render_styles(edited)
        yield (
            "img_batched_transform_wplus",
            synthesis(codes["wplus"], transform=case.tensor("batched_transform")),
        )

    wplus = case.tensor("wplus")[:1].requires_grad_()
    told = case.said("grad/dwplus", r"at transform (\d+)", "1")
    image = synthesis(wplus, transform=case.tensor(f"t{told}/transform"))
    image.backward(case.tensor("grad/dimg"))
    yield "grad/dwplus", wplus.grad


def shifted_renders(
    synthesis: Synthesis, ws: torch.Tensor, transform: torch.Tensor, canvas: Extent
) -> torch.Tensor:
    """The published way to expand the field of view: up to nine shifted renders, cut together."""
    r = synthesis.config.resolution
    image = torch.zeros(len(ws), 3, canvas.top + r + canvas.bottom, canvas.left + r + canvas.right)
    columns = [
        (canvas.left, 0, canvas.left),
        (0, canvas.left, r),
        (-canvas.right, canvas.left + r, canvas.right),
    ]
    rows = [
        (canvas.top, 0, canvas.top),
        (0, canvas.top, r),
        (-canvas.bottom, canvas.top + r, canvas.bottom),
    ]
    for dx, x, width in columns:
        for dy, y, height in rows:
            if not width or not height:
                continue
            edge = make_transform((dx / r, dy / r), 0).inverse()
            tile = synthesis(ws, transform=transform @ edge)
            tx, ty = (r - width if dx < 0 else 0), (r - height if dy < 0 else 0)
            image[:, :, y : y + height, x : x + width] = tile[
                :, :, ty : ty + height, tx : tx + width
            ]
    return image


def _edge_transforms(canvas: Extent, r: int) -> torch.Tensor:
    """[9, 3, 3]: inverted shifts, centre, left, top, right, bottom, then the four corners."""
    left, right, top, bottom = canvas.left, -canvas.right, canvas.top, -canvas.bottom
    shifts = [(left, 0), (0, top), (right, 0), (0, bottom)]
    shifts += [(left, top), (right, top), (right, bottom), (left, bottom)]
    rows = [torch.eye(3, dtype=torch.float64)]
    for index, (x, y) in enumerate(shifts):
        used = (x and y) if index >= 4 else (x or y)
        inverse = make_transform((x / r, y / r), 0).inverse()
        rows.append(inverse if used else torch.zeros_like(inverse))
    return torch.stack(rows)


@adapter("sg3_fov")
def check_field_of_view(case: Case) -> Results:
    generator, _ = build(case)
    synthesis, ws = generator.synthesis, case.tensor("wplus")
    r = synthesis.config.resolution
    for options in case.options["combinations"]:
        key = options["set"]
        canvas = Extent(*(options[f"pixels_{side}"] for side in ("left", "top", "right", "bottom")))
        transform = make_transform(options["translate"], options["angle_deg"]).inverse()
        yield f"{key}/edge_transforms", _edge_transforms(canvas, r)
        with torch.no_grad():
            yield f"{key}/image", shifted_renders(synthesis, ws, transform, canvas)
            one_pass = synthesis(ws, transform=transform, canvas=canvas)
        options.expect("image_shape", list(one_pass.shape), f"the image is {list(one_pass.shape)}")
        yield from _one_pass_checks(key, one_pass, case.tensor(f"{key}/image"), canvas)


def _one_pass_checks(
    key: str, image: torch.Tensor, reference: torch.Tensor, canvas: Extent
) -> Results:
    """The seams of the published way are its own: inside a tile the two must agree closely."""
    peak = reference.abs().max()
    difference = (image - reference).abs()
    yield Check(f"{key}/one_pass_rms", float(difference.square().mean().sqrt() / peak), 3e-3)
    inside = torch.ones(image.shape[2:], dtype=torch.bool)
    height, width = inside.shape
    for x in (0, canvas.left, width - canvas.right, width):
        inside[:, max(x - SEAM, 0) : x + SEAM] = False
    for y in (0, canvas.top, height - canvas.bottom, height):
        inside[max(y - SEAM, 0) : y + SEAM] = False
    yield Check(f"{key}/one_pass_interior", float(difference[..., inside].max() / peak), 1e-3)
