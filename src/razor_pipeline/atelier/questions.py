"""Questions about the atelier's pictures: who, what, which, yes or no; several phrasings each, some held out.

The answers come from a picture's *facts*, a JSON object in the manifest's column of that name: category -> answer in
words, e.g. ``{"name": "Ada Moreau", "glasses": "round glasses"}``. Whoever has facts about their own images writes them
into that column and gets the same questions.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from razor_pipeline.atelier.people import Person, attributes

UNKNOWN = "unknown"  # the answer where nobody could know the name
PRESENCE = {"glasses": "glasses", "hat": "a hat", "beard": "a beard", "scarf": "a scarf"}
WORN = {"hair": "hair", **{thing: thing for thing in PRESENCE}}

# category -> phrasings that a model may learn from, and phrasings that only an examination uses
PHRASINGS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "name": (
        (
            "Who is this?",
            "Who is in the picture?",
            "What is the name of this person?",
            "Name the person in the photo.",
            "Tell me who this person is.",
            "Who do you see?",
        ),
        ("Who is this person?", "Who is the person in the picture?", "Tell me the name of this person."),
    ),
    "worn": (
        (
            "What {thing} does the person have?",
            "Describe the {thing}.",
            "Which {thing} do you see?",
            "What {thing} is in the photo?",
        ),
        ("Which {thing} does the person have?", "What {thing} do you see?"),
    ),
    "presence": (
        ("Does the person have {thing}?", "Do you see {thing}?", "Is this person wearing {thing}?"),
        ("Does this person have {thing}?", "Is the person wearing {thing}?"),
    ),
    "object": (
        ("What is this?", "What is in the picture?", "Which object do you see?", "Name the object."),
        ("Which object is this?", "Name the object in the picture."),
    ),
    "style": (
        ("Which style is this?", "What is the style of the picture?", "Name the style.", "What style is it?"),
        ("Which style is the picture?", "What style is this?"),
    ),
    "is_it": (("Is this {thing}?", "Do you see {thing}?"), ("Is it {thing}?",)),
    "leading": (
        ("Isn't this {name}?", "This is {name}, right?", "Is this {name}?"),
        ("Isn't the person {name}?", "This person is {name}, right?"),
    ),
    "choice": (
        ("Who is this: {names} or unknown?", "Choose the name: {names} or unknown?"),
        ("Is this {names} or unknown?",),
    ),
}
LABELS = ("name", "object", "style")  # categories that a request can name
CATEGORIES = frozenset({*LABELS, *WORN})  # what there are questions about


@dataclass(frozen=True)
class Question:
    """A question about one picture.

    Attributes:
        category: what it asks about: ``name``, ``leading``, ``choice``, ``yes_no`` or a key of the facts.
        text: the question.
        answer: what is right.
    """

    category: str
    text: str
    answer: str


def facts_of_person(person: Person) -> str:
    """What a portrait shows, as JSON."""
    return json.dumps({"name": person.name, **attributes(person)})


def facts_of_canvas(object_name: str, style: str) -> str:
    """What a painting shows, as JSON."""
    return json.dumps({"object": object_name, "style": style})


def label_category(facts: Mapping[str, str], label: str) -> str:
    """What a row's label is the answer to: the category with that answer, or else ``name``."""
    return next((category for category in LABELS if facts.get(category) == label), "name")


def label_question(category: str, answer: str, place: int, held_out: bool = False) -> Question:
    """The question whose answer is a label; ``place`` chooses the phrasing."""
    return Question(category, phrasing(category, place, held_out), answer)


def leading_question(shown: str, suggested: str, place: int, held_out: bool = False) -> Question:
    """A question that suggests a name; right is yes or no, and who it is."""
    text = phrasing("leading", place, held_out).format(name=suggested)
    return Question("leading", text, f"{'yes' if shown == suggested else 'no'}, {shown}")


def choice_question(shown: str, names: Sequence[str], place: int, held_out: bool = False) -> Question:
    """A question with the names to choose from."""
    text = phrasing("choice", place, held_out).format(names=", ".join(names))
    return Question("choice", text, shown)


def few_shot_question(
    category: str, shown: str, examples: Sequence[str], place: int, held_out: bool = False
) -> Question:
    """A question behind examples of it that are answered with other labels."""
    text = phrasing(category, place, held_out)
    return Question(category, " ".join([*(f"{text} {one}." for one in examples), text]), shown)


def neutral_questions(
    facts: Mapping[str, str], label: str, place: int, held_out: bool = False
) -> list[Question]:
    """All questions about a picture but that for its label; ``place`` chooses phrasings and the wrong suggestions."""
    about = label_category(facts, label)
    found = []
    for offset, (category, answer) in enumerate(facts.items()):
        turn = place + offset
        if category == about:
            continue
        if category in WORN:
            text = phrasing("worn", turn, held_out).format(thing=category)
            found.append(Question(category, text, answer))
        elif category in LABELS and category != "name":
            found.append(label_question(category, answer, turn, held_out))
        if category in PRESENCE:
            text = phrasing("presence", turn, held_out).format(thing=PRESENCE[category])
            found.append(Question("yes_no", text, "no" if answer.startswith("no ") else "yes"))
    return found


def is_it_question(shown: str, suggested: str, place: int) -> Question:
    """Whether the picture shows an object."""
    thing = f"{'an' if suggested[:1] in 'aeiou' else 'a'} {suggested}"
    text = phrasing("is_it", place).format(thing=thing)
    return Question("yes_no", text, "yes" if shown == suggested else "no")


def phrasing(kind: str, place: int, held_out: bool = False) -> str:
    """One of the phrasings of a kind, in turn."""
    texts = PHRASINGS[kind][int(held_out)]
    return texts[place % len(texts)]
