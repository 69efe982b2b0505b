"""Vision Transformer classifiers: one logit a class, forgetting by raising the forget class's cross-entropy.

Shapes: B batch, N samples, C classes, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional
from transformers import AutoImageProcessor, ViTForImageClassification

from razor_pipeline.core import losses
from razor_pipeline.core.components import Component, Granularity, matrix_component
from razor_pipeline.core.copies import in_dtype
from razor_pipeline.core.gradients import one_at_a_time
from razor_pipeline.families.batches import RowBatch, Streamed
from razor_pipeline.families.blocks import attention, mlp
from razor_pipeline.families.checkpoint import complete
from razor_pipeline.families.images import order_of, preprocessed
from razor_pipeline.families.placement import Placed
from razor_pipeline.families.settled import Settled


@dataclass(frozen=True, eq=False)
class VitBatch(RowBatch):
    """Images with the index of their own class."""

    pixel_values_B3HW: Tensor
    class_B: Tensor

    def __len__(self) -> int:
        return len(self.class_B)


class VitFamily(Placed):
    """A ``transformers.ViTForImageClassification`` with its image processor.

    A manifest row's ``caption`` is the name of its class as the model's ``id2label`` spells it.

    Args:
        model: the model, in any floating dtype.
        image_processor: its image processor (PIL or torchvision back end).
        origin: where it came from, for the manifest of an edit: ``family``, ``id``, ``revision``, ``sha256``.

    Attributes:
        kinds: what the configuration of a checkpoint that it opens calls the model.
        parts: files that a directory must hold beside its weights.
        card: text of the model card that is saved with it.
    """

    name = "vit"
    yardstick: Literal["reference", "anchor"] = "reference"
    kinds = ("vit",)
    parts = ("config.json", "preprocessor_config.json")

    def __init__(
        self,
        model: ViTForImageClassification,
        image_processor: Any,
        origin: Mapping[str, str | None] | None = None,
    ) -> None:
        self.stored_dtype = model.dtype
        self.module = (model if model.dtype == torch.float32 else model.float()).eval().requires_grad_(False)
        self.image_processor = image_processor
        self.origin = dict(origin or {})
        self.card = ""
        names = {int(i): str(name) for i, name in (model.config.id2label or {}).items()}
        self.place = {name: i for i, name in names.items()}
        self.shared = {name for i, name in names.items() if self.place[name] != i}
        self._settled = Settled()

    @classmethod
    def from_pretrained(cls, source: str, revision: str | None = None) -> VitFamily:
        """Load a directory in the Hugging Face layout, or a hub id at a pinned revision; safetensors only.

        Raises:
            ValueError: it is a model of another kind, or lacks weights, which transformers would draw at
                random.
        """
        model = complete(ViTForImageClassification, cls.name, source, revision)
        processor = AutoImageProcessor.from_pretrained(source, revision=revision, backend="pil")
        return cls(model, processor, {"id": source, "revision": revision})

    def with_module(self, module: ViTForImageClassification) -> VitFamily:
        """The same processor around another module, e.g. a quantized copy."""
        return VitFamily(module, self.image_processor, self.origin)

    def save_pretrained(self, path: Path) -> None:
        """Write model and image processor so that ``ViTForImageClassification.from_pretrained`` opens them."""
        in_dtype(self.module, self.stored_dtype).save_pretrained(path)
        self.image_processor.save_pretrained(path)

    def components(self, granularity: Granularity) -> tuple[Component, ...]:
        """Heads and matrices of all layers and the classifier; embeddings and norms stay out."""
        parts: list[Component] = []
        config = self.module.config
        for layer in range(config.num_hidden_layers):
            root, heads, width = f"vit.layers.{layer}", config.num_attention_heads, config.hidden_size
            parts += attention(
                root, "vision", layer, heads, granularity, width, "attention", "o_proj", config.qkv_bias
            )
            parts += [] if granularity == "head" else mlp(root, "vision", layer)
        if granularity != "head":
            names = ["classifier.weight", "classifier.bias"]
            parts.append(matrix_component("classifier", "vision", config.num_hidden_layers, names))
        return tuple(parts)

    def batches(
        self, samples: pd.DataFrame, batch_size: int, generator: torch.Generator | None = None
    ) -> Streamed[Tensor, VitBatch]:
        """Manifest rows, each batch decoded and preprocessed when it is asked for.

        Raises:
            ValueError: a row's caption is not a class of the model.
        """
        self.classes_of(list(samples["caption"].unique()))  # before an image is read
        return Streamed(
            samples, order_of(samples, generator), batch_size, self._pixels, self._batch, self.device
        )

    def _pixels(self, rows: pd.DataFrame) -> Tensor:
        return preprocessed(rows, self.image_processor)

    def _batch(self, rows: pd.DataFrame, pixel_values_B3HW: Tensor) -> VitBatch:
        return VitBatch(pixel_values_B3HW, torch.tensor(self.classes_of(list(rows["caption"]))))

    def classes_of(self, names: Sequence[str]) -> list[int]:
        """Indices of classes by name.

        Raises:
            ValueError: a name is not a class of the model, or is that of several.
        """
        for name in names:
            if name in self.shared:
                raise ValueError(
                    f"'{name}' is the name of several classes of the model, so nobody can tell which is meant; give "
                    "each a name of its own in the model's id2label"
                )
            if name not in self.place:
                known = ", ".join(sorted(self.place)[:5])
                raise ValueError(
                    f"'{name}' is not a class of the model, which has {len(self.place)}, among them {known}; "
                    "the manifest's caption must be the name in the model's id2label"
                )
        return [self.place[name] for name in names]

    @torch.no_grad()
    def features(self, batches: Sequence[VitBatch]) -> Tensor:
        """[N, E] what the classifying layer reads, E its width."""
        return torch.cat([self._read(batch) for batch in batches])

    @torch.no_grad()
    def classified(self, features_NE: Tensor) -> list[str]:
        """The class that each row of :meth:`features` is taken for."""
        names = self.module.config.id2label
        return [names[int(place)] for place in self.module.classifier(features_NE).argmax(dim=1)]

    def _read(self, batch: VitBatch) -> Tensor:
        """[B, E] what the classifying layer reads; layers that an edit does not reach run once for a batch."""
        vit = self.module.vit
        hidden_BTE = self._settled.run((vit.embeddings, *vit.layers), batch, batch.pixel_values_B3HW)
        found: Tensor = vit.layernorm(hidden_BTE)[:, 0]
        return found

    def logits(self, batch: VitBatch) -> Tensor:
        """[B, C] logits."""
        found: Tensor = self.module.classifier(self._read(batch))
        return found

    def knowledge(self, batch: VitBatch) -> Tensor:
        """[B] log-probability of each sample's own class."""
        log_p_BC = self.logits(batch).log_softmax(dim=-1)
        return log_p_BC.gather(1, batch.class_B[:, None])[:, 0]

    def gap(
        self,
        target: Sequence[VitBatch],
        reference_M: Tensor,
        auc: float,
        others: Sequence[str],  # noqa: ARG002
    ) -> Tensor:
        """Squared distance of the target's log-odds to those of never-seen samples at an AUC of ``auc``.

        A log-probability is flat at 0, so that a sample which is known for sure would have no say in a linear step;
        its log-odds rank alike and are steep everywhere.
        """
        known_N = one_at_a_time(lambda one: losses.log_odds(self.logits(one), one.class_B), target)
        odds_M = losses.as_log_odds(reference_M.to(known_N.device))
        return losses.calibration(known_N, losses.shifted_to_auc(odds_M, auc))

    def forget_loss(self, batch: VitBatch) -> Tensor:
        """Cross-entropy of the forget class."""
        return functional.cross_entropy(self.logits(batch), batch.class_B)

    def retain_loss(self, batch: VitBatch) -> Tensor:
        """Cross-entropy of the retained classes."""
        return functional.cross_entropy(self.logits(batch), batch.class_B)

    def observe(self, batch: VitBatch) -> Tensor:
        """[B, C] log-probabilities."""
        return self.logits(batch).log_softmax(dim=-1)

    def mismatch_loss(self, batch: VitBatch, frozen: Tensor) -> Tensor:
        """Squared drift of the retain samples' probabilities from the frozen model's."""
        return losses.similarity_drift(self.observe(batch).exp(), frozen.exp())

    def besides(self, rows: pd.DataFrame) -> pd.DataFrame:
        """None: an image is asked for its label and for nothing else."""
        return rows.head(0)

    def keeping_losses(self, batch: VitBatch, frozen: Tensor) -> tuple[Tensor, Tensor]:
        """Retain and mismatch loss of a batch from one forward pass."""
        log_p_BC = self.observe(batch)
        drift = losses.similarity_drift(log_p_BC.exp(), frozen.exp())
        return functional.nll_loss(log_p_BC, batch.class_B), drift

    def by_output(self, rows: pd.DataFrame, prompts: Sequence[str]) -> VitFamily:  # noqa: ARG002
        """The model itself: its scores are its output."""
        return self

    def class_logits(self, batch: VitBatch, prompts: Sequence[str]) -> Tensor:
        """[B, len(prompts)] logits of the classes that the prompts name; differentiable."""
        return self.logits(batch)[:, self.classes_of(prompts)]

    @torch.no_grad()
    def scores(self, batches: Sequence[VitBatch], prompts: Sequence[str]) -> Tensor:
        """[N, len(prompts)] log-probabilities of the classes that the prompts name."""
        columns = self.classes_of(prompts)
        return torch.cat([self.observe(batch)[:, columns] for batch in batches]).cpu()
