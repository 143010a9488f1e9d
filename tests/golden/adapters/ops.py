"""The ops of StyleGAN3: values and gradients."""

from tests.golden.runner import Case, adapter
from vidhair.ops import bias_act, filtered_lrelu, upfirdn2d
from vidhair.ops.upfirdn2d import downsample2d, filter2d, setup_filter, upsample2d


def _with_gradients(case: Case, key: str, compute, parameters: dict):
    for p in parameters.values():
        p.requires_grad_()
    y = compute()
    y.backward(case.tensor(f"{key}/dy"))
    yield f"{key}/y", y
    for name, p in parameters.items():
        yield f"{key}/d{name}", p.grad


def _inputs(case: Case, key: str) -> dict:
    names = ("x", "b") if f"{key}/b" in case.data else ("x",)
    return {name: case.tensor(f"{key}/{name}") for name in names}


@adapter("ops_bias_act")
def check_bias_act(case: Case):
    for options in case.options:
        key = options["set"]
        inputs = _inputs(case, key)
        settings = {k: options[k] for k in ("dim", "act", "alpha", "gain", "clamp") if k in options}
        yield from _with_gradients(
            case, key, lambda i=inputs, s=settings: bias_act(i["x"], i.get("b"), **s), inputs
        )


@adapter("ops_upfirdn2d")
def check_upfirdn2d(case: Case):
    for options in case.options:
        key = options["set"]
        if key == "w":
            yield from _wrappers(case, options)
            continue
        x, f = case.tensor(f"{key}/x"), case.optional(f"{key}/f")
        names = ("up", "down", "padding", "flip_filter", "gain")
        settings = {k: options[k] for k in names if k in options}
        yield from _with_gradients(
            case, key, lambda x=x, f=f, s=settings: upfirdn2d(x, f, **s), {"x": x}
        )


def _wrappers(case: Case, options: dict):
    filters = {}
    for name in "abcd":
        settings = dict(options[f"setup_filter_{name}"])
        filters[name] = setup_filter(settings.pop("f"), **settings)
        yield f"w/setup_filter_{name}", filters[name]
    x = case.tensor("w/x")
    a, c = filters["a"].to(x.device), filters["c"].to(x.device)
    yield "w/filter2d_a", filter2d(x, a, padding=[1, 0, 0, 2], gain=1.5)
    yield "w/upsample2d_a", upsample2d(x, a, up=2, padding=1)
    yield "w/upsample2d_c", upsample2d(x, c, up=2, flip_filter=True, gain=0.5)
    yield "w/downsample2d_a", downsample2d(x, a, down=2, padding=[0, 1, 1, 0])
    yield "w/downsample2d_c", downsample2d(x, c, down=2, flip_filter=True, gain=3)


@adapter("ops_filtered_lrelu")
def check_filtered_lrelu(case: Case):
    for options in case.options:
        key = options["set"]
        inputs = _inputs(case, key)
        names = ("up", "down", "padding", "gain", "slope", "clamp", "flip_filter")
        settings = {k: options[k] for k in names if k in options}
        settings |= {"fu": case.optional(f"{key}/fu"), "fd": case.optional(f"{key}/fd")}
        yield from _with_gradients(
            case,
            key,
            lambda i=inputs, s=settings: filtered_lrelu(i["x"], b=i.get("b"), **s),
            inputs,
        )
