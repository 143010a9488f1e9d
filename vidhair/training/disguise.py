"""Random scenery, light and photography over rendered people, so that only what is common to all
pictures of people remains to be learned.

Shapes: B pictures of S × S pixels; everything in 0 … 1.
"""

import io
import math

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from vidhair.models.parsers.face_parser import UNKNOWN, Label
from vidhair.synthetic.people import PLANES

SKIN, HAIR, CLOTHES, BEARD, ACCESSORY = range(len(PLANES))


class Chance:
    """Random tensors from one generator."""

    def __init__(self, generator: torch.Generator):
        self.generator = generator

    def uniform(self, *size: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        result: Tensor = torch.rand(size, generator=self.generator) * (high - low) + low
        return result

    def chance(self, batch: int, probability: float) -> Tensor:
        return (self.uniform(batch, 1, 1, 1) < probability).float()

    def texture(self, batch: int, size: int, channels: int = 3) -> Tensor:
        """Noise of several scales and hard-edged blobs, 0 … 1, smooth or busy."""
        total = torch.zeros(batch, channels, 2, 2)
        for cells in (2, 4, 8, 16, 32, 64):
            noise = torch.rand(batch, channels, cells, cells, generator=self.generator) - 0.5
            weight = self.uniform(batch, 1, 1, 1) ** 2 * (4 / cells) ** 0.3
            total = F.interpolate(total, size=(cells, cells), mode="bilinear") + noise * weight
        total = F.interpolate(total, size=(size, size), mode="bilinear")
        edges = (total > self.uniform(batch, channels, 1, 1, low=-0.2, high=0.2)).float() - 0.5
        busy = self.chance(batch, 0.35) * self.uniform(batch, 1, 1, 1)
        color = self.uniform(batch, channels, 1, 1, low=0.05, high=0.95)
        contrast = self.uniform(batch, 1, 1, 1, low=0.1, high=1.0)
        return (color + contrast * (total + 0.6 * busy * edges)).clamp(0, 1)

    def field(self, batch: int, size: int, cells: int, channels: int = 1) -> Tensor:
        """Smooth noise, mean 0, −1 … 1."""
        noise = self.uniform(batch, channels, cells, cells, low=-1)
        return F.interpolate(noise, size=(size, size), mode="bicubic", align_corners=False)


class Disguise(Chance):
    """Portraits of the second world → pictures as a camera might have taken them."""

    def __call__(
        self, image: Tensor, planes: Tensor, oval: Tensor, size: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """image [B, 3, S, S] on black, planes [B, 5, S, S] by PLANES, oval [B, 1, S, S].

        Returns, `size` pixels wide: image [B, 3, …], masks [B, 4, …] by Label, guides [B, 2, …]
        (silhouette and oval as MediaPipe would see them).
        """
        image, planes, oval = self.frame(image, planes, oval, size)
        image, planes = self.ears(*self.bare(image, planes, oval), oval)
        image, planes = self.fringe(image, planes, oval)
        image, planes = self.drape(image, planes, oval)
        image = self.recolor(image, planes) * self.ombre(planes) * self.shade_of_cloth(planes)
        image = image * self.shade_of_chin(planes, oval) * self.shade_of_hair(planes, oval)
        person = planes.sum(1, keepdim=True).clamp(0, 1)
        image = image * person + self.scene(image, planes) * (1 - person)
        image, planes, person = self.occlude(image, planes)
        image = self.photograph(self.light(image))
        background = (1 - planes.sum(1, keepdim=True)).clamp(0, 1)
        masks = torch.empty(len(image), len(Label), size, size)
        masks[:, Label.BACKGROUND : Label.BACKGROUND + 1] = background
        masks[:, Label.SKIN] = planes[:, SKIN] + planes[:, BEARD]
        masks[:, Label.HAIR] = planes[:, HAIR]
        masks[:, Label.CLOTHES] = planes[:, CLOTHES] + planes[:, ACCESSORY]
        guides = torch.cat([self.silhouette(person, planes), self.misplaced(oval)], 1)
        return image, masks, guides

    def frame(
        self, image: Tensor, planes: Tensor, oval: Tensor, size: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Turn, mirror, scale, bend and cut; the person's colors go on beyond its outline."""
        batch, _, full, _ = image.shape
        tilt = self.uniform(batch, low=-1)
        angle = 0.5 * tilt * tilt.abs()  # heads are mostly upright
        # A size that is cut from a larger picture keeps its scale on average.
        scale = size / full * torch.exp((self.uniform(batch) - 0.5) * 0.5)
        mirror = torch.where(self.uniform(batch) < 0.5, -1.0, 1.0)
        c, s = angle.cos() * scale, angle.sin() * scale
        # Rendered faces are narrower than real ones.
        slim = torch.exp(-self.uniform(batch, low=-0.05, high=0.25))
        # Often lower: most of what the parser sees of a person is clothes.
        shift = torch.stack([self.uniform(batch, low=-0.3, high=0.3),
                             self.uniform(batch, low=-0.25, high=0.6)], 1)  # fmt: skip
        across = torch.stack([slim * c * mirror, -slim * s, shift[:, 0]], 1)
        theta = torch.stack([across, torch.stack([s * mirror, c, shift[:, 1]], 1)], 1)
        grid = F.affine_grid(theta, [batch, 1, size, size], align_corners=False)
        # Bent a little, so that few heads become many.
        bend = self.field(batch, size, 5, 2) * self.uniform(batch, 1, 1, 1, high=0.06)
        grid = grid + bend.movedim(1, -1)
        stack = torch.cat([image, planes, oval], 1)
        stack = F.grid_sample(stack, grid, padding_mode="border", align_corners=False)
        image, planes, oval = stack.split([3, planes.shape[1], 1], 1)
        return image / planes.sum(1, keepdim=True).clamp_min(1 / 16), planes, oval

    def bare(self, image: Tensor, planes: Tensor, oval: Tensor) -> tuple[Tensor, Tensor]:
        """Necklines: cloth below the chin becomes skin in a V, a bow or down to a level."""
        batch, _, size, _ = image.shape
        x, y, wide, high = extent(oval)
        v, u = _axes(size)
        across, below = (u - x).abs() / wide, (v - y) / high - 1  # in halves of the face
        deep = self.uniform(batch, 1, 1, 1, low=0.2, high=1.8)
        broad = self.uniform(batch, 1, 1, 1, low=0.6, high=2.2)
        pointed = across / broad + below / deep
        bow = ((across / broad).square() + (below.clamp_min(0) / deep).square()).sqrt()
        level = below / deep
        kind = self.uniform(batch, 1, 1, 1)
        inside = torch.where(kind < 0.4, pointed, torch.where(kind < 0.8, bow, level))
        sharp = size / 4 * deep * high
        share = ((1 - inside) * sharp + 0.5).clamp(0, 1) * self.chance(batch, 0.5)
        share = share * (below > -0.6).float()
        skin, cloth = (mean_of(image, planes[:, p : p + 1]) for p in (SKIN, CLOTHES))
        folds = (image / cloth.clamp_min(0.02)).clamp(0.1, 2) ** 0.5
        moved = planes[:, CLOTHES : CLOTHES + 1] * share
        body = planes.sum(1, keepdim=True).clamp_min(1e-3)
        image = torch.lerp(image, skin * folds, moved / body)
        planes = planes.clone()
        planes[:, SKIN] += moved[:, 0]
        planes[:, CLOTHES] -= moved[:, 0]
        return image, planes

    def ears(self, image: Tensor, planes: Tensor, oval: Tensor) -> tuple[Tensor, Tensor]:
        """Ears that hair leaves free, however long it is."""
        batch, _, size, _ = image.shape
        x, y, wide, high = extent(oval)
        v, u = _axes(size)
        seen = self.chance(batch, 0.5)
        skin = mean_of(image, planes[:, SKIN : SKIN + 1])
        for side in (-1, 1):
            half = self.uniform(batch, 1, 1, 1, low=0.1, high=0.28)
            across = side * (u - x) / wide - self.uniform(batch, 1, 1, 1, low=0.95, high=1.2)
            down = (v - y) / high - self.uniform(batch, 1, 1, 1, low=-0.15, high=0.3)
            down = down / self.uniform(batch, 1, 1, 1, low=0.2, high=0.45)
            lean = self.uniform(batch, 1, 1, 1, low=-0.1, high=0.5)
            # Narrower at the lobe.
            a = (across + lean * half * down) / (half * (1 - 0.25 * down.clamp(-1, 1)))
            round_ = (a.square() + down.square()).sqrt()
            inside = (1 - round_) * half * wide
            cover = (inside * size / 2 + 0.5).clamp(0, 1) * (1 - oval) * seen
            cover = cover * self.chance(batch, 0.75)
            rim = self.uniform(batch, 1, 1, 1, low=0.45, high=0.75)
            fold = torch.exp(-(((round_ - rim) / 0.15) ** 2)) + 0.6 * (rim - round_ > 0.15)
            light = 1.1 - self.uniform(batch, 1, 1, 1, high=0.6) * fold
            light = light * (1 + 0.3 * self.field(batch, size, 12))
            image, planes = torch.lerp(image, skin * light, cover), planes * (1 - cover)
            planes[:, SKIN] += cover[:, 0]
        return image, planes

    def fringe(self, image: Tensor, planes: Tensor, oval: Tensor) -> tuple[Tensor, Tensor]:
        """Hair over the forehead: straight, parted or swept to one side, at times over an eye."""
        batch, _, size, _ = image.shape
        x, y, wide, high = extent(oval)
        v, u = _axes(size)
        hair = planes[:, HAIR : HAIR + 1]
        worn = self.chance(batch, 0.35) * (hair.mean((1, 2, 3), keepdim=True) > 0.02)
        side = self.uniform(batch, 1, 1, 1, low=-1).sign()
        across, down = side * (u - x) / wide, (v - y) / high  # −1 … 1 over the face
        start = self.uniform(batch, 1, 1, 1, low=-0.9, high=0.9)
        steep = self.uniform(batch, 1, 1, 1, low=-0.1, high=0.9)
        away = across - start
        away = torch.where(self.chance(batch, 0.4) > 0, away.abs(), away.clamp_min(-0.3))
        lower = self.uniform(batch, 1, 1, 1, low=-1, high=-0.3) + steep * away
        # Strands run along the border, or down to it.
        along = across * self.uniform(batch, 1, 1, 1) + down - steep * away
        run = _places(along / 2, across / 2)
        fall = _places((across + 0.3 * steep * down) / 1.5, down / 2)
        place = torch.where(self.chance(batch, 0.5) > 0, run, fall)
        place = place + 0.05 * self.field(batch, size, 5, 2).movedim(1, -1)
        strands = F.grid_sample(self.uniform(batch, 2, 3, 40), place, align_corners=False,
                                padding_mode="reflection")  # fmt: skip
        ragged, streaks = strands.split(1, 1)
        inside = lower + self.uniform(batch, 1, 1, 1, high=0.4) * (ragged - 0.5) - down
        inside = torch.minimum(inside * high, (1.08 - across.abs()) * wide)
        share = (inside * size / 2 + 0.5).clamp(0, 1) * worn
        light = 0.6 + 0.8 * streaks
        moved = planes[:, SKIN : SKIN + 1] * share
        body = planes.sum(1, keepdim=True).clamp_min(1e-3)
        image = torch.lerp(image, mean_of(image, hair) * light, moved / body)
        planes = planes.clone()
        planes[:, HAIR] += moved[:, 0]
        planes[:, SKIN] -= moved[:, 0]
        return image, planes

    def drape(self, image: Tensor, planes: Tensor, oval: Tensor) -> tuple[Tensor, Tensor]:
        """Long hair: locks beside the face that fall on the shoulders and the chest, their strands
        side by side, straight, wavy or in curls, ragged at their borders and ends."""
        batch, _, size, _ = image.shape
        x, y, wide, high = extent(oval)
        v, u = _axes(size)
        down = (v - y) / high  # −1 at the hairline, 1 at the chin
        hair = planes[:, HAIR : HAIR + 1]
        color = mean_of(image, hair)
        worn = self.chance(batch, 0.4) * (hair.mean((1, 2, 3), keepdim=True) > 0.02)
        clear = 1 - oval * self.chance(batch, 0.75)
        length = self.uniform(batch, 1, 1, 1, low=1.0, high=4.5)
        for side in (-1, 1):
            end = length * self.uniform(batch, 1, 1, 1, low=0.7, high=1.1)
            start = self.uniform(batch, 1, 1, 1, low=-0.7, high=0.3)
            along = (down - start) / (end - start)
            wave = F.interpolate(
                self.uniform(batch, 1, 6, 1, low=-1), size=(size, 1), mode="bicubic"
            )
            middle = 1.15 + self.uniform(batch, 1, 1, 1, high=0.5) * (down - 0.3)
            middle = middle + wave * self.uniform(batch, 1, 1, 1, high=0.35)
            curl = self.uniform(batch, 1, 1, 1, high=0.6) * self.chance(batch, 0.4)
            half = self.uniform(batch, 1, 1, 1, low=0.2, high=0.75) * (1 + 0.8 * curl)
            half = half * (1 - 0.5 * along.clamp(0, 1) ** 3)
            t = (side * (u - x) / wide - middle) / half  # −1 … 1 across the lock
            turn = down * self.uniform(batch, 1, 1, 1, low=4, high=16)
            turn = turn + 1.5 * t + 3 * self.field(batch, size, 5)
            t = t + curl * turn.sin()
            place = _places(t / 1.5, along * 2 - 1)
            strands = F.grid_sample(self.uniform(batch, 2, 4, 40), place, align_corners=False,
                                    padding_mode="border")  # fmt: skip
            ragged, streaks = strands.split(1, 1)
            ends = along.clamp(0, 1) ** 4
            inside = 1 - t.abs() + (0.5 + ends) * (ragged - 0.5)
            thick = torch.minimum(inside * half * wide, (1 - along - 0.3 * ragged) * 0.3)
            thick = torch.minimum(thick, along * 0.5)
            cover = (thick * size / 2 + 0.5).clamp(0, 1) * clear * worn * self.chance(batch, 0.85)
            light = (0.45 + 0.9 * streaks) * (1 - 0.3 * t.clamp(-1, 1).square())
            light = light * (1 + curl * turn.cos())
            image, planes = torch.lerp(image, color * light, cover), planes * (1 - cover)
            planes[:, HAIR] += cover[:, 0]
        return image, planes

    def recolor(self, image: Tensor, planes: Tensor) -> Tensor:
        """Other tones, contrasts and textures for each part, at times those of another part."""
        batch, parts, size, _ = planes.shape
        weight = planes / planes.sum(1, keepdim=True).clamp_min(1e-3)
        area = planes.sum((2, 3)).clamp_min(1)
        means = torch.einsum("bchw,bphw->bpc", image, planes) / area[..., None]  # [B, P, 3]
        tones = means * torch.exp((self.uniform(batch, parts, 1) - 0.5) * 1.2)
        tones = tones * self.uniform(batch, parts, 3, low=0.85, high=1.15)
        wild = (self.uniform(batch, parts, 1) < 0.15) * (self.uniform(batch, 1, 1) < 0.6)
        tones = torch.where(wild, self.uniform(batch, parts, 3, low=0.02, high=0.98), tones)

        def alike(part: int, other: int, probability: float) -> None:
            near = tones[:, other] * self.uniform(batch, 1, low=0.75, high=1.3)
            tones[:, part] = torch.where(self.uniform(batch, 1) < probability, near, tones[:, part])

        # At times as they were rendered.
        tones = torch.where(self.uniform(batch, 1, 1) < 0.2, means, tones)
        pale = self.uniform(batch, 3, low=0.6, high=1) * self.uniform(batch, 1, low=0.6, high=1)
        pale[:, 0] = pale.max(1).values  # pink and cream
        pastel = self.uniform(batch, 1) < 0.15
        tones[:, CLOTHES] = torch.where(pastel, pale, tones[:, CLOTHES])
        alike(HAIR, SKIN, 0.08)
        alike(BEARD, HAIR, 0.5)
        alike(CLOTHES, HAIR, 0.2)
        alike(ACCESSORY, HAIR, 0.25)
        alike(CLOTHES, SKIN, 0.12)
        self.tones = tones
        contrast = self.uniform(batch, parts, 1, low=0.45, high=1.5)
        contrast[:, CLOTHES] *= torch.where(pastel, 0.4, 1.0)
        contrast[:, HAIR] *= self.uniform(
            batch, 1, low=0.2, high=1.0
        )  # strands are not always seen
        gain = tones / means.clamp_min(0.01)
        # Around its mean each part is stretched; dark ones that become bright do not burn out.
        gain = gain.clamp(0.02, 6)
        per_pixel = torch.einsum("bphw,bpc->bchw", weight, gain)
        middle = torch.einsum("bphw,bpc->bchw", weight, tones)
        stretch = torch.einsum("bphw,bp->bhw", weight, contrast[..., 0])[:, None]
        image = middle + (image * per_pixel - middle) * stretch
        # Knitted and pleated, cloth is streaky like hair.
        pleats = F.interpolate(self.uniform(batch, 1, 3, 48), size=(size, size), mode="bilinear")
        cloth = torch.lerp(self.pattern(batch, size), pleats, self.chance(batch, 0.4))
        streaks = self.texture(batch, size)
        strands = torch.lerp(streaks[:, 1:2], self.strands(batch, size), self.chance(batch, 0.6))
        patterns = (
            (SKIN, 0.3, streaks[:, :1]),
            (HAIR, 0.8, strands),
            (BEARD, 0.6, streaks[:, 2:]),
            (CLOTHES, 1.4, cloth),
            (ACCESSORY, 1.2, cloth.roll(1, 0)),
        )
        for part, most, pattern in patterns:
            strength = self.uniform(batch, 1, 1, 1, high=most) * self.chance(batch, 0.6)
            image = image * (1 + strength * (pattern - 0.5) * weight[:, part : part + 1])
        holes = self.holes(batch, size) * weight[:, CLOTHES : CLOTHES + 1] * self.chance(batch, 0.1)
        image = torch.lerp(image, tones[:, SKIN, :, None, None], holes)
        return image.clamp(0, 1.2)

    def strands(self, batch: int, size: int) -> Tensor:
        """Noise in bent, mostly upright lines: [B, 1, S, S] in 0 … 1."""
        v, u = _axes(size)
        lean = self.uniform(batch, 1, 1, 1, low=-0.6, high=0.6)
        across = u + lean * v + 0.3 * self.field(batch, size, 4)
        place = _places(across, v)
        lines = self.uniform(batch, 1, 3, 80)
        return F.grid_sample(lines, place, padding_mode="reflection", align_corners=False)

    def holes(self, batch: int, size: int) -> Tensor:
        """Coarse knitwear and lace: rows of holes, [B, 1, S, S] in 0 … 1."""
        v, u = _axes(size)
        rate = self.uniform(batch, 1, 1, 1, low=40, high=130)
        u, v = (axis + 0.05 * self.field(batch, size, 5) for axis in (u, v))
        bumps = (u * rate).sin() * (v * rate * self.uniform(batch, 1, 1, 1, low=0.5, high=1)).sin()
        return ((bumps - self.uniform(batch, 1, 1, 1, low=0, high=0.5)) * 3).clamp(0, 1)

    def ombre(self, planes: Tensor) -> Tensor:
        """Hair in two tones, from roots to ends or in parts: [B, 3, S, S], about 1."""
        batch, _, size, _ = planes.shape
        v, _ = _axes(size)
        border = 2 * self.field(batch, size, 6) + self.uniform(batch, 1, 1, 1, low=-4, high=4) * (
            v - self.uniform(batch, 1, 1, 1, low=-0.5, high=0.7)
        )
        share = (border * self.uniform(batch, 1, 1, 1, low=0.7, high=3)).sigmoid()
        other = torch.exp(self.uniform(batch, 1, 1, 1, low=-1, high=1))
        other = other * torch.exp(self.uniform(batch, 3, 1, 1, low=-0.2, high=0.2))
        share = share * planes[:, HAIR : HAIR + 1] * self.chance(batch, 0.35)
        return 1 - share * (1 - other)

    def shade_of_cloth(self, planes: Tensor) -> Tensor:
        """Sleeves and shoulders that lie in shadow, at times in the tone of the hair:
        [B, 3, S, S], about 1."""
        batch, _, size, _ = planes.shape
        border = self.field(batch, size, 4) * self.uniform(batch, 1, 1, 1, low=3, high=30)
        light = self.uniform(batch, 1, 1, 1, low=0.1, high=0.9)
        as_hair = self.tones[:, HAIR] / self.tones[:, CLOTHES].clamp_min(0.02)
        as_hair = as_hair.clamp(0.05, 1.5)[..., None, None]
        as_hair = as_hair * self.uniform(batch, 1, 1, 1, low=0.8, high=1.4)
        light = torch.lerp(light, as_hair, self.chance(batch, 0.4))
        share = planes[:, CLOTHES : CLOTHES + 1] * border.sigmoid() * self.chance(batch, 0.35)
        return 1 - share * (1 - light)

    def shade_of_chin(self, planes: Tensor, oval: Tensor) -> Tensor:
        """Light on neck and ears, which is often less than on the face, and the jaw's shadow on the
        neck, soft or hard: [B, 3, S, S], about 1.

        At times either turns skin into the tone of the hair; at times ears are lit through.
        """
        batch, _, size, _ = planes.shape
        _, y, wide, high = extent(oval)
        v, _ = _axes(size)
        beside = planes[:, SKIN : SKIN + 1] * (1 - blurred(oval, torch.full((batch,), 1.0)))
        as_hair = (self.tones[:, HAIR] / self.tones[:, SKIN].clamp_min(0.02)).clamp(0.05, 1.5)
        as_hair = as_hair[..., None, None]

        def light(least: float, hairlike: float) -> Tensor:
            tint = torch.exp(self.uniform(batch, 3, 1, 1, low=-0.15, high=0.15))
            plain = self.uniform(batch, 1, 1, 1, low=least, high=1.15) * tint
            near = as_hair * self.uniform(batch, 1, 1, 1, low=0.8, high=1.6)
            return torch.lerp(plain, near, self.chance(batch, hairlike))

        red = torch.tensor([1.3, 0.75, 0.65])[:, None, None]
        ears = light(0.5, 0.07) * torch.lerp(torch.ones(1), red, self.chance(batch, 0.15))
        neck = torch.where(self.chance(batch, 0.5) > 0, light(0.3, 0.2), ears)
        below = (12 * ((v - y) / high - 0.7)).sigmoid()
        shade = 1 - beside * (1 - torch.lerp(ears, neck, below)) * self.chance(batch, 0.65)
        theta = torch.eye(2, 3).expand(batch, -1, -1).clone()
        theta[:, 0, 2] = self.uniform(batch, low=-0.5, high=0.5) * wide.view(-1)
        theta[:, 1, 2] = -self.uniform(batch, low=0.05, high=0.7) * high.view(-1)
        grid = F.affine_grid(theta, [batch, 1, size, size], align_corners=False)
        cast = F.grid_sample(oval, grid, align_corners=False)
        cast = blurred(cast, self.uniform(batch, low=0.3, high=size / 20)) * below
        dark = 1 - light(0.1, 0.2).clamp_max(1)
        return shade * (1 - cast * beside * dark * self.chance(batch, 0.4))

    def shade_of_hair(self, planes: Tensor, oval: Tensor) -> Tensor:
        """The shadow of hair on skin and cloth beside it and between locks, soft or hard:
        [B, 3, S, S], about 1."""
        batch, _, size, _ = planes.shape
        hair = planes[:, HAIR : HAIR + 1]
        theta = torch.eye(2, 3).expand(batch, -1, -1).clone()
        theta[:, :, 2] = self.uniform(batch, 2, low=-0.08, high=0.08)  # away from the lamp
        theta[:, 1, 2] -= 0.03
        grid = F.affine_grid(theta, [batch, 1, size, size], align_corners=False)
        cast = F.grid_sample(hair, grid, padding_mode="border", align_corners=False)
        cast = blurred(cast, self.uniform(batch, low=0.3, high=size / 12))
        cast = (cast * self.uniform(batch, 1, 1, 1, low=1, high=3)).clamp(0, 1)
        # The face is turned to the light.
        face = blurred(oval, torch.full((batch,), 1.5)) * self.uniform(batch, 1, 1, 1, low=0.4)
        onto = (planes[:, SKIN : SKIN + 1] + planes[:, CLOTHES : CLOTHES + 1]).clamp(0, 1)
        light = self.uniform(batch, 1, 1, 1, low=0.08, high=0.8)
        light = light * torch.exp(self.uniform(batch, 3, 1, 1, low=-0.2, high=0.2))
        return 1 - cast * onto * (1 - face) * (1 - light) * self.chance(batch, 0.6)

    def pattern(self, batch: int, size: int) -> Tensor:
        """Stripes, checks, planks and bricks, or noise: [B, 3, S, S] in 0 … 1."""
        axis = torch.linspace(-1, 1, size)
        v, u = torch.meshgrid(axis, axis, indexing="ij")
        angle = self.uniform(batch, 1, 1, high=math.pi)
        upright = self.uniform(batch, 1, 1) < 0.6
        angle = torch.where(upright, (angle * 4 / math.pi).floor() * math.pi / 2, angle)
        bend = 0.08 * self.field(batch, size, 5)[:, 0] * (self.uniform(batch, 1, 1) < 0.5)
        a = u * angle.cos() + v * angle.sin() + bend
        b = v * angle.cos() - u * angle.sin()
        rate, other = (self.uniform(batch, 1, 1, low=2, high=22) for _ in range(2))
        row = (a * rate).floor()
        stripe = ((a * rate) % 1 < self.uniform(batch, 1, 1, low=0.1, high=0.9)).float()
        shifted = (b * other + 0.5 * (row % 2)) % 1
        joint = torch.maximum((a * rate) % 1, shifted) > 0.92
        plank = torch.frac(
            torch.sin(row * 12.9 + (b * other + 0.5 * (row % 2)).floor() * 78.2) * 43.7
        )
        bricks = 0.5 + 0.4 * (plank - plank.floor() - 0.5) - 0.35 * joint
        checks = 0.5 * stripe + 0.5 * ((b * rate) % 1 < 0.5).float()
        kind = torch.randint(4, (batch, 1, 1), generator=self.generator)
        chosen = torch.where(kind == 0, stripe, torch.where(kind == 1, bricks, checks))[:, None]
        one, two = (self.uniform(batch, 3, 1, 1) for _ in range(2))
        two = torch.lerp(one, two, self.uniform(batch, 1, 1, 1))
        drawn = torch.lerp(one, two, chosen) * (0.8 + 0.4 * self.texture(batch, size, 1))
        drawn = torch.where((kind == 3)[:, None], self.texture(batch, size), drawn)
        return drawn.clamp(0, 1)

    def scene(self, image: Tensor, planes: Tensor) -> Tensor:
        """What lies behind: walls, wood, brick, windows, lamps, other people; sharp or not."""
        batch, _, size, _ = image.shape
        scene = torch.lerp(
            self.texture(batch, size), self.pattern(batch, size), self.chance(batch, 0.35)
        )
        plain = self.uniform(batch, 3, 1, 1) * (1 + 0.25 * self.field(batch, size, 3))
        scene = torch.lerp(scene, plain, self.chance(batch, 0.3))
        # Rectangles: windows, doors, shelves, screens.
        for _ in range(3):
            box = self.boxes(batch, size)
            fill = torch.lerp(self.uniform(batch, 3, 1, 1), torch.ones(1), self.chance(batch, 0.3))
            fill = fill * (0.85 + 0.3 * self.field(batch, size, 4))
            scene = torch.lerp(scene, fill, box * self.chance(batch, 0.35))
        # Most walls and rooms are paler than noise is.
        pale = self.uniform(batch, 1, 1, 1, high=0.8) * self.chance(batch, 0.7)
        scene = torch.lerp(scene, scene.mean(1, keepdim=True), pale)
        # At times in the color of the hair or the skin, nearly.
        for part, probability in ((HAIR, 0.22), (SKIN, 0.08)):
            tone = self.tones[:, part, :, None, None]
            near = tone * (0.65 + 0.7 * scene.mean(1, keepdim=True))
            scene = torch.lerp(scene, near, self.chance(batch, probability) * 0.9)
        other = torch.randperm(batch, generator=self.generator)
        theta = torch.zeros(batch, 2, 3)
        zoom = self.uniform(batch, low=1.0, high=2.2)
        theta[:, 0, 0], theta[:, 1, 1] = -zoom, zoom
        theta[:, :, 2] = self.uniform(batch, 2, low=-1.6, high=1.6)
        grid = F.affine_grid(theta, [batch, 1, size, size], align_corners=False)
        people = torch.cat([image, planes.sum(1, keepdim=True)], 1)[other]
        people = F.grid_sample(people, grid, align_corners=False)
        scene = torch.lerp(
            scene, people[:, :3], people[:, 3:].clamp(0, 1) * self.chance(batch, 0.18)
        )
        return torch.lerp(
            scene, blurred(scene, self.uniform(batch, high=6)), self.chance(batch, 0.6)
        )

    def boxes(self, batch: int, size: int) -> Tensor:
        """One turned rectangle each, [B, 1, S, S]."""
        axis = torch.linspace(-1, 1, size)
        v, u = torch.meshgrid(axis, axis, indexing="ij")
        x, y = (self.uniform(batch, 1, 1, low=-1, high=1) for _ in range(2))
        wide, high = (self.uniform(batch, 1, 1, low=0.03, high=0.9) for _ in range(2))
        angle = (self.uniform(batch, 1, 1) - 0.5) * 0.3
        a = (u - x) * angle.cos() + (v - y) * angle.sin()
        b = (v - y) * angle.cos() - (u - x) * angle.sin()
        d = torch.maximum(a.abs() - wide, b.abs() - high)
        return (0.5 - d * size / 2).clamp(0, 1)[:, None]

    def occlude(self, image: Tensor, planes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Hands and arms (skin), microphones, cups and the like (accessories) in front."""
        batch, _, size, _ = image.shape
        axis = torch.linspace(-1, 1, size)
        v, u = torch.meshgrid(axis, axis, indexing="ij")

        def stroke(a: Tensor, b: Tensor, radius: Tensor) -> Tensor:
            """Distance to lines from a to b [B, 2] of a width [B]."""
            way = b - a
            pu, pv = u - a[:, 0, None, None], v - a[:, 1, None, None]
            t = pu * way[:, 0, None, None] + pv * way[:, 1, None, None]
            t = (t / way.square().sum(1).clamp_min(1e-6)[:, None, None]).clamp(0, 1)
            along = pu - t * way[:, 0, None, None], pv - t * way[:, 1, None, None]
            return torch.hypot(*along) - radius[:, None, None]

        palm = self.uniform(batch, 2, low=-0.8, high=0.8)
        below = torch.stack([self.uniform(batch, low=-1.2, high=1.2), torch.full((batch,), 1.4)], 1)
        thick = self.uniform(batch, low=0.09, high=0.17)
        arm = stroke(palm, below, thick * 0.85)
        hand = torch.minimum(arm, stroke(palm, palm + 0.02, thick * 1.25))
        up = (palm - below) / (palm - below).norm(dim=1, keepdim=True)
        side = torch.stack([-up[:, 1], up[:, 0]], 1)
        spread = self.uniform(batch, low=0.1, high=0.7)
        bend = self.uniform(batch, low=0.4, high=1.7)
        for finger in range(-2, 3):
            way = up + side * (finger * spread / 2)[:, None]
            root = palm + side * (finger * 0.5 * thick)[:, None]
            hand = torch.minimum(
                hand, stroke(root, root + way * (bend * thick * 1.8)[:, None], thick * 0.27)
            )
        sharp = size / 2
        is_hand = self.chance(batch, 0.16)
        cover = (0.5 - hand[:, None] * sharp).clamp(0, 1) * is_hand
        round_ = (0.6 - hand[:, None].clamp(-0.1, 0) * 6).clamp(0, 1.1)
        color = self.tones[:, SKIN, :, None, None] * (0.7 + 0.5 * round_) * (
            1 + 0.2 * self.field(batch, size, 9))  # fmt: skip
        # A sleeve from the wrist on.
        cuff = (v[None] - palm[:, 1, None, None]) > self.uniform(batch, 1, 1, low=0.2, high=1.2)
        cuff = cuff[:, None].float() * self.chance(batch, 0.6)
        color = torch.lerp(
            color, self.tones[:, CLOTHES, :, None, None] * (0.8 + 0.4 * round_), cuff
        )
        image, planes = torch.lerp(image, color, cover), planes * (1 - cover)
        planes = planes.clone()
        planes[:, SKIN] += (cover * (1 - cuff))[:, 0]
        planes[:, CLOTHES] += (cover * cuff)[:, 0]

        at = self.uniform(batch, 2, low=-0.6, high=0.9)
        ball = torch.hypot(u - at[:, 0, None, None], v - at[:, 1, None, None])
        ball = ball - self.uniform(batch, 1, 1, low=0.05, high=0.14)
        foot = torch.stack([at[:, 0] + self.uniform(batch, low=-0.5, high=0.5), at[:, 1] + 1.2], 1)
        stick = torch.minimum(ball, stroke(at, foot, self.uniform(batch, low=0.015, high=0.05)))
        thing = (0.5 - stick[:, None] * sharp).clamp(0, 1) * self.chance(batch, 0.5)
        box = self.boxes(batch, size)
        thing = torch.where(self.chance(batch, 0.4) > 0, box, thing) * self.chance(batch, 0.14)
        fill = self.uniform(batch, 3, 1, 1) ** 2 * (0.7 + 0.6 * self.texture(batch, size, 1))
        image, planes = torch.lerp(image, fill, thing), planes * (1 - thing)
        planes[:, ACCESSORY] += thing[:, 0]
        # Of things, MediaPipe takes none for a part of the person.
        return image, planes, (planes.sum(1, keepdim=True) - thing).clamp(0, 1)

    def light(self, image: Tensor) -> Tensor:
        """Shadows with soft and hard borders, coloured lamps, haze."""
        batch, _, size, _ = image.shape
        image = image.clamp(0, 1.2)
        smooth = torch.exp(self.field(batch, size, 3) * self.uniform(batch, 1, 1, 1, high=0.5))
        border = self.field(batch, size, 4) * 6 * self.uniform(batch, 1, 1, 1, low=0.5, high=6)
        dark = self.uniform(batch, 1, 1, 1, low=0.25, high=0.9)
        hard = 1 - (1 - dark) * border.sigmoid() * self.chance(batch, 0.3)
        image = image * smooth * hard
        lamp = self.field(batch, size, 3).clamp_min(0) * self.uniform(batch, 3, 1, 1)
        image = image * (1 + lamp * self.chance(batch, 0.25) * 1.2)
        haze = self.uniform(batch, 1, 1, 1, high=0.25) * self.chance(batch, 0.12)
        return torch.lerp(image, self.uniform(batch, 3, 1, 1), haze)

    def photograph(self, image: Tensor) -> Tensor:
        """Exposure, white balance, focus, motion, grain, sharpening and compression."""
        batch = len(image)
        # Exposed for the picture's mean, and not quite.
        mean = image.mean((1, 2, 3), keepdim=True)
        wanted = self.uniform(batch, 1, 1, 1, low=0.25, high=0.7)
        image = image * torch.lerp(torch.ones(1), wanted / mean.clamp_min(0.02), 0.8).clamp(0.4, 4)
        image = image.clamp(1e-3, 1) ** torch.exp((self.uniform(batch, 1, 1, 1) - 0.5) * 0.9)
        balance = torch.exp((self.uniform(batch, 3, 1, 1) - 0.5) * 0.45)
        image = image * torch.lerp(torch.ones(1), balance, self.chance(batch, 0.7))
        grey = image.mean(1, keepdim=True)
        vivid = self.uniform(batch, 1, 1, 1, low=0.3, high=1.4) * (1 - self.chance(batch, 0.06))
        image = torch.lerp(grey, image, vivid).clamp(0, 1)
        image = torch.lerp(
            image, blurred(image, self.uniform(batch, high=1.4)), self.chance(batch, 0.45)
        )
        for count in (int(f) for f in torch.randint(2, 6, (1,), generator=self.generator)):
            moved = torch.stack([image.roll(i, 3) for i in range(count)]).mean(0)
            image = torch.lerp(image, moved, self.chance(batch, 0.08))
        halo = image - blurred(image, torch.full((batch,), 1.2))
        image = image + halo * self.uniform(batch, 1, 1, 1, high=1.4) * self.chance(batch, 0.3)
        grain = torch.randn(image.shape, generator=self.generator)
        soft = F.avg_pool2d(grain, 3, 1, 1) * 2
        grain = torch.lerp(grain, soft, self.chance(batch, 0.4))
        amount = self.uniform(batch, 1, 1, 1) ** 4 * 0.09
        return self.compress((image + grain * amount).clamp(0, 1))

    def compress(self, image: Tensor) -> Tensor:
        """Half of the pictures as JPEG has them: blocks of 8 pixels, poor colors."""
        levels = (image * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
        qualities = self.uniform(len(image), low=15, high=150).tolist()
        image = image.clone()
        for index, (picture, quality) in enumerate(zip(levels, qualities, strict=True)):
            if quality < 85:
                file = io.BytesIO()
                Image.fromarray(picture).save(file, "JPEG", quality=int(quality))
                read = np.array(Image.open(file))
                image[index] = torch.from_numpy(read).permute(2, 0, 1).float() / 255
        return image

    def silhouette(self, person: Tensor, planes: Tensor) -> Tensor:
        """The person as MediaPipe finds it: mostly within a pixel, rather too wide than too narrow;
        else soft, a little off, at times with parts of the hair missing or of the background
        beside it."""
        batch, _, size, _ = person.shape
        poor = self.chance(batch, 0.35)

        def most(usual: float, at_worst: float) -> Tensor:
            return usual + (at_worst - usual) * poor

        soft = blurred(person, (0.5 + self.uniform(batch, 1, 1, 1) * most(1.5, 3.5)).view(-1))
        off = self.field(batch, size, 6) * self.uniform(batch, 1, 1, 1) * most(0.15, 0.3)
        bias = self.uniform(batch, 1, 1, 1, low=-1) * most(0.1, 0.2) + 0.14 * (1 - poor)
        rough = self.field(batch, size, 3) * self.uniform(batch, 1, 1, 1, high=0.7)
        hair = blurred(planes[:, HAIR : HAIR + 1], torch.full((batch,), 3.0))
        rough = rough * hair * self.chance(batch, 0.3) * poor
        steep = 6 + self.uniform(batch, 1, 1, 1) * most(6, 19)
        found = ((soft - 0.5 + off + bias + rough) * steep).sigmoid()
        return self.hidden(found, 0.12)

    def misplaced(self, oval: Tensor) -> Tensor:
        """The oval of the face, moved and scaled as a mesh errs."""
        batch, _, size, _ = oval.shape
        theta = torch.zeros(batch, 2, 3)
        scale = 1 + (self.uniform(batch, 2) - 0.5) * 0.16
        theta[:, 0, 0], theta[:, 1, 1] = scale.unbind(1)
        # About the middle of the oval, not of the picture.
        axis = (torch.arange(size) + 0.5) * 2 / size - 1
        area = oval.sum((2, 3)).clamp_min(1e-3)
        middle = torch.cat([(oval.sum(2) * axis).sum(2), (oval.sum(3) * axis).sum(2)], 1) / area
        theta[:, :, 2] = middle * (1 - scale) + (self.uniform(batch, 2) - 0.5) * 0.06
        grid = F.affine_grid(theta, [batch, 1, size, size], align_corners=False)
        moved = F.grid_sample(oval, grid, align_corners=False)
        return self.hidden(moved, 0.08)

    def hidden(self, guide: Tensor, probability: float) -> Tensor:
        return torch.lerp(
            guide, torch.full_like(guide, UNKNOWN), self.chance(len(guide), probability)
        )


def _axes(size: int) -> tuple[Tensor, Tensor]:
    """v [S, 1] and u [1, S]: from −1 to 1."""
    axis = torch.linspace(-1, 1, size)
    return axis[:, None], axis[None]


def _places(u: Tensor, v: Tensor) -> Tensor:
    """Two planes [B, 1, S, S], or what is broadcast to that, as a grid [B, S, S, 2]."""
    return torch.cat(torch.broadcast_tensors(u, v), 1).movedim(1, -1)


def mean_of(image: Tensor, mask: Tensor) -> Tensor:
    """Mean color [B, 3, 1, 1] of where a mask [B, 1, S, S] is."""
    total = mask.sum((2, 3), keepdim=True).clamp_min(1)
    return (image * mask).sum((2, 3), keepdim=True) / total


def extent(oval: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Middle (x, y) and half sides of the face's oval [B, 1, S, S], each [B, 1, 1, 1] in −1 … 1.

    An ellipse's variance along an axis is a quarter of the square of that half axis. An oval out of
    sight is small and in the middle.
    """
    v, u = _axes(oval.shape[-1])
    total = oval.sum((2, 3), keepdim=True) + 1e-3
    found = []
    for axis in (u, v):
        middle = (oval * axis).sum((2, 3), keepdim=True) / total
        spread = (oval * (axis - middle).square()).sum((2, 3), keepdim=True) / total
        found.append((middle, 2 * spread.sqrt().clamp_min(0.02)))
    (x, wide), (y, high) = found
    return x, y, wide, high


def blurred(image: Tensor, sigma: Tensor) -> Tensor:
    """Gaussian blur of each picture by its own sigma [B], in pixels; the border is continued."""
    radius = max(1, math.ceil(2.5 * float(sigma.max())))
    at = torch.arange(-radius, radius + 1).float()
    taps = torch.exp(-0.5 * (at / sigma.clamp_min(0.05)[:, None]) ** 2)
    taps = taps / taps.sum(1, keepdim=True)  # [B, 2r + 1]
    batch, channels, h, w = image.shape
    flat = F.pad(image.reshape(1, -1, h, w), [radius] * 4, mode="replicate")
    weight = taps.repeat_interleave(channels, 0)[:, None]
    flat = F.conv2d(flat, weight[:, :, None, :], groups=batch * channels)
    flat = F.conv2d(flat, weight[:, :, :, None], groups=batch * channels)
    return flat.view(batch, channels, h, w)
