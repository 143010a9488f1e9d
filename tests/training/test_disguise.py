"""The disguise: that labels stay true of the picture, whatever is done to it."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from vidhair.models.parsers.face_parser import UNKNOWN, Label
from vidhair.training.disguise import (
    ACCESSORY,
    CLOTHES,
    HAIR,
    SKIN,
    Disguise,
    blurred,
    extent,
)

pytestmark = pytest.mark.usefixtures("one_thread")

SIZE, BATCH = 48, 8


def portraits(batch: int = BATCH) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Red hair above a round face above blue clothes, on black."""
    axis = torch.linspace(-1, 1, SIZE + 16)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    face = ((x / 0.3) ** 2 + (y / 0.4) ** 2 < 1).float()
    hair = ((x / 0.35) ** 2 + ((y + 0.2) / 0.4) ** 2 < 1).float() * (1 - face)
    clothes = ((y > 0.4) & (x.abs() < 0.6)).float() * (1 - face)
    planes = torch.stack([face, hair, clothes, face * 0, face * 0])
    colors = torch.tensor([[0.8, 0.6, 0.5], [0.6, 0.1, 0.1], [0.1, 0.1, 0.7], [0, 0, 0], [0, 0, 0]])
    image = torch.einsum("phw,pc->chw", planes, colors)
    return tuple(t.expand(batch, *t.shape).clone() for t in (image, planes, face[None]))  # type: ignore[return-value]


def disguised(seed: int = 0, batch: int = BATCH) -> tuple[torch.Tensor, ...]:
    return Disguise(torch.Generator().manual_seed(seed))(*portraits(batch), SIZE)


def test_pictures_masks_and_guides_are_of_one_size_and_in_range() -> None:
    image, masks, guides = disguised()
    assert image.shape == (BATCH, 3, SIZE, SIZE)
    assert masks.shape == (BATCH, 4, SIZE, SIZE) and guides.shape == (BATCH, 2, SIZE, SIZE)
    for values in (image, masks, guides):
        assert values.isfinite().all()
        assert float(values.min()) >= -1e-5 and float(values.max()) <= 1 + 1e-5
    assert torch.allclose(masks.sum(1), torch.ones(1), atol=1e-4)


def test_a_seed_gives_one_disguise() -> None:
    first, again, other = disguised(1), disguised(1), disguised(2)
    assert all(map(torch.equal, first, again))
    assert not torch.equal(first[0], other[0])


def test_no_two_pictures_are_alike() -> None:
    image, _, _ = disguised()
    apart = (image[:, None] - image[None]).abs().mean((2, 3, 4))
    assert float((apart + torch.eye(BATCH)).min()) > 0.02


def test_color_alone_does_not_tell_hair() -> Any:
    """Over many pictures, hair is lighter than skin nearly as often as not much darker."""
    image, masks, _ = disguised(batch=64)
    light = image.mean(1, keepdim=True)

    def mean(label: Label) -> torch.Tensor:
        mask = (masks[:, label : label + 1] > 0.9).float()
        return (light * mask).sum((1, 2, 3)) / mask.sum((1, 2, 3)).clamp_min(1)

    lighter = (mean(Label.HAIR) > mean(Label.SKIN)).float().mean()
    assert 0.05 < float(lighter) < 0.6


def test_hands_are_skin_and_things_are_clothes() -> None:
    disguise = Disguise(torch.Generator().manual_seed(0))
    disguise.chance = lambda batch, probability: torch.ones(batch, 1, 1, 1)  # type: ignore[method-assign]
    image, planes, _ = portraits()
    disguise.tones = torch.rand(BATCH, 5, 3)
    _, covered, person = disguise.occlude(image, planes)
    assert float(covered[:, HAIR].sum()) <= float(planes[:, HAIR].sum())
    assert float(covered[:, ACCESSORY].sum()) > 0
    assert float(covered[:, SKIN].sum()) > float(planes[:, SKIN].sum())
    assert float(covered.sum(1).max()) <= 1 + 1e-5
    assert not person[covered[:, ACCESSORY : ACCESSORY + 1] == 1].any()


def test_guides_follow_the_person_and_are_hidden_at_times() -> None:
    _, masks, guides = disguised(batch=64)
    hidden = (guides == UNKNOWN).flatten(2).all(2).float().mean(0)
    assert (hidden > 0.02).all() and (hidden < 0.3).all()
    seen = ~(guides[:, 0] == UNKNOWN).flatten(1).all(1)
    person = 1 - masks[seen, Label.BACKGROUND]
    silhouette = guides[seen, 0]
    assert float(silhouette[person > 0.9].mean()) > 0.8
    assert float(silhouette[person < 0.1].mean()) < 0.2


