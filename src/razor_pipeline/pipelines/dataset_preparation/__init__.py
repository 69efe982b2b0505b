"""The dataset preparation pipeline."""

from razor_pipeline.pipelines.dataset_preparation.pipeline import create_pipeline

__all__ = ["create_pipeline"]
