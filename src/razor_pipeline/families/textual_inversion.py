"""Textual inversion: what an attacker who owns the edited model and some images of the concept gets back.

A new word is added, and its embedding alone is trained until the unchanged denoiser explains the images (Gal et al.,
arXiv 2208.01618); used against erased models as Concept Inversion (Pham et al., arXiv 2308.01508).

Shapes: B batch, N images, V words, E width of their embeddings, L latent channels, h x w latent.
"""

from __future__ import annotations

import copy
from typing import Any

import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from razor_pipeline.families.diffusion import DiffusionFamily
from razor_pipeline.families.images import decoded, pixels
from razor_pipeline.params.razor import WordParams

WORD = "<concept>"


def inverted(family: DiffusionFamily, rows: pd.DataFrame, params: WordParams, seed: int) -> DiffusionFamily:
    """A copy of the pipeline whose text encoder has learnt a new word for the rows' label.

    The word starts where the label's own tokens are: an attacker knows what was erased.

    Args:
        family: the attacked model; as it was on exit.
        rows: images of the concept, each with a ``prompt`` that holds its ``label``.
        params: number of images, steps, batch size and learning rate.
        seed: of the images, noises and times.

    Returns:
        A pipeline that draws the concept when :data:`WORD` stands in the label's place.
    """
    generator = torch.Generator().manual_seed(seed)
    encoder, tokenizer = copy.deepcopy(family.pipeline.text_encoder), copy.deepcopy(family.pipeline.tokenizer)
    label = str(rows["label"].iloc[0])
    place = _add_word(encoder, tokenizer, label)
    parts = {**family.pipeline.components, "text_encoder": encoder, "tokenizer": tokenizer}
    attacked = DiffusionFamily(family.assembled(parts), family.origin, family.frozen)

    kept = torch.randperm(len(rows), generator=generator)[: params.images].tolist()
    chosen = rows.iloc[kept]
    latents_NLhw = attacked.latents(pixels(decoded(chosen), attacked.size))
    prompts = [str(prompt).replace(label, WORD) for prompt in chosen["prompt"]]
    table_VE = encoder.get_input_embeddings().weight.requires_grad_(True)
    optimizer = torch.optim.Adam([table_VE], params.learning_rate)
    for _ in tqdm(range(params.steps), desc="inversion", unit="step", disable=None, leave=False):
        index_B = torch.randint(0, len(chosen), (params.batch_size,), generator=generator)
        conditioning_BD = attacked.conditioning([prompts[i] for i in index_B.tolist()])
        loss = attacked.denoising_error(latents_NLhw[index_B], conditioning_BD, generator).mean()
        optimizer.zero_grad()
        loss.backward()
        _keep_only(table_VE, place)
        optimizer.step()
    table_VE.requires_grad_(False)
    return attacked


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


def _keep_only(table_VE: Tensor, place: int) -> None:
    """No gradient for any other word: Adam leaves alone what never had one."""
    assert table_VE.grad is not None
    own = table_VE.grad[place].clone()
    table_VE.grad.zero_()
    table_VE.grad[place] = own
