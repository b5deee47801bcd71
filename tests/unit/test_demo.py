"""What the demo's page says and draws, without a page and without models."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
import torch
from PIL import Image

from prologue_bench.config.settings import Guidance, Sampling
from prologue_bench.contracts import ImageSpec, Segment, TokenLayout
from prologue_bench.errors import UserError
from prologue_bench.runs.demo import picture
from prologue_bench.runs.demo.answers import Form
from prologue_bench.runs.demo.markup import gallery, message, swapped, tokens_over
from prologue_bench.runs.demo.picture import read_picture
from prologue_bench.runs.demo.studio import Drawn, Request
from prologue_bench.runs.demo.words import PROLOGUE, kept_words, sampling_words

BOTH = TokenLayout((Segment("prologue", 2, 8), Segment("visual", 6, 16, (2, 3))))
ALONE = TokenLayout((Segment("visual", 6, 16, (2, 3)),))
EVIL = "<script>alert(1)</script>"
SPEC = ImageSpec(1, 8, 8, ("a", "b"))


def drawn(layout: TokenLayout = BOTH, count: int = 2, **changes: Any) -> Drawn:
    rng = np.random.default_rng(0)
    found = Drawn(
        name="mine",
        request=Request(count=count),
        ids=torch.arange(count * layout.length).view(count, -1) % 8,
        labels=torch.arange(count) % 2,
        layout=layout,
        images=rng.integers(0, 256, (count, 3, 8, 12), dtype=np.uint8),
        classes=("a", "b"),
        sampling=Sampling(),
    )
    return attrs.evolve(found, **changes)


def texts(html: str) -> list[str]:
    """What stands over patches, line by line."""
    return re.findall(r"<text[^>]*>([^<]*)</text>", html)


def test_a_prologue_is_explained_in_two_sentences() -> None:
    assert len(re.findall(r"\.(?: |$)", PROLOGUE)) == 2


def test_each_id_stands_over_its_own_patch() -> None:
    html = tokens_over(drawn(), 0, "an image")
    places = re.findall(r'<text x="(\d+)" y="([\d.]+)"[^>]*>(\d+)</text>', html)
    assert [int(found) for *_, found in places] == [2, 3, 4, 5, 6, 7]
    assert [int(x) // 40 for x, *_ in places] == [0, 1, 2] * 2, "the order is row by row"
    assert [float(y) > 40 for _, y, _ in places] == [False] * 3 + [True] * 3
    assert 'viewBox="0 0 120 80"' in html, "as wide and high as the image"
    chips = re.search(r'<ol class="chips">(.*?)</ol>', html)
    assert chips is not None
    assert re.findall(r"<li>(\d+)</li>", chips[1]) == ["0", "1"], "a prologue has no patches"


def test_what_differs_from_before_is_marked_in_the_drawing_and_in_the_table() -> None:
    before = drawn().ids[0]
    after = before.clone()
    after[[0, 4, 7]] += 1
    html = tokens_over(drawn(ids=after[None], count=1), 0, "an image", before)
    assert html.count('class="changed"') == 2
    assert "prologue: 2 tokens of 8 codes, 1 changed" in html
    assert "visual: 6 tokens of 16 codes, 2 changed" in html
    assert html.count("<mark>") == 1 + 3, "one beside the image, all in the table"
    assert "changed" not in tokens_over(drawn(), 0, "an image")


def test_layouts_of_other_tokenizers_are_drawn_too() -> None:
    books = TokenLayout((Segment("visual", 12, 16, (2, 3), codebooks=2),))
    assert len(texts(tokens_over(drawn(books), 0, "an image"))) == 12
    many = TokenLayout((Segment("visual", 36, 16, (2, 3), codebooks=6),))
    assert texts(tokens_over(drawn(many), 0, "an image")).count("…") == 6
    levels = TokenLayout((Segment("1", 1, 8, (1, 1)), Segment("2", 4, 8, (2, 2))))
    html = tokens_over(drawn(levels), 0, "an image")
    assert len(texts(html)) == 4
    assert html.count('class="chips"') == 1
    fine = TokenLayout((Segment("5", 25, 8, (5, 5)), Segment("6", 36, 8, (6, 6))))
    assert "5: 25 tokens of 8 codes; in the table" in tokens_over(drawn(fine), 0, "an image")
    queries = TokenLayout((Segment("queries", 100, 8),))
    html = tokens_over(drawn(queries), 0, "an image")
    assert "<svg" not in html
    assert "No token stands for one patch." in html
    assert "and 36 more in the table" in html
    wide = TokenLayout((Segment("visual", 64 * 64, 8, (64, 64)),))
    assert texts(tokens_over(drawn(wide), 0, "an image")) == [], "nobody could read them"


def test_a_gallery_is_one_group_of_radio_buttons() -> None:
    html = gallery(drawn(count=3), "drawn-0", "temperature 1", "Image", 1)
    assert re.findall(r'name="(.*?)" value="(\d)"( checked)?', html) == [
        ("drawn-0", "0", ""),
        ("drawn-0", "1", " checked"),
        ("drawn-0", "2", ""),
    ]
    assert re.findall(r'class="class">(.*?)<', html) == ["a", "b", "a"]
    same = gallery(drawn(labels=torch.tensor([1, 1])), "drawn-0", "", "Image")
    assert re.findall(r'class="class">(.*?)<', same) == ["", ""], "not the same name again"
    assert "checked" in gallery(drawn(classes=(), labels=torch.zeros(2).long()), "g", "", "Image")


def test_names_of_others_are_text() -> None:
    evil = drawn(name=EVIL, classes=(EVIL, "b"))
    pages = [
        message(EVIL),
        gallery(evil, "drawn-0", EVIL, "Image"),
        tokens_over(evil, 0, EVIL),
        swapped(evil, evil, 0, 1),
    ]
    assert all("<script" not in html and "&lt;script" in html for html in pages)


def test_a_swap_says_how_many_tokens_behind_the_prologue_differ() -> None:
    before = drawn()
    ids = before.ids.clone()
    ids[0, :2] = before.ids[1, :2]
    ids[1, :2] = before.ids[0, :2]
    ids[1, [2, 5, 6]] += 1
    html = swapped(before, attrs.evolve(before, ids=ids), 0, 1)
    assert re.findall(r"<small>(.*?)</small>", html) == [
        "0 of 6 tokens behind it differ",
        "3 of 6 tokens behind it differ",
    ]


@pytest.mark.parametrize(
    ("sampling", "layout", "words"),
    [
        (Sampling(), BOTH, "temperature 1, no guidance"),
        (Sampling(guidance={"all": Guidance(scale=1.0)}), BOTH, "temperature 1, no guidance"),
        (
            Sampling(temperature={"prologue": 0.9}, top_k=100, top_p=0.5),
            BOTH,
            "temperature 0.9 for prologue and 1 for visual, no guidance, top-k 100, top-p 0.5",
        ),
        (
            Sampling(temperature={"prologue": 0.9}, guidance={"visual": Guidance(scale=2.0)}),
            ALONE,
            "temperature 1, guidance 2",
        ),
        (
            Sampling(guidance={"all": Guidance(schedule="linear", scale=3.0)}),
            BOTH,
            "temperature 1, guidance 1 to 3 (linear)",
        ),
        (
            Sampling(guidance={"visual": Guidance(scale=2.0)}),
            BOTH,
            "temperature 1, guidance 1 for prologue and 2 for visual",
        ),
    ],
)
def test_sampling_in_words(sampling: Sampling, layout: TokenLayout, words: str) -> None:
    assert sampling_words(sampling, layout) == words


def test_kept_tokens_in_words() -> None:
    found = [kept_words(BOTH, kept) for kept in (0, 1, 2, 4)]
    assert found == [
        "no token",
        "1 of 2 prologue tokens",
        "the 2 prologue tokens",
        "the 2 prologue tokens and 2 of 6 visual tokens",
    ]


def form(**changes: Any) -> Form:
    found = Form(label="a", seed=1, count=2, as_measured=True, temperature=0.5, guidance=2)
    return attrs.evolve(found, **changes)


def test_sliders_count_where_the_report_does_not() -> None:
    assert form().request().by_hand is None
    by_hand = form(as_measured=False).request().by_hand
    assert by_hand is not None
    assert (by_hand.temperature, by_hand.guidance) == (0.5, 2)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"seed": None}, "seed: found no number; give one"),
        ({"count": float("nan")}, "images: found no number; give one"),
        ({"as_measured": False, "temperature": None}, "temperature: found no number"),
    ],
)
def test_an_empty_field_is_named(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(UserError, match=text):
        form(**changes).request()


@pytest.mark.parametrize(("seed", "count"), [(-1, 2), (2**53, 2), (0, 0), (0, 41)])
def test_a_request_beyond_what_can_be_drawn_is_refused(seed: int, count: int) -> None:
    with pytest.raises(UserError, match=r"seed of a draw|images, expected 1 to 40"):
        Request(seed=seed, count=count).check()


def saved(path: Path, image: Image.Image, **options: Any) -> Path:
    image.save(path, **options)
    return path


def test_the_middle_of_a_picture_is_what_the_models_are_given(tmp_path: Path) -> None:
    wide = Image.new("RGB", (40, 20), "black")
    wide.paste("white", (10, 0, 30, 20))
    found = read_picture(saved(tmp_path / "wide.png", wide), SPEC)
    assert found.shape == (1, 1, 8, 8)
    assert found.dtype == np.uint8
    assert found.min() > 200, "both sides are cut off"
    assert read_picture(tmp_path / "wide.png", SPEC, inverted=True).max() < 55
    assert read_picture(tmp_path / "wide.png", ImageSpec(3, 4, 8)).shape == (1, 3, 4, 8)


def test_transparent_parts_are_white_and_a_photograph_stands_upright(tmp_path: Path) -> None:
    clear = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    assert (read_picture(saved(tmp_path / "clear.png", clear), SPEC) == 255).all()
    lying = Image.new("L", (8, 8), 0)
    lying.paste(255, (0, 0, 4, 8))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise: what is on the left comes up
    found = read_picture(saved(tmp_path / "lying.png", lying, exif=exif), SPEC)[0, 0]
    assert found[:3].min() > 200 > 55 > found[5:].max()


def test_what_is_no_picture_is_named_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "notes.png").write_text("not a picture")
    with pytest.raises(UserError, match=r"notes.png: cannot be read .* choose a PNG or JPEG"):
        read_picture(tmp_path / "notes.png", SPEC)
    with pytest.raises(UserError, match=r"gone.png: cannot be read"):
        read_picture(tmp_path / "gone.png", SPEC)
    image = saved(tmp_path / "grey.png", Image.new("L", (8, 8)))
    with pytest.raises(UserError, match="5 channels; a picture of yours has 1 or 3"):
        read_picture(image, ImageSpec(5, 8, 8))
    monkeypatch.setattr(picture, "MOST_PIXELS", 63)
    with pytest.raises(UserError, match="found 8 x 8 pixels, expected at most 63"):
        read_picture(image, SPEC)
