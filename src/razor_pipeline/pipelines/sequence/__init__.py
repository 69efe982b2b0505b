"""The sequence pipeline."""

from razor_pipeline.pipelines.sequence.pipeline import create_pipeline

__all__ = ["create_pipeline"]
