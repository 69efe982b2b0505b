"""Several questions about one image, and several answers to one question, in a single pass of a language model.

The image comes first, and costs most: every question sees the image and itself, every answer sees the image, its
question and itself, and nothing else. With positions counted along the way, each answer has exactly the probability
that it has alone behind its question.

Shapes: B rows, T tokens of a packed row, A answers of all rows, K answer tokens of all rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

PADDING = -1  # no question and no answer has this number
UNSEEN = 0  # a token that fills a row up; nobody sees it


@dataclass(frozen=True)
class Asked:
    """A question's tokens and those of its answers."""

    question: tuple[int, ...]
    answers: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Packed:
    """Packed rows.

    Attributes:
        input_ids_BT: tokens.
        position_ids_BT: positions along image, question and answer.
        mask_B1TT: who sees whom.
        source_K: index, in the flattened [B T], of the token that predicts each answer token.
        token_K: the answer tokens.
        answer_K: which answer each belongs to; answers are counted row by row in the order given.
        answers: number of answers A.
    """

    input_ids_BT: Tensor
    position_ids_BT: Tensor
    mask_B1TT: Tensor
    source_K: Tensor
    token_K: Tensor
    answer_K: Tensor
    answers: int

    def to(self, device: torch.device) -> Packed:
        """The same with its tensors there."""
        tensors = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "answers"}
        return replace(self, **{name: tensor.to(device) for name, tensor in tensors.items()})

    def per_answer(self, value_K: Tensor) -> Tensor:
        """[A] sums of a value over each answer's tokens."""
        return value_K.new_zeros(self.answers).index_add(0, self.answer_K, value_K)


def pack(prefixes: Sequence[Sequence[int]], asked: Sequence[Sequence[Asked]]) -> Packed:
    """Pack each row's questions behind its prefix.

    Args:
        prefixes: tokens up to and with the image, a list per row.
        asked: questions with their answers, a list per row.
    """
    ids: list[list[int]] = []
    columns: list[list[tuple[int, int, int]]] = []  # position, question, answer
    source: list[tuple[int, int]] = []
    token: list[int] = []
    answer_of: list[int] = []
    count = 0
    for row, (prefix, questions) in enumerate(zip(prefixes, asked, strict=True)):
        tokens, where = list(prefix), [(place, 0, 0) for place in range(len(prefix))]
        for q, one in enumerate(questions, start=1):
            start = len(prefix)
            tokens += one.question
            where += [(start + i, q, 0) for i in range(len(one.question))]
            last, start = len(tokens) - 1, start + len(one.question)
            for a, answer in enumerate(one.answers, start=1):
                first = len(tokens)
                tokens += answer[:-1]  # the last token predicts nothing that is asked for
                where += [(start + i, q, a) for i in range(len(answer) - 1)]
                source += [(row, last), *((row, first + i) for i in range(len(answer) - 1))]
                token += answer
                answer_of += [count] * len(answer)
                count += 1
        ids.append(tokens)
        columns.append(where)
    width = max(len(tokens) for tokens in ids)
    input_ids_BT = torch.tensor([tokens + [UNSEEN] * (width - len(tokens)) for tokens in ids])
    blank = (0, PADDING, PADDING)
    position_BT, question_BT, answer_BT = torch.tensor(
        [where + [blank] * (width - len(where)) for where in columns]
    ).unbind(-1)
    rows, places = torch.tensor(source).unbind(-1)
    return Packed(
        input_ids_BT,
        position_BT,
        _mask(question_BT, answer_BT),
        rows * width + places,
        torch.tensor(token),
        torch.tensor(answer_of),
        count,
    )


def _mask(question_BT: Tensor, answer_BT: Tensor) -> Tensor:
    """[B, 1, T, T] whether the row's token sees the column's."""
    of_question = question_BT[:, :, None] == question_BT[:, None, :]
    of_answer = (answer_BT[:, None, :] == 0) | (answer_BT[:, :, None] == answer_BT[:, None, :])
    seen = (question_BT == 0)[:, None, :] | (of_question & of_answer)
    return seen.tril()[:, None]
