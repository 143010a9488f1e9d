"""StyleGANEX's tasks (Yang et al. 2023): what each is learned by, and presets of their training.

Small networks (`SMALL`) begin with nothing and go without what their task does not need.
"""

from dataclasses import dataclass, replace
from typing import Any

from vidhair.models.styleganex.network import ENCODER_SIZE, StyleGANEXConfig
from vidhair.training.pairs import WIDER

LABELS = 4  # channels of label maps, by `Label`
ATTENTION_DEPTH = 4


@dataclass(frozen=True, kw_only=True)
class Task:
    """How the authors train one. start: the task whose network it goes on from. skips: blocks that
    are fused with the encoder's features, at most. l2, perceptual, identity, parsed, codes,
    adversarial, flicker: weights of losses; parsed is that of how far the labels of what is drawn
    are from those it is drawn of (not the authors'), codes that of how far codes lie from the
    average. moved, cropped: whether pictures leave their alignment. residual, styled: of the
    network. window: side of what is seen at once, in place of whole pictures; 0: these. told:
    share of a batch whose style comes from the parameters of rendered people by the mapping,
    not from their faces. falls: whether the rate does, in the end. recolored: whether rendered
    people get each other's colors of hair. batch: pictures of a step; 0: those of the preset.
    whole: share of the steps behind which whole pictures are seen in place of windows. matrices:
    how far Muon turns a convolution's weights in a step, as a share of their size; 0: it does
    not, and all learns by the same rate."""

    start: str | None
    skips: int = 0
    labels: int = 0
    attention: int = 0
    l2: float = 1.0
    perceptual: float = 0.8
    identity: float = 0.0
    parsed: float = 0.0
    codes: float = 0.0
    adversarial: float = 0.0
    flicker: float = 0.0
    moved: bool = True
    cropped: bool = True
    residual: bool = False
    styled: bool = True
    window: int = 0
    told: float = 0.0
    falls: bool = False
    recolored: bool = False
    batch: int = 0
    whole: float = 1.0
    matrices: float = 0.0


TASKS = {
    "pretrain": Task(start=None, l2=10.0, perceptual=1.0, moved=False, cropped=False),
    "inversion": Task(start="pretrain", identity=0.1, codes=1e-3),
    "super_resolution": Task(start="inversion", skips=4, adversarial=0.1),
    "sketch": Task(start="pretrain", skips=1, labels=1, codes=5e-3),
    "mask": Task(start="pretrain", skips=2, labels=LABELS, codes=5e-3),
    "edit": Task(
        start="inversion", skips=7, attention=ATTENTION_DEPTH, adversarial=0.1, flicker=30.0,
        cropped=False,
    ),
    "toonify": Task(start="inversion", skips=7, adversarial=0.1, flicker=30.0, cropped=False),
}  # fmt: skip

_ADDED: dict[str, Any] = {
    "start": None, "skips": 7, "perceptual": 0.0, "moved": False, "cropped": False,
    "residual": True, "styled": False, "falls": True,
}  # fmt: skip
# Networks that ship: what is restored or dyed is added to the picture, by what lies around it.
SMALL = {
    "super_resolution": Task(**_ADDED, window=96),
    "mask": Task(
        start=None, skips=2, labels=LABELS, parsed=0.5, moved=False, cropped=False, told=0.5,
        falls=True,
    ),
    "edit": Task(**_ADDED, window=160, recolored=True),
    "toonify": Task(
        **_ADDED | {"perceptual": 0.8}, window=160, batch=2, whole=0.4, matrices=0.006
    ),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """network: its shape; skips, labels and attention are the task's. small: tasks are those of
    SMALL. side: S, a multiple of 40. steps, lr: of every task, and of pretraining. memory: of
    `Ranger`. lowered: by how much super-resolution reduces its pictures, one of these: a quarter of
    the recipe's `edit.factor`. blind: in so many steps they are soft, noisy and compressed, too;
    worn: how far. edit: the color of hair that `edit` goes to. look: of `synthetic.toon`. people:
    rendered. check_every: steps from one look at held-out pictures to the next."""

    network: StyleGANEXConfig
    side: int
    people: int
    batch: int = 8
    steps: int
    pretrain_steps: int
    lr: float = 1e-4
    pretrain_lr: float = 1e-4
    discriminator_lr: float = 1e-4
    memory: float = 0.999
    lowered: tuple[int, ...] = (4,)
    blind: float = 0.0
    worn: float = 1.0
    edit: str = "blonde"
    look: str = "cel"
    save_every_s: float = 300
    check_every: int = 200
    small: bool = False

    def __post_init__(self) -> None:
        assert self.side % 40 == 0, f"pictures of {self.side} pixels, a quarter more than faces"

    @property
    def tasks(self) -> dict[str, Task]:
        return SMALL if self.small else TASKS

    @property
    def aligned(self) -> int:
        """Side of the aligned face that a network sees."""
        return round(self.side / WIDER)

    @property
    def times(self) -> float:
        return self.network.resolution / ENCODER_SIZE

    @property
    def rendered_side(self) -> int:
        """M: enough for what is seen and for what is drawn."""
        return round(self.side * max(1.0, self.times))

    def of_task(self, name: str) -> StyleGANEXConfig:
        task, network = self.tasks[name], self.network
        most = len(network.generator.sizes) - 1
        return replace(
            network,
            task="inversion" if name == "pretrain" else name,
            skips=min(task.skips, most),
            fuse_rgb=bool(task.skips),
            attention_depth=task.attention,
            label_channels=task.labels,
            residual=task.residual,
            styled=task.styled,
        )


def _network(resolution: int, width: int, base: int, layers: int) -> StyleGANEXConfig:
    return StyleGANEXConfig(
        resolution=resolution, w_dim=width, channel_base=base, channel_max=width,
        mapping_layers=layers,
    )  # fmt: skip


CONFIGS = {
    # Minutes on two CPU cores: faces of 64 pixels.
    "cpu": TrainingConfig(
        network=_network(256, 64, 2048, 4),
        side=80,
        people=320,
        batch=4,
        steps=2000,
        pretrain_steps=2000,
        lr=4e-3,
        pretrain_lr=2e-3,
        discriminator_lr=1e-3,
        memory=0.99,
    ),
    # What the authors train, in their number of steps.
    "gpu": TrainingConfig(
        network=_network(1024, 512, 32768, 8),
        side=320,
        people=16384,
        steps=100_000,
        pretrain_steps=5000,
        lowered=(1, 2, 4, 8),
        check_every=2000,
    ),
    # What ships: faces of 256 pixels, in an hour or two of a CPU core for each task.
    "small": TrainingConfig(
        network=_network(256, 64, 4096, 2),
        side=320,
        people=96,
        batch=4,
        steps=4000,
        pretrain_steps=1000,
        lr=5e-4,
        lowered=(2, 4, 4, 4),
        blind=0.25,
        worn=0.25,
        small=True,
    ),
    # Seconds; shows that every part runs, not that it learns.
    "tiny": TrainingConfig(
        network=_network(256, 64, 512, 2),
        side=40,
        people=32,
        batch=2,
        steps=4,
        pretrain_steps=4,
        check_every=2,
    ),
}
