"""Textual inversion: what an attacker who owns the edited model and some images of the concept gets back.

A new word is added, and its embedding alone is trained until the unchanged denoiser explains the images (Gal et al.,
arXiv 2208.01618); used against erased models as Concept Inversion (Pham et al., arXiv 2308.01508).

Shapes: B batch, N images, V words, E width of their embeddings, L latent channels, h x w latent.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from razor_pipeline.core.gradients import requiring_grad
from razor_pipeline.core.mentions import renamed
from razor_pipeline.families.diffusion import DiffusionFamily
from razor_pipeline.params.razor import WordParams

WORD = "<concept>"


class WordAttacker:
    """Who teaches a pipeline a new word for a label that it was made to forget.

    The word starts where the label's own tokens are: the attacker knows what was erased.

    Args:
        family: the attacked model; it stays as it is. Its denoiser is attacked as it is at each call, its text
            encoder as it is now.
        rows: images of the concept, each with a ``prompt`` that holds its ``label``.
        params: number of images, batch size and learning rate.
        seed: of the images, noises and times.

    Attributes:
        attacked: a pipeline that draws the concept when :data:`WORD` stands in the label's place.
    """

    def __init__(self, family: DiffusionFamily, rows: pd.DataFrame, params: WordParams, seed: int) -> None:
        self.params, self.generator = params, torch.Generator().manual_seed(seed)
        encoder, tokenizer = (
            copy.deepcopy(family.pipeline.text_encoder),
            copy.deepcopy(family.pipeline.tokenizer),
        )
        self.label = str(rows["label"].iloc[0])
        self.place = _add_word(encoder, tokenizer, self.label)
        parts = {**family.pipeline.components, "text_encoder": encoder, "tokenizer": tokenizer}
        self.attacked = DiffusionFamily(family.assembled(parts), family.origin, family.frozen)

        kept = torch.randperm(len(rows), generator=self.generator)[: params.images].tolist()
        chosen = rows.iloc[kept]
        self.latents_NLhw = self.attacked.latents_of(chosen)
        self.prompts = [self._worded(str(prompt)) for prompt in chosen["prompt"]]
        self.table_VE: Tensor = encoder.get_input_embeddings().weight
        # A parameter of its own: Adam remembers it alone, not the whole vocabulary.
        self.word_E = torch.nn.Parameter(self.table_VE[self.place].detach().clone())
        self.optimizer = torch.optim.Adam([self.word_E], params.learning_rate)

    def learn(self, steps: int) -> None:
        """Train the word's embedding further."""
        with torch.enable_grad(), requiring_grad([self.table_VE]):
            quiet = None if steps > 1 else True  # who asks for single steps has a bar of his own
            for _ in tqdm(range(steps), desc="inversion", unit="step", disable=quiet, leave=False):
                index_B = torch.randint(
                    0, len(self.prompts), (self.params.batch_size,), generator=self.generator
                )
                told_BD = self.attacked.conditioning([self.prompts[i] for i in index_B.tolist()])
                loss = self.attacked.denoising_error(
                    self.latents_NLhw[index_B], told_BD, self.generator
                ).mean()
                loss.backward()
                assert self.table_VE.grad is not None
                self.word_E.grad, self.table_VE.grad = self.table_VE.grad[self.place].clone(), None
                self.optimizer.step()
                with torch.no_grad():
                    self.table_VE[self.place] = self.word_E

    @torch.no_grad()
    def told(self, prompts: Sequence[str]) -> Tensor:
        """[C, D] what the denoiser is told of prompts with the word in the label's place."""
        return self.attacked.conditioning([self._worded(prompt) for prompt in prompts])

    def _worded(self, prompt: str) -> str:
        return renamed(prompt, self.label, WORD)


def inverted(family: DiffusionFamily, rows: pd.DataFrame, params: WordParams, seed: int) -> DiffusionFamily:
    """What a :class:`WordAttacker` has after ``params.steps``."""
    attacker = WordAttacker(family, rows, params, seed)
    attacker.learn(params.steps)
    return attacker.attacked


def _add_word(encoder: Any, tokenizer: Any, label: str) -> int:
    """Add the word at the mean of the label's tokens; its place in the vocabulary."""
    own = tokenizer(label, add_special_tokens=False)["input_ids"]
    tokenizer.add_tokens([WORD])
    encoder.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    place = int(tokenizer.convert_tokens_to_ids(WORD))
    with torch.no_grad():
        table_VE = encoder.get_input_embeddings().weight
        table_VE[place] = table_VE[own].mean(dim=0)
    return place
