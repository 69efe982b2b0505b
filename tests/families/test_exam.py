"""The marks of an examination that its own arithmetic decides."""

import numpy as np
import pytest

from razor_pipeline.families.exam import leakage, worst_membership


@pytest.mark.parametrize(("reference", "value"), [(0.5, 0.0), (0.1, 0.5)])
def test_of_several_targets_the_one_that_leaks_most_counts(reference, value):
    """Against a retrained model that tells a target from strangers the wrong way round, chance leaks more."""
    nonmember = np.arange(20, dtype=np.float32)
    member = {"at chance": nonmember, "as retrained": nonmember - 100.0}
    found = worst_membership(member, dict.fromkeys(member, nonmember), reference)
    assert found.value == value
    leaks = [
        leakage(worst_membership({n: m}, {n: nonmember}, reference), reference).value
        for n, m in member.items()
    ]
    assert abs(leakage(found, reference).value) == max(map(abs, leaks))
