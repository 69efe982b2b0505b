import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from razor_pipeline.params.razor import RazorParams, SearchParams
from razor_pipeline.reporting.curve import _against_retention, chosen_step, search_curve
from razor_pipeline.reporting.figures import DARK, LIGHT, new_figure
from razor_pipeline.reporting.heatmap import _grid, row_name, score_heatmap

from .outputs import component_scores, edit_report, edit_trace, hardened_trace

RAZOR = RazorParams()


def pixels(data: bytes) -> np.ndarray:
    image = Image.open(io.BytesIO(data))
    image.load()
    return np.asarray(image.convert("RGB")).astype(int)


def near(image: np.ndarray, colour: str) -> int:
    """Pixels of about a colour."""
    wanted = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])
    return int((np.abs(image - wanted).max(axis=-1) < 12).sum())


@pytest.mark.parametrize("granularity", ["matrix", "head", "mixed"])
def test_the_heat_map_draws_matrices_and_heads(granularity: str) -> None:
    scores, edited = component_scores(granularity), edit_report(granularity)["components"]
    assert near(pixels(score_heatmap(scores, edited)), LIGHT.accent) > 1000


def test_only_edited_components_are_framed() -> None:
    framed = near(pixels(score_heatmap(component_scores(), edit_report()["components"])), LIGHT.accent)
    one = near(pixels(score_heatmap(component_scores(), edit_report()["components"][:1])), LIGHT.accent)
    none = near(pixels(score_heatmap(component_scores(), [])), LIGHT.accent)
    assert none == 0 < one < framed


def test_every_score_stands_in_its_own_cell() -> None:
    scores = component_scores()
    vision = scores[scores["tower"] == "vision"]
    grid = _grid(vision)
    assert list(grid.index)[:4] == ["attention.q", "attention.k", "attention.v", "attention.out"]
    for row in vision.itertuples():
        assert grid.loc[row_name(row.component), row.layer] == row.score
    assert int(grid.notna().sum().sum()) == len(vision)


def test_heads_are_ordered_by_number() -> None:
    names = [f"vision.0.attention.head{i}" for i in (10, 2, 0)]
    frame = pd.DataFrame({"component": names, "layer": 0, "score": [1.0, 2.0, 3.0]})
    assert list(_grid(frame).index) == ["attention.head0", "attention.head2", "attention.head10"]


@pytest.mark.parametrize("narrow", [False, True])
def test_figures_are_the_same_bytes_every_time_and_follow_the_theme(narrow: bool) -> None:
    first = search_curve(edit_trace(), RAZOR, DARK, narrow)
    assert first == search_curve(edit_trace(), RAZOR, DARK, narrow)
    assert tuple(pixels(first)[0, 0]) == tuple(int(DARK.paper[i : i + 2], 16) for i in (1, 3, 5))
    assert first != search_curve(edit_trace(), RAZOR, LIGHT, narrow)


def test_the_chosen_step_is_the_smallest_that_met_the_goal() -> None:
    assert chosen_step(edit_trace(), "knowledge_auc", 0.5) == 0.037
    assert chosen_step(edit_trace(), "knowledge_auc", 0.1) == 0.04  # never met: the largest was taken
    assert chosen_step(edit_trace().query("stage != 'search'"), "knowledge_auc", 0.5) is None


def test_a_method_without_a_search_or_kept_mark_still_gets_a_curve() -> None:
    searched, trace = edit_trace(), edit_trace().query("stage != 'search'")
    marked, bare = (pixels(search_curve(one, RAZOR)) for one in (trace, trace.drop(columns="kept")))
    middle = bare.shape[1] // 2  # on its left the search, on its right the way of the corrective steps
    with_search = pixels(search_curve(searched, RAZOR))
    assert near(bare[:, :middle], LIGHT.good) == 0 < near(with_search[:, :middle], LIGHT.good)
    assert near(bare[:, middle:], LIGHT.good) > 500
    assert 0 < near(bare[:, middle:], LIGHT.ink) < near(marked[:, middle:], LIGHT.ink)


def test_the_band_is_where_an_edit_is_accepted() -> None:
    """Around the AUC that corrective steps aim at; the search ends further up, at the dashed line."""
    axes = new_figure(6.0, 4.0, LIGHT).subplots()
    _against_retention(axes, edit_trace(), RAZOR, LIGHT)
    [band] = axes.patches
    low, high = band.get_x(), band.get_x() + band.get_width()
    assert (low, high) == pytest.approx(
        (RAZOR.auc_goal - RAZOR.auc_tolerance, RAZOR.auc_goal + RAZOR.auc_tolerance)
    )
    assert high < RAZOR.search.goal  # control: a band around the search's goal would hold it


def test_a_search_on_accuracy_draws_accuracy() -> None:
    razor = RazorParams(search=SearchParams(measure="forget_accuracy", goal=0.0))
    assert search_curve(edit_trace(), razor) != search_curve(edit_trace(), RAZOR)


def test_scores_of_zero_and_a_single_tower_are_drawn() -> None:
    """Cells of the lowest colour fill the picture; of scores that differ, or of none, they do not."""

    def lowest(scores: pd.DataFrame) -> float:
        picture = pixels(score_heatmap(scores, []))
        return near(picture, LIGHT.ramp[0]) / picture[..., 0].size

    scores = component_scores().query("tower == 'text'")
    assert lowest(scores.assign(score=0.0)) > 0.25
    assert lowest(scores) < 0.01
    assert lowest(scores.head(0)) < 0.01
    assert near(pixels(score_heatmap(scores.head(0), [])), LIGHT.muted) > 100  # the words that there is none


def test_hardening_is_no_point_of_the_curve() -> None:
    """Its figures are on another scale; a search's in its place would show."""
    assert search_curve(hardened_trace("harden", "taken_back"), RAZOR) == search_curve(edit_trace(), RAZOR)
    assert search_curve(hardened_trace("repair"), RAZOR) != search_curve(edit_trace(), RAZOR)


def test_axis_and_legend_say_nothing_that_is_not_there() -> None:
    """Others are recognised in 100 % at most, and a method that tried no step has no point for one."""
    axes = new_figure(6.0, 4.0, LIGHT).subplots()
    trace = edit_trace().query("stage in ['base', 'repair']").assign(retain_accuracy=1.0)
    _against_retention(axes, trace, RAZOR, LIGHT)
    axes.figure.draw_without_rendering()
    shares = [label.get_text() for label in axes.get_yticklabels()]
    assert max(filter(None, shares), key=lambda share: float(share.rstrip("%"))) == "100.0%"
    legend = axes.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["corrective", "base", "kept"]
