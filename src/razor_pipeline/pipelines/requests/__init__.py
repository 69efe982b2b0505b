"""The requests pipeline."""

from razor_pipeline.pipelines.requests.pipeline import create_pipeline

__all__ = ["create_pipeline"]
