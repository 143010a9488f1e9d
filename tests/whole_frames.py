"""`python -m tests.whole_frames PACK OUT`: a network for whole frames, on rendered people whom no
training has seen, as its recipe uses it. By its task:

    super_resolution  decibels (PSNR) over cubic enlargement, by four: face, hair, all
    mask              IoU of what the pack's parser finds in the drawing with the labels it was
                      drawn of, by label, over all people
    edit              ΔE2000 to the twin inside the hair, and PSNR to the source outside of it
    toonify           distance to the cartoon, as a share of the picture's own (LPIPS if its weights
                      are here, else its form on the parser's features); of the first look, or LOOK

with `!` behind what is out of bounds. OUT/numbers.json; OUT/TASK.png: seen, drawn, wanted.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from vidhair.edits.labels_to_face import sample
from vidhair.edits.wide import drawing, lowered
from vidhair.imaging.color import delta_e_2000, levels_to_lab
from vidhair.media import write_png
from vidhair.models.generators.stylegan2 import mix_codes
from vidhair.models.pack import Pack, load_pack
from vidhair.models.parsers.face_parser import Label
from vidhair.models.perceptual import PerceptualDistance, find_perceptual
from vidhair.models.styleganex.network import ENCODER_SIZE, LAYOUT_CODES
from vidhair.stages.render import RenderConfig
from vidhair.synthetic.toon import LOOKS
from vidhair.training.pairs import SHARD, WIDER, World, render_shard
from vidhair.training.styleganex_pack import labels_of
from vidhair.training.views import as_picture, middle, one_hot

SIDE = round(WIDER * ENCODER_SIZE)
UNSEEN = 77_000_001  # seed; trainings draw theirs from seed sequences
FACTOR = 4
SHOWN = 6
BOUNDS = {
    "face_db": (2.0, 99.0), "iou": (0.7, 1.0), "delta_e": (0.0, 10.0), "outside_db": (30.0, 99.0),
    "distance": (0.0, 0.5),
}  # fmt: skip
CONFIG = RenderConfig()


class Person(NamedTuple):
    """image, target: [1, 3, S, S] in −1 … 1; shares [1, 4, S, S] by `Label` in 0 … 1; amount of the
    edit."""

    image: Tensor
    target: Tensor
    shares: Tensor
    amount: float

    def of(self, label: Label, least: float = 0.9) -> Tensor:
        """Where a label is alone, [S, S]."""
        return self.shares[0, label] > least


class Drawn(NamedTuple):
    """What a network sees, draws and should draw, [1, 3, S, S] each, and numbers of it."""

    seen: Tensor
    drawn: Tensor
    wanted: Tensor
    numbers: dict[str, float]


def people(folder: Path, target: str) -> list[Person]:
    """As many as a shard holds, and as blondes or cartoons, rendered once. target: of `World`."""
    world = World(side=SIDE, people=SHARD, target=target)
    path = folder / f"unseen_{world.name}.safetensors"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        render_shard(path, world, UNSEEN)
    made = load_file(path)
    picture, twin = (made[name].float() / 127.5 - 1 for name in ("image", "target"))
    shares = made["labels"].float() / 255
    return [
        Person(picture[k : k + 1], twin[k : k + 1], shares[k : k + 1], float(made["amount"][k]))
        for k in range(len(picture))
    ]


def decibels(got: Tensor, want: Tensor, where: Tensor) -> float:
    """PSNR of pictures [1, 3, S, S] in −1 … 1 at some places [S, S]."""
    error = float((got - want)[0, :, where].square().mean()) / 4
    return -10 * np.log10(max(error, 1e-10))


def lab(picture: Tensor) -> Tensor:
    """[1, 3, S, S] in −1 … 1 → [3, S, S]."""
    levels = (picture.clamp(-1, 1) * 127.5 + 127.5).round().byte()
    return levels_to_lab(levels.movedim(1, -1))[0]


def codes_of(pack: Pack, picture: Tensor) -> Tensor:
    with torch.no_grad():
        return pack.styleganex.encode_style(middle(picture))


def restored(pack: Pack, person: Person) -> Drawn:
    seen = lowered(person.image, FACTOR)
    got = drawing(pack.styleganex, seen, codes_of(pack, seen), CONFIG)
    face = torch.zeros_like(person.of(Label.SKIN))
    middle(face)[:] = middle(person.of(Label.SKIN))
    places = {"face": face, "hair": person.of(Label.HAIR), "all": torch.ones_like(face)}
    numbers = {
        f"{name}_db": decibels(got, person.image, where) - decibels(seen, person.image, where)
        for name, where in places.items() if where.any()
    }  # fmt: skip
    return Drawn(seen, got, person.image, numbers)


def filled(pack: Pack, person: Person, number: int) -> Drawn:
    """By the codes of a random person, another one for each."""
    network, labels = pack.styleganex, one_hot(person.shares)
    with torch.no_grad():
        codes = mix_codes(network.encode_style(labels), sample(network, number), LAYOUT_CODES)
    got = drawing(network, labels, codes, CONFIG)
    levels = (got * 127.5 + 127.5).round().byte()
    found = labels_of(load_pack(), levels) > 0
    both, either = (
        join(found, labels > 0).sum((0, 2, 3)) for join in (torch.logical_and, torch.logical_or)
    )
    numbers = {f"both_{n.name}": float(both[n]) for n in Label}
    numbers |= {f"either_{n.name}": float(either[n]) for n in Label}
    return Drawn(as_picture(labels, SIDE)[None], got, person.image, numbers)


def dyed(pack: Pack, person: Person) -> Drawn:
    """As `face_attribute` puts it: the frame gets what drawing with and without the edit differ
    by."""
    network, vector = pack.styleganex, pack.editing_vector.signed
    codes = codes_of(pack, person.image)
    edited, plain = (
        drawing(network, person.image, codes, CONFIG, amount * vector)
        for amount in (person.amount, 0.0)
    )
    got = (person.image + edited - plain).clamp(-1, 1)
    hair, outside = person.of(Label.HAIR), person.shares[0, Label.HAIR] < 0.02
    numbers = {"outside_db": decibels(got, person.image, outside)}
    if hair.any() and person.amount > 0:
        numbers["delta_e"] = float(delta_e_2000(lab(got), lab(person.target), dim=0)[hair].mean())
        numbers["untouched"] = float(
            delta_e_2000(lab(person.image), lab(person.target), dim=0)[hair].mean()
        )
    return Drawn(person.image, got, person.target, numbers)


def tooned(pack: Pack, person: Person, distance: PerceptualDistance) -> Drawn:
    got = drawing(pack.styleganex, person.image, codes_of(pack, person.image), CONFIG)
    with torch.no_grad():
        far, own = (float(distance(x, person.target)) for x in (got, person.image))
    return Drawn(person.image, got, person.target, {"distance": far / own})


def measured(pack: Pack, out: Path, look: str = "cel") -> dict[str, float]:
    """Means over people, and a sheet of the first ones. Labels: over the pixels of all."""
    task = pack.styleganex.config.task
    perceptual = find_perceptual("auto", "", lambda: load_pack().parser.features, {}).build()
    ways: dict[str, Callable[[int, Person], Drawn]] = {
        "super_resolution": lambda number, person: restored(pack, person),
        "mask": lambda number, person: filled(pack, person, number),
        "edit": lambda number, person: dyed(pack, person),
        "toonify": lambda number, person: tooned(pack, person, perceptual),
    }
    assert task in ways, f"a network for {task}, where one for {', '.join(ways)} is measured"
    target = look if task == "toonify" else "blonde"
    found = [ways[task](number, person) for number, person in enumerate(people(out, target))]
    columns = [torch.cat([d.seen, d.drawn, d.wanted], 2)[0] for d in found[:SHOWN]]
    levels = (torch.cat(columns, 2).clamp(-1, 1) * 127.5 + 127.5).round().byte()
    write_png(out / f"{task}.png", levels.movedim(0, -1).numpy())
    names = sorted({name for one in found for name in one.numbers})
    total = {n: [one.numbers[n] for one in found if n in one.numbers] for n in names}
    if task != "mask":
        return {name: float(np.mean(values)) for name, values in total.items()}
    shares = {
        n.name.lower(): sum(total[f"both_{n.name}"]) / max(1.0, sum(total[f"either_{n.name}"]))
        for n in Label
    }
    return {**shares, "iou": float(np.mean(list(shares.values())))}


def line(name: str, value: float) -> str:
    low, high = BOUNDS.get(name, (-np.inf, np.inf))
    return f"{name:12} {value:8.3f}{'' if low <= value <= high else ' !'}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pack")
    parser.add_argument("out", type=Path)
    parser.add_argument("--look", default=next(iter(LOOKS)), choices=list(LOOKS))
    options = parser.parse_args()
    numbers = measured(load_pack(options.pack), options.out, options.look)
    (options.out / "numbers.json").write_text(json.dumps(numbers, indent=1) + "\n")
    for name, value in numbers.items():
        print(line(name, value))


if __name__ == "__main__":
    main()
