"""What is asked of a request's model."""

from razor_pipeline.requests.examination import Examiner
from unlearning.places import TARGETS, base, manifest


def test_the_auc_is_asked_for_where_the_data_has_strangers() -> None:
    """Against known classes a model that never saw the target has any AUC, so no gate may ask for it."""
    target, other = TARGETS[:2]
    rows = manifest()
    few = rows["label"].isin([target, other]) | (rows["role"] == "reference")
    rows = rows[few].assign(role=lambda t: t["role"].mask(t["label"] == target, "forget"))
    for samples, asked in ((rows, True), (rows[rows["role"] != "reference"], False)):
        found = Examiner(base(), samples, []).examine(base(), target, [])
        assert ("membership_auc" in found["edited"]) is asked