def test_most_silhouettes_follow_the_outline_within_a_pixel_or_two() -> None:
    _, planes, _ = portraits(64)
    person = planes.sum(1, keepdim=True)
    found = Disguise(torch.Generator().manual_seed(0)).silhouette(person, planes)
    inner = -F.max_pool2d(-person, 5, 1, 2) > 0.99
    outer = F.max_pool2d(person, 5, 1, 2) < 0.01
    right = [
        ((found > 0.5) == wanted)[row][area[row]].float().mean()
        for row in range(64)
        for area, wanted in ((inner, True), (outer, False))
    ]
    assert (torch.tensor(right) > 0.97).float().mean() > 0.7


def test_a_blur_of_nothing_changes_nothing_and_each_picture_has_its_own() -> None:
    image = torch.rand(2, 3, 20, 20, generator=torch.Generator().manual_seed(0))
    out = blurred(image, torch.tensor([0.0, 2.0]))
    assert torch.allclose(out[0], image[0], atol=1e-5)
    assert float(out[1].var()) < 0.2 * float(image[1].var())
    flat = torch.full((1, 1, 9, 9), 0.4)
    assert torch.allclose(blurred(flat, torch.tensor([3.0])), flat, atol=1e-5)


def always(seed: int = 0) -> Disguise:
    """One whose every chance comes true."""
    disguise = Disguise(torch.Generator().manual_seed(seed))
    disguise.chance = lambda batch, probability: torch.ones(batch, 1, 1, 1)  # type: ignore[method-assign]
    return disguise


def test_necklines_turn_cloth_below_the_chin_into_skin() -> None:
    image, planes, oval = portraits(32)
    bare_image, bared = always().bare(image, planes, oval)
    more = bared[:, SKIN] - planes[:, SKIN]
    assert float(more.min()) >= 0 and torch.allclose(bared.sum(1), planes.sum(1), atol=1e-5)
    assert torch.allclose(more, planes[:, CLOTHES] - bared[:, CLOTHES], atol=1e-5)
    share = more.sum((1, 2)) / planes[:, CLOTHES].sum((1, 2))
    assert float(share.min()) < 0.3 and float(share.max()) > 0.5, "shallow and deep ones"
    now_skin = more[:, None] > 0.99
    skin = torch.tensor([0.8, 0.6, 0.5])[None, :, None, None]
    assert torch.allclose(bare_image * now_skin, skin * now_skin, atol=0.05)
    untouched = (more == 0)[:, None]
    assert torch.equal(bare_image * untouched, image * untouched)


def test_locks_fall_beside_the_face_in_the_color_of_the_hair() -> None:
    image, planes, oval = portraits(32)
    draped_image, draped = always().drape(image, planes, oval)
    more = draped[:, HAIR] - planes[:, HAIR]
    assert float(draped.sum(1).max()) <= 1 + 1e-5 and float(more.min()) >= -1e-5
    assert float((more * oval[:, 0]).max()) < 1e-5, "never before the face"
    axis = torch.linspace(-1, 1, SIZE + 16)
    for side in (axis < 0, axis > 0):
        assert (more[:, :, side].sum((1, 2)) > 3).float().mean() > 0.9
    onto_chest = (more * planes[:, CLOTHES]).sum((1, 2)) > 1
    assert onto_chest.float().mean() > 0.5
    locks = (more > 0.99)[:, None].expand_as(image)
    red = draped_image[locks].view(-1)
    assert float(red.min()) >= 0
    mean = (draped_image * (more > 0.99)[:, None]).sum((0, 2, 3)) / (more > 0.99).sum()
    assert float(mean[0]) > 3 * float(mean[1]), "red as the hair is"


def test_ears_are_skin_beside_the_face() -> None:
    image, planes, oval = portraits(32)
    eared_image, eared = always().ears(image, planes, oval)
    more = eared[:, SKIN] - planes[:, SKIN]
    assert float(more.min()) >= -1e-5 and float(eared.sum(1).max()) <= 1 + 1e-5
    axis = torch.linspace(-1, 1, SIZE + 16)
    for side in (axis < 0, axis > 0):
        assert (more[:, :, side].sum((1, 2)) > 3).float().mean() > 0.9
    assert float((more * (axis.abs() > 0.6)).max()) == float((more * oval[:, 0]).max()) == 0
    assert float(more[:, axis.abs() > 0.5].max()) == 0
    ear = (more > 0.99)[:, None]
    mean = (eared_image * ear).sum((0, 2, 3)) / ear.sum()
    assert torch.allclose(mean / mean[0], torch.tensor([1, 0.75, 0.625]), atol=0.01)
    assert 0.4 < float(mean[0]) < 0.8, "as bright as skin, and darker in its folds"


