"""The editing pipeline."""

from razor_pipeline.pipelines.editing.pipeline import create_pipeline

__all__ = ["create_pipeline"]
