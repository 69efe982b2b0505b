"""The identities pipeline."""

from razor_pipeline.pipelines.identities.pipeline import create_pipeline

__all__ = ["create_pipeline"]
