"""Along a change of words: StyleCLIP's global directions (Patashnik et al. 2021, section 6)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vidhair.cache import fingerprint
from vidhair.checkpoints.directions import MOST_EFFECTS, read_directions
from vidhair.edits.latents import style_direction, text_direction
from vidhair.edits.style_space import StyleEdit, StyleSpread, style_sizes
from vidhair.edits.text import WordedEdit
from vidhair.errors import InvalidSetting
from vidhair.models.pack import Pack
from vidhair.settings import Curve, setting

NUMBERS = ".npy"  # a text that ends so is a file of its embeddings, a phrasing in each row


@dataclass(frozen=True, kw_only=True)
class TextDirection(StyleEdit, WordedEdit):
    """What every channel of S does to CLIP's embedding is brought along, as it was published for a
    generator (fs3.npy, delta_i_c.npy); how much the channels differ is told by the pack's own."""

    kind = "text_direction"
    file: str = setting("", "what each channel does, rows of a .npy file such as delta_i_c.npy")
    neutral: str = setting("a face", "what there is, in English, or an .npy file of embeddings")
    target: str = setting("", "what it is to become, likewise")
    threshold: float = setting(
        0.13,
        "relevance below which channels stay; with less of it more of them move",
        low=0.0,
        high=1.0,
    )
    strength: float | Curve = setting(
        3.0, "in deviations of the most relevant channel, or a curve of it over time",
        low=-50, high=50,
    )  # fmt: skip

    def identity(self) -> dict[str, Any]:
        """The numbers themselves, so that the files' names do not matter."""
        texts = {
            name: fingerprint(read_directions(Path(text), MOST_EFFECTS))
            for name, text in self._texts
            if text.endswith(NUMBERS)
        }
        effects = fingerprint(read_directions(Path(self.file), MOST_EFFECTS))
        words = {} if len(texts) == 2 else self.words_identity()
        return super().identity() | {"file": effects} | texts | words

    @property
    def _texts(self) -> tuple[tuple[str, str], ...]:
        return ("neutral", self.neutral), ("target", self.target)

    def check(self, pack: Pack, place: str) -> None:
        if not self.file:
            raise InvalidSetting(
                f"{place}.file is not given; name what each channel of the pack's generator does "
                "to CLIP's embedding, such as delta_i_c.npy"
            )
        spoken = [pair for pair in self._texts if not pair[1].endswith(NUMBERS)]
        effects = read_directions(Path(self.file), MOST_EFFECTS)
        sizes, to_color = style_sizes(pack.generator), pack.generator.synthesis.to_color()
        if not covered(len(effects), sizes, to_color).any():
            raise InvalidSetting(
                f"{place}.file = {self.file!r} tells of {len(effects)} channels, and this pack's "
                f"generator has {sum(sizes)}; take one that was made for it"
            )
        if spoken:
            width = self.check_words(spoken, place).clip.config.embedding
            if width != effects.shape[1]:
                raise InvalidSetting(
                    f"{place}.file = {self.file!r} tells of embeddings of {effects.shape[1]} "
                    f"numbers, and CLIP gives {width}; take weights of the CLIP that it was made "
                    "with"
                )
        for name, text in self._texts:
            rows = read_directions(Path(text)) if text.endswith(NUMBERS) else effects
            if rows.shape[1] != effects.shape[1]:
                raise InvalidSetting(
                    f"{place}.{name} = {text!r} holds embeddings of {rows.shape[1]} numbers, and "
                    f"{self.file!r} tells of {effects.shape[1]}; give those of one CLIP"
                )

    def style_change(self, spread: StyleSpread) -> NDArray[np.float32]:
        effects = read_directions(Path(self.file), MOST_EFFECTS)
        texts = [text for _, text in self._texts]
        reader = None if all(text.endswith(NUMBERS) for text in texts) else self.reader()

        def embedded(text: str) -> Tensor:
            if text.endswith(NUMBERS):
                return read_directions(Path(text))
            assert reader is not None
            return reader.phrased(text)

        wanted = text_direction(*map(embedded, texts))
        told = covered(len(effects), spread.sizes.tolist(), spread.to_color.tolist())
        parts = torch.from_numpy(spread.deviation[told])
        change = np.zeros_like(spread.deviation)
        (moved,) = style_direction(wanted, effects, [parts], self.threshold)
        change[told] = moved.numpy()
        return change


def covered(count: int, sizes: Sequence[int], to_color: Sequence[bool]) -> NDArray[np.bool_]:
    """Which channels [C] a file of so many tells of: all, or, as those of StyleGAN2, all but the
    layers to colors; none of them for any other count."""
    every = np.ones(sum(sizes), bool)
    others = np.repeat(~np.array(to_color), sizes)
    fitting = [told for told in (every, others) if told.sum() == count]
    return fitting[0] if fitting else np.zeros_like(every)
