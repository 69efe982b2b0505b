"""The robustness pipeline."""

from razor_pipeline.pipelines.robustness.pipeline import create_pipeline

__all__ = ["create_pipeline"]
