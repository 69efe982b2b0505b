"""The atelier: our generated benchmark. Deterministic by seed, made in seconds, no files shipped."""

from razor_pipeline.atelier.generate import canvas_prompt, catalogue, generate, person_prompt

__all__ = ["canvas_prompt", "catalogue", "generate", "person_prompt"]
