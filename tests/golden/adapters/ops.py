"""The ops of StyleGAN3: values and gradients."""

import ast
from collections.abc import Callable
from functools import partial

import torch

from tests.golden.runner import CannotServe, Case, Options, Results, adapter
from vidhair.ops import bias_act, filtered_lrelu, upfirdn2d
from vidhair.ops.upfirdn2d import downsample2d, filter2d, setup_filter, upsample2d


def _with_gradients(
    case: Case, key: str, compute: Callable[[], torch.Tensor], parameters: dict[str, torch.Tensor]
) -> Results:
    for p in parameters.values():
        p.requires_grad_()
    y = compute()
    y.backward(case.tensor(f"{key}/dy"))
    yield f"{key}/y", y
    for name, p in parameters.items():
        yield f"{key}/d{name}", p.grad


def _inputs(case: Case, options: Options) -> dict[str, torch.Tensor]:
    key, biased = options["set"], f"{options['set']}/b" in case.data
    options.expect("bias", biased, "the arrays say otherwise")
    names = ("x", "b") if biased else ("x",)
    return {name: case.tensor(f"{key}/{name}") for name in names}


def _filter(case: Case, options: Options, array: str, option: str = "") -> torch.Tensor | None:
    """A filter's taps, which must be of the form that the options tell."""
    taps = case.optional(f"{options['set']}/{array}")
    kinds = {None: ("none",), 1: ("sep",), 2: ("2d", "rad")}[None if taps is None else taps.ndim]
    kind = options.get(option or array, kinds[0])
    if kind not in kinds:
        raise CannotServe(option or array, kind, f"the taps are {' or '.join(kinds)}")
    return taps


@adapter("ops_bias_act")
def check_bias_act(case: Case) -> Results:
    for options in case.options:
        key = options["set"]
        inputs = _inputs(case, options)
        settings = {k: options[k] for k in ("dim", "act", "alpha", "gain", "clamp") if k in options}
        yield from _with_gradients(
            case, key, partial(bias_act, inputs["x"], inputs.get("b"), **settings), inputs
        )


@adapter("ops_upfirdn2d")
def check_upfirdn2d(case: Case) -> Results:
    for options in case.options:
        key = options["set"]
        if key == "w":
            yield from _wrappers(case, options)
            continue
        x, f = case.tensor(f"{key}/x"), _filter(case, options, "f", option="filter")
        names = ("up", "down", "padding", "flip_filter", "gain")
        settings = {k: options[k] for k in names if k in options}
        yield from _with_gradients(case, key, partial(upfirdn2d, x, f, **settings), {"x": x})


def _wrappers(case: Case, options: Options) -> Results:
    filters = {}
    for name in (n for n in options if n.startswith("setup_filter_")):
        settings = dict(options[name])
        filters[name.removeprefix("setup_filter_")] = setup_filter(settings.pop("f"), **settings)
        yield f"w/{name}", filters[name.removeprefix("setup_filter_")]
    x = case.tensor("w/x")
    for name in (n for n in options if n.split("2d")[0] in ("filter", "upsample", "downsample")):
        yield f"w/{name}", _called(options[name], x, filters)


def _called(text: str, x: torch.Tensor, filters: dict[str, torch.Tensor]) -> torch.Tensor:
    """What a call such as "upsample2d(x, a, up=2, padding=1)" gives."""
    wrappers = {f.__name__: f for f in (filter2d, upsample2d, downsample2d)}
    match ast.parse(text, mode="eval").body:
        case ast.Call(ast.Name(wrapper), [ast.Name("x"), ast.Name(taps)], keywords):
            settings = {str(k.arg): ast.literal_eval(k.value) for k in keywords}
            return wrappers[wrapper](x, filters[taps], **settings)
    raise CannotServe("w", text, "it is no call of a wrapper on x and one filter")


@adapter("ops_filtered_lrelu")
def check_filtered_lrelu(case: Case) -> Results:
    for options in case.options:
        key = options["set"]
        inputs = _inputs(case, options)
        names = ("up", "down", "padding", "gain", "slope", "clamp", "flip_filter")
        settings = {k: options[k] for k in names if k in options}
        settings |= {name: _filter(case, options, name) for name in ("fu", "fd")}
        yield from _with_gradients(
            case,
            key,
            partial(filtered_lrelu, inputs["x"], b=inputs.get("b"), **settings),
            inputs,
        )
