"""StyleGAN3, configurations T and R, and the expanded field of view."""

import torch

from tests.golden.runner import Case, Check, adapter, relative_error
from vidhair.checkpoints.generator_names import STYLEGAN3
from vidhair.checkpoints.official import load_official
from vidhair.models.stylegan3 import Extent, Generator, StyleGAN3Config, make_transform

SEAM = 6  # pixels beside a tile's edge where the zero padding of its layers still shows


def build(case: Case) -> tuple[Generator, list[str]]:
    """Our generator with the case's weights, and the official layer names in order."""
    official = case.options["constructor"]
    config = StyleGAN3Config(
        resolution=official["img_resolution"],
        z_dim=official["z_dim"],
        c_dim=official["c_dim"],
        w_dim=official["w_dim"],
        channel_base=official["channel_base"],
        channel_max=official["channel_max"],
        mapping_layers=official["mapping_kwargs"]["num_layers"],
        conv_kernel=official.get("conv_kernel", 3),
        radial_filters=official.get("use_radial_filters", False),
        img_channels=official["img_channels"],
    )
    return load_generator(config, case.weights("G"))


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


def _stats(outputs: list[torch.Tensor]) -> torch.Tensor:
    rows = [
        torch.stack([x.mean([1, 2, 3]), x.std([1, 2, 3], correction=0)], dim=1) for x in outputs
    ]
    return torch.stack(rows)


@adapter("sg3_t", "sg3_r")
def check_generator(case: Case):
    generator, layers = build(case)
    synthesis = generator.synthesis
    names = ["input", *layers]
    with torch.no_grad():
        z = case.tensor("z")
        ws = generator.mapping(z, truncation_psi=0.7)
        yield "ws_psi1", generator.mapping(z)
        yield "ws_psi07", ws
        yield (
            "ws_psi04_cutoff6",
            generator.mapping(z, truncation_psi=0.4, truncation_cutoff=6),
        )
        codes = {"ws_psi07": ws, "wplus": case.tensor("wplus")}
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
                    if k == 0:
                        yield "t0/x_input", outputs[0][:1]
                        yield "t0/x_L2", outputs[3][:1]

        styles = synthesis.styles(ws)
        for name, style in zip(names, styles, strict=True):
            yield f"s_space/{name}", style
        for name, layer, w in zip(
            names, [synthesis.input, *synthesis.layers], ws.unbind(1), strict=True
        ):
            yield f"s_affine/{name}", layer.affine(w)
        edited = [case.tensor(f"all_s/{name}") for name in names]
        yield "all_s_img", synthesis.render_styles(edited)
        yield (
            "img_batched_transform_wplus",
            synthesis(codes["wplus"], transform=case.tensor("batched_transform")),
        )

    wplus = case.tensor("wplus")[:1].requires_grad_()
    image = synthesis(wplus, transform=case.tensor("t1/transform"))
    image.backward(case.tensor("grad/dimg"))
    yield "grad/dwplus", wplus.grad


def shifted_renders(synthesis, ws, transform, canvas: Extent) -> torch.Tensor:
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
def check_field_of_view(case: Case):
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
        yield from _one_pass_checks(key, one_pass, case.tensor(f"{key}/image"), canvas)


def _one_pass_checks(key: str, image: torch.Tensor, reference: torch.Tensor, canvas: Extent):
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
