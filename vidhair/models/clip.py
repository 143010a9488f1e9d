"""CLIP (Radford et al. 2021): pictures and texts as vectors of one space, and its tokens.

B pictures or texts, T tokens, W width of a token, E width of an embedding. The networks follow the
paper's ViT-B/32; sizes are read from the weights.
"""

import html
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidhair.checkpoints.names import rename
from vidhair.checkpoints.third_party import check_tensors, read_checkpoint, shown_path
from vidhair.errors import CheckpointUnreadable, WeightsDoNotFit

MEAN = (0.48145466, 0.4578275, 0.40821073)  # of the pictures that it was trained on, and deviation
DEVIATION = (0.26862954, 0.26130258, 0.27577711)
HEAD_WIDTH = 64
START, END = "<|startoftext|>", "<|endoftext|>"
WORD_END = "</w>"
PIECE = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d|[^\W\d_]+|\d|(?:[^\s\w]|_)+", re.IGNORECASE)
BYTES = 256

# Names of OpenAI's file → ours, then those of transformers'.
_BLOCK = {
    r"attn\.in_proj_(weight|bias)": r"qkv.\1",
    r"attn\.out_proj\.(weight|bias)": r"out.\1",
    r"ln_(1|2)\.(weight|bias)": r"norm\1.\2",
    r"mlp\.c_fc\.(weight|bias)": r"widen.\1",
    r"mlp\.c_proj\.(weight|bias)": r"narrow.\1",
}
_HF_BLOCK = {
    r"self_attn\.qkv\.(weight|bias)": r"qkv.\1",
    r"self_attn\.out_proj\.(weight|bias)": r"out.\1",
    r"layer_norm(1|2)\.(weight|bias)": r"norm\1.\2",
    r"mlp\.fc1\.(weight|bias)": r"widen.\1",
    r"mlp\.fc2\.(weight|bias)": r"narrow.\1",
}


