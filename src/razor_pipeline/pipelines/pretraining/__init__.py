"""The pretraining pipeline."""

from razor_pipeline.pipelines.pretraining.pipeline import create_pipeline

__all__ = ["create_pipeline"]
