"""The zoo's CLIP and a small draw of the atelier: enough to make it forget in seconds."""

from pathlib import Path

import pytest

from razor_pipeline.atelier import generate
from razor_pipeline.families import ClipFamily
from razor_pipeline.params.data import AtelierParams, SplitCounts, SplittingParams
from razor_pipeline.params.razor import RazorParams
from razor_pipeline.splitting import split_samples

ZOO = Path(__file__).parents[2] / "data" / "01_raw" / "zoo"
TARGET = "Greta Novak"
QUICK = RazorParams.model_validate(
    {
        "search": {"evaluations": 2, "first_step": 0.226, "goal": 0.85},
        "repair": {"steps": 4, "samples": 96, "turns": 1},
        "max_rounds": 1,
    }
)


@pytest.fixture(scope="session")
def manifest():
    counts = SplitCounts(edit=8, validation=4, test=6)
    return generate(AtelierParams(portraits=counts, canvas=SplitCounts(edit=1, validation=0, test=1)))


@pytest.fixture(scope="session")
def samples(manifest):
    return split_samples(
        manifest, TARGET, SplittingParams(max_retain_samples=192, max_validation_samples=96), 0
    )


@pytest.fixture
def clip():
    return ClipFamily.from_pretrained(str(ZOO / "clip"))