def _blocks(theirs: str, ours: str, table: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(
        (rf"{theirs}\.(\d+)\.{pattern}", rf"{ours}.blocks.\1.{_shifted(name)}")
        for pattern, name in table.items()
    )


def _shifted(name: str) -> str:
    """Groups of a name, counted from two."""
    return re.sub(r"\\(\d)", lambda match: rf"\{int(match[1]) + 1}", name)


OPENAI = (
    (r"visual\.conv1\.weight", "image.patches.weight"),
    (r"visual\.class_embedding", "image.class_token"),
    (r"visual\.positional_embedding", "image.places"),
    (r"visual\.ln_pre\.(weight|bias)", r"image.norm_before.\1"),
    (r"visual\.ln_post\.(weight|bias)", r"image.norm_after.\1"),
    (r"visual\.proj", "image.projection"),
    (r"token_embedding\.weight", "text.tokens.weight"),
    (r"positional_embedding", "text.places"),
    (r"ln_final\.(weight|bias)", r"text.norm_after.\1"),
    (r"text_projection", "text.projection"),
    *_blocks(r"visual\.transformer\.resblocks", "image", _BLOCK),
    *_blocks(r"transformer\.resblocks", "text", _BLOCK),
)
TRANSFORMERS = (
    (r"vision_model\.embeddings\.patch_embedding\.weight", "image.patches.weight"),
    (r"vision_model\.embeddings\.class_embedding", "image.class_token"),
    (r"vision_model\.embeddings\.position_embedding\.weight", "image.places"),
    (r"vision_model\.pre_layrnorm\.(weight|bias)", r"image.norm_before.\1"),
    (r"vision_model\.post_layernorm\.(weight|bias)", r"image.norm_after.\1"),
    (r"visual_projection\.weight", "image.projection"),
    (r"text_model\.embeddings\.token_embedding\.weight", "text.tokens.weight"),
    (r"text_model\.embeddings\.position_embedding\.weight", "text.places"),
    (r"text_model\.final_layer_norm\.(weight|bias)", r"text.norm_after.\1"),
    (r"text_projection\.weight", "text.projection"),
    *_blocks(r"vision_model\.encoder\.layers", "image", _HF_BLOCK),
    *_blocks(r"text_model\.encoder\.layers", "text", _HF_BLOCK),
)
# What files hold beside weights: the temperature of training, and indices.
UNUSED = re.compile(r"logit_scale|.*position_ids|input_resolution|context_length|vocab_size")


@dataclass(frozen=True, kw_only=True)
class CLIPConfig:
    side: int = 224
    patch: int = 32
    width: int = 768
    layers: int = 12
    words: int = 49408
    length: int = 77
    text_width: int = 512
    text_layers: int = 12
    embedding: int = 512


class Block(nn.Module):
    """Self-attention, then two layers, each beside its input (pre-norm)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = max(1, width // HEAD_WIDTH)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.widen, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor, causal: bool) -> Tensor:
        """[B, T, W] → [B, T, W]."""
        parts = self.qkv(self.norm1(x)).unflatten(-1, (3, self.heads, -1)).unbind(2)
        query, key, value = (part.transpose(1, 2) for part in parts)
        seen = F.scaled_dot_product_attention(query, key, value, is_causal=causal)
        x = x + self.out(seen.transpose(1, 2).flatten(2))
        wide = self.widen(self.norm2(x))
        # The published networks approximate GELU by x·σ(1.702 x).
        result: Tensor = x + self.narrow(wide * torch.sigmoid(1.702 * wide))
        return result


class ImageEncoder(nn.Module):
    def __init__(self, c: CLIPConfig) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, c.width, c.patch, stride=c.patch, bias=False)
        self.class_token = nn.Parameter(torch.zeros(c.width))
        self.places = nn.Parameter(torch.zeros((c.side // c.patch) ** 2 + 1, c.width))
        self.norm_before, self.norm_after = nn.LayerNorm(c.width), nn.LayerNorm(c.width)
        self.blocks = nn.ModuleList(Block(c.width) for _ in range(c.layers))
        self.projection = nn.Parameter(torch.zeros(c.width, c.embedding))

    def forward(self, pictures: Tensor) -> Tensor:
        """[B, 3, side, side] as the network takes them → [B, E]."""
        patches = self.patches(pictures).flatten(2).transpose(1, 2)
        first = self.class_token.expand(len(patches), 1, -1)
        x = self.norm_before(torch.cat([first, patches], 1) + self.places)
        for block in self.blocks:
            x = block(x, causal=False)
        result: Tensor = self.norm_after(x[:, 0]) @ self.projection
        return result


class TextEncoder(nn.Module):
    def __init__(self, c: CLIPConfig) -> None:
        super().__init__()
        self.tokens = nn.Embedding(c.words, c.text_width)
        self.places = nn.Parameter(torch.zeros(c.length, c.text_width))
        self.blocks = nn.ModuleList(Block(c.text_width) for _ in range(c.text_layers))
        self.norm_after = nn.LayerNorm(c.text_width)
        self.projection = nn.Parameter(torch.zeros(c.text_width, c.embedding))

    def forward(self, tokens: Tensor) -> Tensor:
        """int64 [B, T] → [B, E], read at the last token, which is the largest number."""
        x = self.tokens(tokens) + self.places
        for block in self.blocks:
            x = block(x, causal=True)
        x = self.norm_after(x)[torch.arange(len(x), device=x.device), tokens.argmax(1)]
        result: Tensor = x @ self.projection
        return result


class CLIP(nn.Module):
    def __init__(self, config: CLIPConfig) -> None:
        super().__init__()
        self.config = config
        self.image, self.text = ImageEncoder(config), TextEncoder(config)

    def see(self, pictures: Tensor) -> Tensor:
        """Pictures [B, 3, H, W] in −1 … 1 of any size → [B, E]."""
        mean, deviation = (pictures.new_tensor(x)[:, None, None] for x in (MEAN, DEVIATION))
        side = self.config.side
        sized = F.interpolate(
            pictures, (side, side), mode="bicubic", align_corners=False, antialias=True
        )
        result: Tensor = self.image((sized / 2 + 0.5 - mean) / deviation)
        return result

    def forward(self, pictures: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        return self.see(pictures), self.text(tokens)


# ---- tokens


class Tokens:
    """Byte-pair encoding (Sennrich et al. 2016) by a list of merges, the most frequent first."""

    def __init__(self, merges: list[tuple[str, str]]) -> None:
        letters = list(byte_letters().values())
        words = [*letters, *(letter + WORD_END for letter in letters)]
        words += [*("".join(pair) for pair in merges), START, END]
        self.number = {word: index for index, word in enumerate(words)}
        self.rank = {pair: index for index, pair in enumerate(merges)}

    def __call__(self, texts: list[str], length: int) -> Tensor:
        """int64 [B, length]; what is too long is cut."""
        rows = torch.zeros(len(texts), length, dtype=torch.int64)
        for row, text in zip(rows, texts, strict=True):
            begun = [self.number[START], *self.pieces(text)][: length - 1]
            found = [*begun, self.number[END]]
            row[: len(found)] = torch.tensor(found)
        return rows

    def pieces(self, text: str) -> list[int]:
        clean = " ".join(html.unescape(html.unescape(text)).split()).lower()
        letters = byte_letters()
        found = []
        for piece in PIECE.findall(clean):
            word = [letters[byte] for byte in piece.encode()]
            found += [self.number[part] for part in self.merged(word)]
        return found

    def merged(self, letters: list[str]) -> list[str]:
        """The parts of a word."""
        parts = [*letters[:-1], f"{letters[-1]}{WORD_END}"]
        while known := [pair for pair in pairwise(parts) if pair in self.rank]:
            first, second = min(known, key=self.rank.__getitem__)
            joined, at = [], 0
            while at < len(parts):
                two = parts[at : at + 2] == [first, second]
                joined.append(first + second if two else parts[at])
                at += 2 if two else 1
            parts = joined
        return parts


def byte_letters() -> dict[int, str]:
    """A visible letter for every byte: its own where it has one, else one beyond Latin-1."""
    visible = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(BYTES) if byte not in visible]
    table = {byte: chr(byte) for byte in visible}
    return table | {byte: chr(BYTES + index) for index, byte in enumerate(hidden)}


# ---- files


def read_merges(path: Path) -> Tokens:
    """Of merges.txt, two parts per line. Raises CheckpointUnreadable."""
    try:
        # What is no text at all is no list either; a codec's words about bytes help nobody.
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise CheckpointUnreadable(
            f"{shown_path(path)} cannot be read ({error}); give CLIP's merges.txt"
        ) from error
    pairs = [tuple(line.split(" ")) for line in lines if line and "#version:" not in line]
    merges = [(pair[0], pair[1]) for pair in pairs if len(pair) == 2 and all(pair)]
    if not merges or len(merges) < len(pairs) or "\ufffd" in "".join(lines):
        raise CheckpointUnreadable(
            f"{shown_path(path)} is no list of merges, two parts a line; give CLIP's merges.txt"
        )
    return Tokens(merges)


def read_clip(path: Path) -> CLIP:
    """Of a safetensors file, or of one that torch saved, under OpenAI's or transformers' names.

    Raises CheckpointUnreadable or WeightsDoNotFit.
    """
    held = read_checkpoint(path).data
    held = held if isinstance(held, dict) else {}
    weights = {n: t for n, t in held.items() if isinstance(t, Tensor) and not UNUSED.fullmatch(n)}
    if "visual_projection.weight" in weights:
        named = _renamed(_joined(weights), TRANSFORMERS)
        for name in ("image.projection", "text.projection"):
            if name in named:
                named[name] = named[name].t()
    else:
        named = _renamed(weights, OPENAI)
    named = {name: tensor.float() for name, tensor in check_tensors(path, named).items()}
    try:
        clip = CLIP(_config(named))
        clip.load_state_dict(named, strict=True)
    except (RuntimeError, LookupError, ValueError, AttributeError) as error:
        reason = (str(error).splitlines() or [""])[-1].strip()
        raise WeightsDoNotFit(
            f"{shown_path(path)} holds no CLIP of the ViT kind ({reason}); give OpenAI's ViT-B/32 "
            "as a table of tensors"
        ) from error
    return clip.eval().requires_grad_(False)


def _renamed(
    weights: Mapping[str, Tensor], table: tuple[tuple[str, str], ...]
) -> dict[str, Tensor]:
    known = rename(weights, table)
    return {known.get(name, name): tensor for name, tensor in weights.items()}


def _joined(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """transformers' queries, keys and values as one matrix each, as OpenAI's are."""
    found = {n: t for n, t in weights.items() if not re.search(r"self_attn\.[qkv]_proj\.", n)}
    for name in weights:
        if ".q_proj." in name:
            parts = [name.replace(".q_proj.", f".{letter}_proj.") for letter in "qkv"]
            found[name.replace("q_proj", "qkv")] = torch.cat([weights[part] for part in parts])
    return found


def _config(weights: Mapping[str, Tensor]) -> CLIPConfig:
    """From the shapes. Raises LookupError, ValueError or AttributeError."""
    width, _, patch, _ = weights["image.patches.weight"].shape
    places = len(weights["image.places"]) - 1
    words, text_width = weights["text.tokens.weight"].shape
    layers = [
        len({m[1] for name in weights if (m := re.match(rf"{part}\.blocks\.(\d+)\.", name))})
        for part in ("image", "text")
    ]
    return CLIPConfig(
        side=patch * round(places**0.5),
        patch=patch,
        width=width,
        layers=layers[0],
        words=words,
        length=len(weights["text.places"]),
        text_width=text_width,
        text_layers=layers[1],
        embedding=weights["image.projection"].shape[1],
    )
