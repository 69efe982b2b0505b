"""The leaderboard: ranks, failures that are shown, and a page that sorts in a real browser."""

import pandas as pd
import pytest

from razor_pipeline.reporting.leaderboard import render_leaderboard, scatter
from razor_pipeline.studies.cells import Cell, run_cells
from razor_pipeline.studies.leaderboard import leaderboard
from razor_pipeline.studies.run import table_of


def rows(**changes):
    table = pd.DataFrame(
        [
            {
                "variant": variant,
                "target": f"t{i}",
                "gap_to_retraining": gap + 0.01 * i,
                "edited_forget_accuracy": 0.0,
                "edited_forget_accuracy_top5": 0.375,
                "retain_drop": gap / 2,
                "membership_auc": 0.4,
                "score_seconds": 1.0,
                "edit_seconds": 10.0 * gap,
                "failed": None,
            }
            for variant, gap in (("ft", 0.5), ("razor", 0.1), ("slug", 0.2))
            for i in range(3)
        ]
    )
    return table.assign(**changes)


def test_methods_rank_by_their_gap_and_carry_intervals():
    table = leaderboard(rows())
    assert list(table.drop_duplicates("rank")["method"]) == ["razor", "slug", "ft"]
    gap = table[(table["method"] == "razor") & (table["figure"] == "gap_to_retraining")].iloc[0]
    assert gap["mean"] == pytest.approx(0.11)
    assert gap["low"] <= gap["mean"] <= gap["high"]
    seconds = table[(table["method"] == "ft") & (table["figure"] == "seconds")].iloc[0]
    assert seconds["mean"] == pytest.approx(6.0)  # scoring counts


def test_what_the_worst_class_lost_is_told_in_per_cent():
    page = render_leaderboard(leaderboard(rows(worst_class_loss=0.0625)), "clip")
    assert "6.25 %" in page
    assert "6.25 %" not in render_leaderboard(leaderboard(rows()), "clip")  # control


def test_one_target_with_several_seeds_has_a_point_and_no_interval():
    one = rows().assign(target="t0").assign(seed=[0, 1, 2] * 3)
    table = leaderboard(one)
    assert table["low"].isna().all()
    assert (table["n"] == 3).any()
    assert scatter(table).startswith(b"\x89PNG")
    assert "razor" in render_leaderboard(table, "clip")
    assert leaderboard(rows())["low"].notna().any()  # control


def test_a_figure_that_some_cells_lack_says_how_many_have_it():
    some = rows()
    whole = render_leaderboard(leaderboard(some), "clip")
    assert ", n = " not in whole
    first = some.index[some["variant"] == some["variant"].iloc[0]][0]
    some.loc[first, "gap_to_retraining"] = float("nan")
    own = int((some["variant"] == some["variant"].iloc[0]).sum())
    assert f", n = {own - 1}<" in render_leaderboard(leaderboard(some), "clip")


def test_without_a_gold_standard_nobody_ranks():
    table = leaderboard(rows().drop(columns="gap_to_retraining"))
    assert set(table["rank"]) == {0}
    page = render_leaderboard(table, "clip")
    assert "Not ranked: no model trained without a target is at hand" in page
    assert "Ranked by" not in page
    assert "Ranked by" in render_leaderboard(leaderboard(rows()), "clip")  # control


def test_the_retrained_model_is_the_first_line_and_has_no_rank():
    """Every method of a cell was held against the same one: it counts once."""
    given = rows(seed=0, retrained_auc=[0.2, 0.4, 0.9] * 3, retrained_forget_accuracy=0.01)
    table = leaderboard(given)
    assert list(table.drop_duplicates("method")["method"]) == ["retrain", "razor", "slug", "ft"]
    assert list(table.drop_duplicates("method")["rank"]) == [0, 1, 2, 3]
    found = table[table["method"] == "retrain"].set_index("figure")
    assert found["mean"].to_dict() == pytest.approx(
        {"edited_forget_accuracy": 0.01, "membership_auc": 0.5, "gap_to_retraining": 0.0}
    )
    assert set(found["n"]) == {3}
    assert ">retrain<" in render_leaderboard(table, "clip")


def test_a_failed_cell_is_counted_and_a_method_that_only_failed_comes_last():
    given = rows()
    given.loc[given["variant"] == "razor", given.columns[2:-1]] = None
    given.loc[given["variant"] == "razor", "failed"] = "ValueError: no"
    given.loc[0, "failed"] = "ValueError: once"
    table = leaderboard(given)
    assert list(table.drop_duplicates("rank")["method"]) == ["slug", "ft", "razor"]
    assert table[table["method"] == "ft"]["failed"].iloc[0] == 1
    page = render_leaderboard(table, "clip")
    assert "3 failed" in page
    assert "1 failed" in page


def test_a_cell_that_fails_is_a_row_with_its_reason_and_is_tried_again(tmp_path):
    tries = []

    def fails():
        tries.append(1)
        raise RuntimeError("no luck")

    cells = [Cell("a", "a", fails, {"target": "a"}), Cell("b", "b", lambda: {"target": "b"}, {"target": "b"})]
    for _ in range(2):
        found = run_cells(cells, tmp_path, "study", 1, keep_going=True)
        assert found == [{"target": "a", "failed": "RuntimeError: no luck"}, {"target": "b"}]
    assert len(tries) == 2
    with pytest.raises(RuntimeError):
        run_cells(cells, tmp_path, "study", 1)


def test_a_target_that_is_merely_no_longer_the_first_guess_shows_in_page_and_study():
    page = render_leaderboard(leaderboard(rows()), "clip")
    assert "target among the top 5" in page
    assert "37.50 %" in page
    assert "37.50 %" not in render_leaderboard(leaderboard(rows(edited_forget_accuracy_top5=0.0)), "clip")
    assert table_of(rows())["edited_forget_accuracy_top5"]["mean"] == 0.375


def test_the_page_keeps_the_published_figures_apart():
    page = render_leaderboard(leaderboard(rows()), "clip")
    ours, published = page.split("Published, elsewhere")
    assert "97.5" in published
    assert "97.5" not in ours
    assert scatter(leaderboard(rows())).startswith(b"\x89PNG")


def test_a_click_on_a_heading_sorts_the_table(tmp_path, browser):
    page = tmp_path / "leaderboard.html"
    page.write_text(render_leaderboard(leaderboard(rows()), "clip"))
    tab = browser.new_page()
    errors = []
    tab.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.goto(page.as_uri())
    methods = "() => [...document.querySelectorAll('#board tbody tr')].map(r => r.children[1].textContent)"
    assert tab.evaluate(methods) == ["razor", "slug", "ft"]
    tab.get_by_role("button", name="method").click()
    assert tab.evaluate(methods) == ["ft", "razor", "slug"]
    tab.get_by_role("button", name="gap to retraining").click()
    tab.get_by_role("button", name="gap to retraining").click()
    assert tab.evaluate(methods) == ["ft", "slug", "razor"]
    assert not errors


def test_an_interval_of_a_share_ends_where_shares_do():
    few = rows(edited_forget_accuracy=[0.0, 0.0, 0.05] * 3, retain_drop=[0.0, 0.0, 0.05] * 3)
    table = leaderboard(few)
    low = table.set_index("figure").loc[["edited_forget_accuracy", "retain_drop"], "low"]
    assert (low < 0.0).all()
    page = render_leaderboard(table, "clip")
    assert page.count("0.00 % to 8.84 %") == 3
    assert page.count("-5.50 % to 8.84 %") == 3  # a drop may be a gain
