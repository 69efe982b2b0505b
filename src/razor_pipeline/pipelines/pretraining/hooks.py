"""What a training would wrongly write over is refused before anything runs."""

from __future__ import annotations

from kedro.framework.hooks import hook_impl
from kedro.pipeline import Pipeline

from razor_pipeline.runner import Catalog


class PlaceHooks:
    """Asks the places of the models that a pipeline trains."""

    @hook_impl
    def before_pipeline_run(self, pipeline: Pipeline, catalog: Catalog) -> None:
        """Ask before the first step.

        Raises:
            DatasetError: one does not take what would be saved there.
        """
        trained = pipeline.all_outputs()
        if "base_model" in trained:
            catalog["base_model"].check_takes(catalog.load("params:pretraining").family)
        if "retrained_models" in trained:
            catalog["retrained_models"].check_takes(catalog.load("params:retraining").groups)
