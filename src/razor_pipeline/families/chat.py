"""Questions about an image in a checkpoint's own chat format, as tokens before the image and behind it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PIL import Image
from torch import Tensor

from razor_pipeline.families.packing import Asked


class Chat:
    """What a processor and its chat template make of images, questions and answers.

    Args:
        processor: image processor, tokenizer and chat template.
        image: the token that stands for an image.
    """

    def __init__(self, processor: Any, image: int) -> None:
        self.processor, self.image = processor, image
        self._tokens: dict[str, tuple[int, ...]] = {}
        self._asked: dict[tuple[str, tuple[str, ...]], Asked] = {}

    def seen(self, images: Sequence[Image.Image]) -> tuple[dict[str, Tensor], tuple[tuple[int, ...], ...]]:
        """What the processor makes of images, and the tokens of a prompt up to and with the image."""
        found = self.processor(
            images=list(images), text=[self.prompt("?")] * len(images), padding=True, return_tensors="pt"
        )
        prefixes = []
        for ids, mask in zip(found["input_ids"], found["attention_mask"], strict=True):
            tokens = ids[mask.bool()].tolist()
            prefixes.append(tuple(tokens[: len(tokens) - tokens[::-1].index(self.image)]))
        return {n: found[n] for n in ("pixel_values", "image_sizes") if n in found}, tuple(prefixes)

    def prompt(self, question: str) -> str:
        """The chat prompt of a question about one image, in the checkpoint's own format."""
        content = [{"type": "image"}, {"type": "text", "text": question}]
        text: str = self.processor.apply_chat_template(
            [{"role": "user", "content": content}], add_generation_prompt=True
        )
        return text

    def tail(self, text: str) -> tuple[int, ...]:
        """Tokens of a prompt (and answer) behind the image."""
        if text not in self._tokens:
            tokens = self.processor.tokenizer(text)["input_ids"]
            self._tokens[text] = tuple(tokens[len(tokens) - tokens[::-1].index(self.image) :])
        return self._tokens[text]

    def asked(self, question: str, answers: Sequence[str]) -> Asked:
        """A question and its answers in tokens, the end of an answer not among them.

        Raises:
            ValueError: with an answer behind it, the prompt's own tokens are others.
        """
        key = question, tuple(answers)
        if key not in self._asked:  # of many images the same is asked
            prompt = self.prompt(question)
            tokens = self.tail(prompt)
            behind = (self._behind(tokens, answered(prompt, answer)) for answer in answers)
            self._asked[key] = Asked(tokens, tuple(behind))
        return self._asked[key]

    def _behind(self, tokens: tuple[int, ...], text: str) -> tuple[int, ...]:
        whole = self.tail(text)
        if whole[: len(tokens)] != tokens:
            raise ValueError(
                f"the tokenizer reads the end of the prompt and the answer behind it as one in {text[-60:]!r}, so that "
                "no token is the answer's first; let the chat template end its prompt in a line break or a colon"
            )
        return whole[len(tokens) :]


def answered(prompt: str, answer: str) -> str:
    """A prompt with its answer, as a model writes it: where the chat template ends in white space, there is no more."""
    return f"{prompt}{'' if prompt[-1:].isspace() else ' '}{answer}"