def test_a_fringe_turns_the_upper_face_into_hair() -> None:
    image, planes, oval = portraits(32)
    fringed_image, fringed = always().fringe(image, planes, oval)
    more = fringed[:, HAIR] - planes[:, HAIR]
    assert float(more.min()) >= 0 and torch.allclose(fringed.sum(1), planes.sum(1), atol=1e-5)
    assert torch.allclose(more, planes[:, SKIN] - fringed[:, SKIN], atol=1e-5)
    rows = torch.linspace(-1, 1, SIZE + 16)
    upper, lower = (more[:, part].sum((1, 2)) for part in (rows < 0, rows > 0.2))
    assert (upper > 5).float().mean() > 0.8 and float(lower.mean()) < 0.2 * float(upper.mean())
    share = more.sum((1, 2)) / planes[:, SKIN].sum((1, 2))
    assert float(share.max()) > 0.3 > 0.1 > float(share.min()), "over an eye, and short ones"
    now_hair = (more > 0.99)[:, None]
    mean = (fringed_image * now_hair).sum((0, 2, 3)) / now_hair.sum()
    assert float(mean[0]) > 3 * float(mean[1]), "red as the hair is"
    untouched = (more == 0)[:, None]
    assert torch.equal(fringed_image * untouched, image * untouched)


def test_nobody_without_hair_gets_locks_or_a_fringe() -> None:
    image, planes, oval = portraits()
    planes[:, SKIN] += planes[:, HAIR]
    planes[:, HAIR] = 0
    for grow in (always().drape, always().fringe):
        assert torch.equal(grow(image, planes, oval)[1], planes)


def toned() -> Disguise:
    disguise = always()
    disguise.tones = torch.rand(32, 5, 3, generator=torch.Generator().manual_seed(1))
    return disguise


def test_the_light_on_a_part_leaves_the_others_alone() -> None:
    _, planes, oval = portraits(32)
    for light, part in (
        (toned().ombre(planes), HAIR),
        (toned().shade_of_cloth(planes), CLOTHES),
        (toned().shade_of_chin(planes, oval), SKIN),
    ):
        assert light.shape == (32, 3, SIZE + 16, SIZE + 16)
        changed = (light != 1).any(1)
        assert not changed[planes[:, part] == 0].any()
        assert changed[planes[:, part] > 0].float().mean() > 0.1
        assert float(light.min()) > 0.005 and float(light.max()) < 4


def test_the_jaw_shades_the_neck_and_not_the_face() -> None:
    _, planes, oval = portraits(64)
    rows = torch.linspace(-1, 1, SIZE + 16)[:, None]
    neck = ((rows > 0.3) & (rows.T.abs() < 0.15)).float() * (1 - oval)
    planes[:, SKIN] += neck[:, 0] * (1 - planes[:, SKIN])
    planes[:, CLOTHES] *= 1 - neck[:, 0]
    disguise = Disguise(torch.Generator().manual_seed(0))
    disguise.tones = torch.tensor([[[0.8], [0.1], [0.5], [0.1], [0.5]]]).expand(64, 5, 3)
    dark = 1 - disguise.shade_of_chin(planes, oval).mean(1, keepdim=True)
    inside = blurred(oval, torch.full((64,), 1.0)) > 0.95
    assert float(dark[inside].abs().max()) < 0.1
    near, far = (dark[(neck > 0) & band].mean() for band in ((rows < 0.55), (rows > 0.9)))
    assert float(near) > 1.3 * float(far)


def test_hair_shades_skin_and_cloth_beside_it_and_nothing_else() -> None:
    _, planes, oval = portraits(32)
    shade = always().shade_of_hair(planes, oval)
    onto = planes[:, SKIN] + planes[:, CLOTHES]
    assert torch.equal(
        shade * (onto == 0)[:, None], torch.ones(1) * (onto == 0)[:, None].expand_as(shade)
    )
    assert float(shade.min()) > 0.05 and float(shade.max()) < 1.05
    near = blurred(planes[:, HAIR : HAIR + 1], torch.full((32,), 2.0)) > 0.2
    far = blurred(planes[:, HAIR : HAIR + 1], torch.full((32,), 8.0)) < 0.01
    body = (onto > 0.99)[:, None]
    dark = 1 - shade.mean(1, keepdim=True)
    assert float(dark[near & body].mean()) > 3 * float(dark[far & body].mean())


def test_the_extent_of_an_oval_is_that_of_its_ellipse() -> None:
    _, _, oval = portraits(1)
    assert [round(float(v), 2) for v in extent(oval)] == [0.0, 0.0, 0.3, 0.4]
    assert all(torch.isfinite(v).all() for v in extent(torch.zeros(1, 1, SIZE, SIZE)))
