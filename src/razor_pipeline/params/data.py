"""Parameters of the data: what is generated, what is read, how it is split."""

from __future__ import annotations

from string import Formatter
from typing import Annotated, Literal

from pydantic import Field, model_validator

from razor_pipeline.params.base import Count, Names, Params, Positive, Share

Concept = Literal["label", "style", "combination"]


class SplitCounts(Params):
    """Images per class in each split of a generated data set."""

    edit: Annotated[int, Field(ge=0)] = 40
    validation: Annotated[int, Field(ge=0)] = 12
    test: Annotated[int, Field(ge=0)] = 16


class AtelierParams(Params):
    """The generated benchmark: portraits of named people and a canvas of objects x styles, of whole tiles of 8 pixels.

    ``passersby`` are portraits of people without a name, each of somebody else: from them a model that answers
    questions learns to say that it does not know.
    """

    seed: Annotated[int, Field(ge=0)] = 7
    image_size: Annotated[int, Field(ge=32, le=512, multiple_of=8)] = 64
    portraits: SplitCounts = SplitCounts(edit=60, validation=12, test=64)
    canvas: SplitCounts = SplitCounts(edit=20, validation=2, test=4)
    passersby: SplitCounts = SplitCounts(edit=0, validation=0, test=0)


class DataParams(Params):
    """Where the image-caption pairs come from, and which files are refused.

    ``source`` is ``atelier`` (generated), ``digits`` (scikit-learn's, handwritten), ``folder``
    (``<class>/<image>``, or tar shards in WebDataset's layout, as ``path`` holds), ``styles``
    (``<style>/<object>/<image>``, UnlearnCanvas' layout), ``manifest`` (csv or
    parquet with ``image_path`` and ``caption`` or ``label``) or ``datasets`` (a directory that
    ``datasets.Dataset.save_to_disk`` wrote). Folders and the
    digits are split by ``split_counts``, images per class, or else by the two shares. ``concept`` is what
    requests name: with ``style``, label and style change places; with ``combination`` it is an object in a style
    ("cat in Mosaic"), and neither alone. ``captions: class`` makes the data of a
    classifier: the name of the class is the caption; ``answer`` that of a model which answers questions: the label is
    the answer.
    """

    source: Literal["atelier", "digits", "folder", "styles", "manifest", "datasets"] = "atelier"
    concept: Concept = "label"
    captions: Literal["given", "class", "answer"] = "given"
    path: str | None = None
    domain: str = "images"
    caption_template: str = "a photo of {label}"
    validation_share: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.2
    test_share: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.3
    split_counts: SplitCounts | None = None
    seed: Annotated[int, Field(ge=0)] = 0
    reference_labels: Names = ()
    min_images_per_split: Count = 1
    max_megapixels: Positive = 50.0
    max_quarantined_share: Share = 0.05

    @property
    def reads_files(self) -> bool:
        """Whether the images are files that may change without a parameter changing."""
        return self.source in ("folder", "styles", "manifest", "datasets")

    @model_validator(mode="after")
    def _needs_path(self) -> DataParams:
        if self.reads_files and not self.path:
            raise ValueError(
                f"data.source is '{self.source}', which needs data.path: set it to the folder, table or data set"
            )
        if self.path and not self.reads_files:
            raise ValueError(
                f"data.path is '{self.path}', which data.source '{self.source}' does not read; take --env images, or "
                "set data.source to folder, styles, manifest or datasets"
            )
        self._check_template()
        for field in ("{label}", "{style}") if self.source == "styles" else ("{label}",):
            if field not in self.caption_template:
                raise ValueError(
                    f"data.caption_template is '{self.caption_template}', which lacks {field}: without it, prompts of "
                    f"different concepts are the same; put {field} in"
                )
        if self.validation_share + self.test_share >= 1.0:
            raise ValueError(
                "data.validation_share + data.test_share must stay below 1, so that edit is not empty"
            )
        return self

    def _check_template(self) -> None:
        try:
            fields = {name for _, name, *_ in Formatter().parse(self.caption_template) if name is not None}
        except ValueError as error:
            raise ValueError(
                f"data.caption_template is '{self.caption_template}', which does not read as a template ({error}); "
                "write {{ for a brace"
            ) from error
        if unknown := sorted(fields - {"label", "style"}):
            raise ValueError(
                f"data.caption_template is '{self.caption_template}', and {{{unknown[0]}}} means nothing; it may hold "
                "{label} and {style}"
            )


class SplittingParams(Params):
    """How the forget and retain sets are drawn from the prepared manifest.

    ``max_validation_samples`` are validation rows of what is kept, and of what was never seen as many at most;
    ``max_test_samples`` are test rows of what is kept, of all domains, but at least one of each class; None for all of
    them.
    """

    min_forget_images: Count = 3
    max_retain_samples: Count = 1024
    max_validation_samples: Count = 400
    max_test_samples: Count | None = None
