import io

import pandas as pd
import pytest
from PIL import Image

from razor_pipeline.reporting.panels import THUMBNAIL, cards, image_panel

from .outputs import TARGET, drawings, predictions, samples


def test_cards_say_what_each_model_said_and_whether_it_was_right() -> None:
    found = cards(samples(), predictions())
    assert [card.group for card in found] == ["target"] * 2 + ["near_twin"] * 2 + ["lost"] + ["other"] * 3 + [
        "general"
    ] * 3
    target = found[0]
    assert target.label == TARGET
    assert [answer.correct for answer in target.base] == [True, False, False]
    assert not any(answer.correct for answer in target.edited)
    assert [answer.correct for answer in found[-1].edited] == [True, False, False]


def test_captions_come_in_the_order_of_their_rank() -> None:
    shuffled = predictions().sample(frac=1.0, random_state=0)
    first = cards(samples(), shuffled)
    for card in first:
        assert list(card.base) == sorted(card.base, key=lambda answer: -answer.score)


def test_any_prompt_of_the_label_is_right_but_not_that_of_another_style() -> None:
    table = samples().copy()
    row = table.index[(table["label"] == TARGET) & (table["split"] == "edit")][0]
    table.loc[row, "prompt"] = "a portrait of Ada Moreau"
    told = predictions().replace({"caption": {f"a photo of {TARGET}": "a portrait of Ada Moreau"}})
    assert cards(table, told)[0].base[0].correct
    assert not cards(samples(), told)[0].base[0].correct
    painted = cards(samples(), predictions())[-1]
    assert "image in" in painted.base[1].caption
    assert not painted.base[1].correct


def test_every_prediction_is_shown_in_rows_of_a_few() -> None:
    """A report on two targets shows both; a long group takes more rows, not a wider picture."""
    table, told = samples(), predictions()
    rows = table[~table["sample_id"].isin(told["sample_id"])].head(6)
    first = told[told["sample_id"] == told["sample_id"][0]]
    more = pd.concat([told, *(first.assign(sample_id=name) for name in rows["sample_id"])])
    found = cards(table, more)
    assert [card.label for card in found if card.group == "target"][2:] == list(rows["label"])
    plain, longer = (Image.open(io.BytesIO(image_panel(shown))) for shown in (cards(table, told), found))
    assert longer.height > plain.height
    assert longer.width < 1.5 * plain.width


@pytest.mark.parametrize("caption", ["$10 off % $20", "T-shirt $^$", r"a $5 \frac $"])
def test_a_caption_with_dollar_signs_is_text(caption: str) -> None:
    """Between two of them matplotlib would read mathematics, and fail."""
    for shown in (
        cards(samples(), predictions().assign(caption=caption)),
        cards(samples(), drawings().assign(caption=caption)),
    ):
        assert image_panel(shown)


def test_large_grey_pictures_become_small_colour_thumbnails() -> None:
    buffer = io.BytesIO()
    Image.new("L", (92 * 10, 112 * 10), 128).save(buffer, "PPM")
    table, told = samples().copy(), predictions()
    place = table.index[table["sample_id"] == told["sample_id"][0]][0]
    table.at[place, "image_bytes"] = buffer.getvalue()
    image = cards(table, told)[0].image
    assert (image.mode, max(image.size)) == ("RGB", THUMBNAIL)


def test_a_prediction_of_an_unknown_sample_is_refused_by_name() -> None:
    told = predictions().replace({"sample_id": {predictions()["sample_id"][0]: "portraits/nobody"}})
    with pytest.raises(ValueError, match="'portraits/nobody'"):
        cards(samples(), told)


def test_the_panel_is_a_picture_also_without_predictions() -> None:
    for table in (predictions(), predictions().head(0)):
        image = Image.open(io.BytesIO(image_panel(cards(samples(), table))))
        image.load()
        assert image.format == "PNG"


def test_a_target_without_near_twin_has_no_row_for_it() -> None:
    told: pd.DataFrame = predictions().query("group != 'near_twin'")
    assert {card.group for card in cards(samples(), told)} == {"target", "lost", "other", "general"}


def test_a_drawing_is_shown_before_and_after_with_what_the_judges_see() -> None:
    found = cards(samples(), drawings())
    assert [(card.group, card.title) for card in found] == [("target", "cat, Mosaic")] * 2 + [
        ("other", "dog, Mosaic")
    ] * 2 + [("general", "fish, Mosaic")] * 2
    first = found[0]
    assert first.after is not None
    assert first.image.getpixel((0, 0)) == (255, 255, 255)
    assert first.after.getpixel((0, 0)) == (0, 0, 0)
    assert (first.base[0].caption, first.base[0].correct) == ("cat, Mosaic", True)
    assert (first.edited[0].caption, first.edited[0].correct) == ("dog, Mosaic", False)
    assert all(
        card.after is None for card in cards(samples(), predictions())
    )  # control: photographs have one
    picture = Image.open(io.BytesIO(image_panel(found)))
    assert picture.height > picture.width / 2
