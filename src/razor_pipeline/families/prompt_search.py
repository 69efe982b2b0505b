"""Discrete prompt search: words which, before a prompt, make an edited model draw what it was made to forget.

In the manner of UnlearnDiffAtk (Zhang et al., ECCV 2024, arXiv 2310.11868): the words are those under which the model
itself explains images of the concept best, with no classifier and no second model. The source relaxes the tokens and
projects them; here they are exchanged greedily along the gradient (GCG, Zou et al., arXiv 2307.15043), and only for
tokens that read back from their text as they were, so that what is found can be typed.

Shapes: B batch, N images, K tokens before the prompt, V vocabulary, E width of its embeddings, T tokens of a prompt,
L latent channels, h x w latent.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn
from tqdm import tqdm

from razor_pipeline.families.diffusion import DiffusionFamily
from razor_pipeline.families.predictions import Noisy
from razor_pipeline.params.studies import PromptSearchParams


def words_before(family: DiffusionFamily, rows: pd.DataFrame, params: PromptSearchParams, seed: int) -> str:
    """The words found.

    Args:
        family: the attacked model; as it was on exit.
        rows: images of the concept, each with its ``prompt``.
        params: number of images, of tokens and of steps, batch size, exchanges tried in a step.
        seed: of the images, noises, times and first words.
    """
    return _Search(family, rows, params, seed).run()


class _Search:
    def __init__(
        self, family: DiffusionFamily, rows: pd.DataFrame, params: PromptSearchParams, seed: int
    ) -> None:
        self.family, self.params = family, params
        self.generator = torch.Generator().manual_seed(seed)
        kept = torch.randperm(len(rows), generator=self.generator)[: params.images].tolist()
        chosen = rows.iloc[kept]
        self.prompts = [str(prompt) for prompt in chosen["prompt"]]
        self.latents_NLhw = family.latents_of(chosen)
        self.table: nn.Embedding = family.pipeline.text_encoder.get_input_embeddings()
        self.typed = _typed(family.pipeline.tokenizer)

    def run(self) -> str:
        first = torch.randint(0, len(self.typed), (self.params.tokens,), generator=self.generator)
        words = [self.typed[i] for i in first.tolist()]
        while not self._reads_back(words):
            words = [*words[1:], self.typed[self._below(len(self.typed))]]
        steps = tqdm(range(self.params.steps), desc="prompt search", unit="step", disable=None, leave=False)
        for _ in steps:
            index_B = torch.randint(0, len(self.prompts), (self.params.batch_size,), generator=self.generator)
            noisy = self.family.noised(self.latents_NLhw[index_B], self.generator)
            prompts = [self.prompts[i] for i in index_B.tolist()]
            least, gradient_KE = self._error_and_gradient(words, prompts, noisy)
            best = words
            for other in self._exchanges(words, gradient_KE):
                if (error := self._error(other, prompts, noisy)) < least:
                    best, least = other, error
            words = best
        return self._text(words)

    def _exchanges(self, words: Sequence[int], gradient_KE: Tensor) -> Iterator[list[int]]:
        """Words with one exchanged for one of those that promise most, by the error's first-order change."""
        typed_VE = self.table.weight[torch.tensor(self.typed)]
        promise_KV = -(gradient_KE @ typed_VE.T)
        top_KM = promise_KV.topk(min(self.params.promising, len(self.typed)), dim=1).indices
        for _ in range(self.params.exchanges):
            place, rank = self._below(len(words)), self._below(top_KM.shape[1])
            other = [*words]
            other[place] = self.typed[int(top_KM[place, rank])]
            if other[place] != words[place] and self._reads_back(other):
                yield other

    @torch.no_grad()
    def _error(self, words: Sequence[int], prompts: Sequence[str], noisy: Noisy) -> float:
        return float(self._mean_error(words, prompts, noisy))

    def _error_and_gradient(
        self, words: Sequence[int], prompts: Sequence[str], noisy: Noisy
    ) -> tuple[float, Tensor]:
        """The error, and its gradient with respect to the words' embeddings, [K, E]."""
        with _watched(self.table) as seen, torch.enable_grad():
            error = self._mean_error(words, prompts, noisy)
            [embedded_CTE] = seen
            [gradient_CTE] = torch.autograd.grad(error, [embedded_CTE])
        return float(error.detach()), gradient_CTE[:, 1 : 1 + len(words)].sum(dim=0)

    def _mean_error(self, words: Sequence[int], prompts: Sequence[str], noisy: Noisy) -> Tensor:
        before = self._text(words)
        conditioning_BD = self.family.conditioning([f"{before} {prompt}" for prompt in prompts])
        return (self.family.predicted(noisy, conditioning_BD) - noisy.aim).square().mean()

    def _text(self, words: Sequence[int]) -> str:
        return str(self.family.pipeline.tokenizer.decode(list(words))).strip()

    def _reads_back(self, words: Sequence[int]) -> bool:
        """Whether the tokens' text, before a prompt, is read as these tokens, behind the one that begins a text."""
        ids = self.family.pipeline.tokenizer(f"{self._text(words)} {self.prompts[0]}")["input_ids"]
        return list(ids[1 : 1 + len(words)]) == list(words)

    def _below(self, limit: int) -> int:
        return int(torch.randint(0, limit, (), generator=self.generator))


def _typed(tokenizer: Any) -> list[int]:
    """The tokens that may stand in a text; those that mark its begin, end or padding may not."""
    special = set(tokenizer.all_special_ids)
    return [place for place in range(len(tokenizer)) if place not in special]


@contextmanager
def _watched(table: nn.Module) -> Iterator[list[Tensor]]:
    """What an embedding table gives while the block runs; each is a leaf with a gradient."""
    seen: list[Tensor] = []

    def note(_: nn.Module, __: Any, given: Tensor) -> Tensor:
        seen.append(given.detach().requires_grad_(True))
        return seen[-1]

    handle = table.register_forward_hook(note)
    try:
        yield seen
    finally:
        handle.remove()
