"""The concepts pipeline."""

from razor_pipeline.pipelines.concepts.pipeline import create_pipeline

__all__ = ["create_pipeline"]
