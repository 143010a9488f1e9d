"""Muon for matrices, Adam for the rest, Ranger, and a moving average of the weights."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from vidhair.models.generators.mapping import MAPPING_LR_MULTIPLIER

MOMENTUM = 0.95
LEAST_UPDATE = 1e-12
LEAST_MATRIX = 16  # rows and columns from which on orthogonalising a matrix is worth it


def orthogonalise(g: Tensor, steps: int = 5) -> Tensor:
    """The nearest (semi-)orthogonal matrix to g [M, N], by a quintic Newton–Schulz iteration.

    Coefficients of Jordan et al. 2024 (Muon): singular values end between about 0.7 and 1.2.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    x = g / (g.norm() + 1e-7)
    flipped = x.shape[0] > x.shape[1]
    x = x.t() if flipped else x
    for _ in range(steps):
        s = x @ x.t()
        x = a * x + (b * s + c * s @ s) @ x
    result: Tensor = x.t() if flipped else x
    return result


def is_matrix(p: Tensor, least: int = LEAST_MATRIX) -> bool:
    """Whether a weight has so many rows and columns that orthogonalising it is worth it."""
    return p.ndim >= 2 and min(p.shape[0], p[0].numel()) >= least


def muon_step(p: Tensor, moving: Tensor, lr: float, momentum: float = MOMENTUM) -> None:
    """One step of `Muon` for a matrix whose gradient is there. moving: its average, which goes
    on."""
    assert p.grad is not None
    moving.lerp_(p.grad, 1 - momentum)
    update = orthogonalise(p.grad.lerp(moving, momentum).flatten(1))  # Nesterov
    # Behind layers that begin with zeros there is no gradient, and no step.
    update = update / update.square().mean().sqrt().clamp_min(LEAST_UPDATE)
    p.add_(update.view_as(p), alpha=-lr)


class Muon(torch.optim.Optimizer):
    """Momentum whose update of every matrix is made orthogonal, then scaled to an RMS of one.

    Convolution weights [O, I, h, w] count as matrices [O, I·h·w]. lr is therefore the root mean
    square of the change per step, as it nearly is for Adam.
    """

    def __init__(self, params: Iterable[Tensor], lr: float, momentum: float = MOMENTUM):
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["momentum"] = torch.zeros_like(p)
                muon_step(p, state["momentum"], group["lr"], group["momentum"])


class MuonAdam(torch.optim.Adam):
    """Muon for the groups that say `matrices`, Adam for the others."""

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"] if group.get("matrices") else []:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    # With the entry that Adam looks for where a state is loaded.
                    state.update(step=torch.zeros(()), momentum=torch.zeros_like(p))
                muon_step(p, state["momentum"], group["lr"])
                p.grad = None  # of which Adam makes nothing
        super().step()


class Optimisers:
    """Muon and Adam behind one face; learning rates follow one factor."""

    def __init__(self, named: Iterable[tuple[str, nn.Parameter]], *, lr: float, adam_lr: float):
        matrices, rest, small = [], [], []
        for name, p in named:
            if not p.requires_grad:
                continue
            if "mapping" in name:
                small.append(p)
            elif is_matrix(p):
                matrices.append(p)
            else:
                rest.append(p)
        self.muon = Muon(matrices, lr)
        groups = [
            {"params": rest, "lr": adam_lr},
            {"params": small, "lr": adam_lr / MAPPING_LR_MULTIPLIER},
        ]
        self.adam = torch.optim.Adam([g for g in groups if g["params"]], betas=(0.9, 0.99))
        self.rates = [g["lr"] for g in self._groups()]

    def _groups(self) -> list[dict[str, Any]]:
        # Asked for anew each time: loading a state replaces the groups.
        return [*self.muon.param_groups, *self.adam.param_groups]

    def set_factor(self, factor: float) -> None:
        for group, lr in zip(self._groups(), self.rates, strict=True):
            group["lr"] = lr * factor

    def zero_grad(self) -> None:
        self.muon.zero_grad()
        self.adam.zero_grad()

    def step(self) -> None:
        self.muon.step()
        self.adam.step()

    def tensors(self) -> dict[str, Tensor]:
        """The state as flat tensors, for a checkpoint without pickles."""
        return {
            f"{name}.{key}": value
            for name, optimiser in (("muon", self.muon), ("adam", self.adam))
            for key, value in state_tensors(optimiser).items()
        }

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        for name, optimiser in (("muon", self.muon), ("adam", self.adam)):
            own = {k.partition(".")[2]: v for k, v in tensors.items() if k.startswith(f"{name}.")}
            load_state_tensors(optimiser, own)


def state_tensors(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """An optimiser's state by "parameter.entry"."""
    return {
        f"{index}.{key}": torch.as_tensor(value)
        for index, state in optimiser.state_dict()["state"].items()
        for key, value in state.items()
    }


def load_state_tensors(optimiser: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """What `state_tensors` gave, into an optimiser of the same parameters."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        index, key = name.split(".")
        state.setdefault(int(index), {})[key] = value
    optimiser.load_state_dict({**optimiser.state_dict(), "state": state})


class Ranger(torch.optim.RAdam):
    """RAdam (Liu et al. 2020) that looks ahead (Zhang et al. 2019): every LOOK_EVERY steps the
    weights go back half of the way that they have come since."""

    LOOK_EVERY, LOOK_BACK = 6, 0.5

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float,
        memory: float = 0.999,
    ):
        """memory: share of the mean square that a step keeps; short trainings need less."""
        super().__init__(params, lr=lr, betas=(0.95, memory), eps=1e-5)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None and "slow" not in self.state[p]:
                    # Beside the entries of RAdam, which it makes where there are none.
                    self.state[p] = {
                        "step": torch.zeros(()),
                        "exp_avg": torch.zeros_like(p),
                        "exp_avg_sq": torch.zeros_like(p),
                        "slow": p.clone(),
                    }
        super().step()
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state.get(p)
                if state and int(state["step"]) % self.LOOK_EVERY == 0:
                    state["slow"].lerp_(p, self.LOOK_BACK)
                    p.copy_(state["slow"])


# In steps: what every training here reports, and by when its rate is reached; a tenth of the steps
# so far bounds the memory of an average, so that its beginning is soon forgotten.
REPORT_EVERY = 20
WARM_UP = 100
SHARE_REMEMBERED = 0.1
WEIGHT_DECAY = 1e-3  # of AdamW


class Average:
    """Exponential moving average of a module's parameters and buffers, warmed up from the start."""

    def __init__(self, module: nn.Module, half_life: float):
        """half_life: in steps."""
        self.half_life = half_life
        self.steps = 0
        self.values = {n: v.detach().clone() for n, v in module.state_dict().items()}

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        self.steps += 1
        beta = 0.5 ** (1 / min(self.half_life, self.steps * SHARE_REMEMBERED + 1e-3))
        for name, value in module.state_dict().items():
            if value.is_floating_point():
                self.values[name].lerp_(value, 1 - beta)
            else:
                self.values[name].copy_(value)


def constant_then_linear(
    step: int, total: int, *, constant: float = 0.6, end: float = 0.03
) -> float:
    """Factor of the learning rate: one, then falling linearly to `end`; a short warm-up."""
    warm = min(1.0, (step + 1) / WARM_UP)
    fall = max(0.0, (step / total - constant) / (1 - constant))
    return warm * (1 - (1 - end) * fall)
