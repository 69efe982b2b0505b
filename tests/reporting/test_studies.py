"""What the pages of studies say of their parameters."""

from razor_pipeline.params.studies import BenchParams
from razor_pipeline.reporting.bench import render_bench
from razor_pipeline.reporting.robustness import _titles, render_robustness
from razor_pipeline.studies.attack_summary import attack_summary, headlines, long_table
from razor_pipeline.studies.scaling import bench_table

from .studies import attacked, bench_rows, study_pages


def test_the_fine_tune_has_as_many_epochs_as_the_bench_is_told():
    rows = bench_rows()
    for epochs, said in ((10, "has 10 epochs"), (3, "has 3 epochs"), (1, "has 1 epoch,")):
        assert said in render_bench(rows, bench_table(rows), BenchParams(epochs=epochs))


def test_the_attacks_are_named_after_what_they_were_given():
    default = study_pages()["robustness"]
    assert "up to 75 % of the edit undone" in default
    assert "the target's 52 to 55 unseen images" in default
    given = long_table(attacked()).assign(images=16)
    given = given.replace({"attack": {"relearn_1": "relearn_2", "relearn_16": "relearn_8"}})
    given.loc[(given["attack"] == "scaled_back") & (given["step"] == 0.75), "step"] = 0.9
    page = render_robustness(given, attack_summary(headlines(given)))
    assert "up to 90 % of the edit undone" in page
    assert "the target's 16 unseen images" in page
    places = [page.index(f"relearning from {count} images (area)") for count in (2, 4, 8)]
    assert places == sorted(places)
    for count in (2, 4, 8):
        assert f"relearning from {count} images: area over the retrained model" in page
    assert "from 1 image" not in page
    assert [attack for attack in _titles(given) if "relearn" in attack] == [
        "relearn_2",
        "relearn_4",
        "relearn_8",
    ]
