"""The retraining pipeline."""

from razor_pipeline.pipelines.retraining.pipeline import create_pipeline

__all__ = ["create_pipeline"]
