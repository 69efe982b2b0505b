"""The cast of the portraits: invented people with well separated features, some of them near-twins."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Literal

import numpy as np

KNOWN, REFERENCE, TWIN_PAIRS = 48, 48, 6
MIN_DISTANCE = 5  # features in which any two people differ, near-twins apart

CHOICES: dict[str, tuple[str, ...]] = {
    "skin": ("porcelain", "rose", "sand", "honey", "bronze", "umber", "ebony"),
    "hair_colour": ("black", "brown", "blond", "red", "grey", "blue", "pink"),
    "hair_style": ("short", "long", "bob", "curly", "bald", "bun", "mohawk"),
    "eyes": ("brown", "blue", "green", "amber"),
    "glasses": ("none", "none", "round", "square", "sun"),
    "beard": ("none", "none", "none", "full", "moustache", "goatee"),
    "hat": ("none", "none", "cap", "beanie", "top", "brim"),
    "hat_colour": ("red", "green", "navy", "yellow", "purple", "teal"),
    "face": ("round", "oval", "square", "long"),
    "brows": ("thin", "thick", "angled"),
    "nose": ("small", "long", "wide"),
    "mark": ("none", "none", "freckles", "blush", "mole"),
    "scarf": ("none", "none", "red", "green", "navy", "yellow", "purple", "teal"),
}
TWIN_FEATURES = ("glasses", "beard", "hair_colour", "hat", "glasses", "beard")

FIRST = (  # noqa: SIM905 (a wall of quotes reads worse)
    "Ada Bruno Carla Dario Elin Farid Greta Hiro Ines Jonas Kaia Liam Mira Nadir Olga Pavel Quinn Rosa "
    "Samir Tilda Ugo Vera Wanda Xenia Yusuf Zora Anselm Bettina Cyril Dalia Emil Fiona Gustav Hanna Igor "
    "Jasmin Kofi Leona Milo Nora Oskar Petra Rafael Selma Tomas Ursula Viktor Wilma Amara Boris Celia "
    "Dmitri Esther Felix Gloria Henrik Ida Javier Kira Lukas Maren Nils Odette Paula Rufus Sonja Theo Ulla "
    "Vito Willa Yara Zeno Abel Blanka Cosmo Delia Edgar Flora Gideon Helga Ivo Judit Klaus Ludmila Marco "
    "Nadine Otto Priya Ramon Stella Tariq Una Valentin Winona Xaver Yvette"
).split()
LAST = (  # noqa: SIM905 (a wall of quotes reads worse)
    "Moreau Keller Santos Okoye Lindgren Haddad Novak Tanaka Ferrari Berger Olsen Byrne Petrov Rahimi "
    "Sokolova Dvorak Harper Marin Nasser Strand Conti Volkova Kowalska Drago Demir Banda Weiss Schmid "
    "Laurent Aziz Fischer Campbell Lund Vogel Popov Shah Mensah Roth Jensen Ekberg Brandt Horvat Silva "
    "Nyberg Pereira Maier Orlov Bauer Diallo Ivanov Reyes Smirnov Cohen Wagner Torres Dahl Falk Ortega "
    "Nilsen Meyer Holm Berg Girard Costa Stone Kaya Adler Krog Greco Finch Amin Castell Arnaud Baptiste "
    "Corvin Dupont Eklund Farkas Gallo Hoxha Iqbal Jovanovic Kraus Lopez Mazur Nagy Oliveira Patel Quist "
    "Ricci Simon Toth Urban Varga Winter Zeman"
).split()


@dataclass(frozen=True)
class Features:
    """What makes a face; every value is one of ``CHOICES``."""

    skin: str
    hair_colour: str
    hair_style: str
    eyes: str
    glasses: str
    beard: str
    hat: str
    hat_colour: str
    face: str
    brows: str
    nose: str
    mark: str
    scarf: str


@dataclass(frozen=True)
class Person:
    """One member of the cast.

    Attributes:
        name: first and last name, both invented; no two people share a first name.
        features: the face.
        role: ``known`` people may be shown to base models, ``reference`` people never are.
        near_twin: name of the person who differs in one feature only, or None.
        twin_feature: that feature.
    """

    name: str
    features: Features
    role: Literal["known", "reference"]
    near_twin: str | None = None
    twin_feature: str | None = None


def visible(features: Features) -> dict[str, str]:
    """The features that a picture can show: what a hat, a bald head or sunglasses hide counts as absent."""
    seen = {field.name: getattr(features, field.name) for field in fields(features)}
    if seen["hat"] == "none":
        seen["hat_colour"] = "none"
    covered = features.hair_style == "bald" or (features.hair_style == "short" and features.hat != "none")
    if covered and features.beard == "none":
        seen["hair_colour"] = "none"
    if seen["glasses"] == "sun":
        seen["eyes"] = "none"
    return seen


def distance(a: Features, b: Features) -> int:
    """Number of visible features in which two faces differ."""
    first, second = visible(a), visible(b)
    return sum(first[key] != second[key] for key in first)


def people(seed: int) -> tuple[Person, ...]:
    """The cast: 48 known people (6 pairs of near-twins among them) and 48 reference people."""
    rng = np.random.default_rng([seed, 1])
    faces = _distinct_faces(rng, [], KNOWN - TWIN_PAIRS)
    known = tuple(faces)
    # The zoo's models know the twins that this generator gives after 24 strangers, so the others come last.
    _distinct_faces(rng, faces, REFERENCE // 2)
    names = [f"{first} {last}" for first, last in zip(FIRST, LAST, strict=True)]
    cast = [Person(name, face, "known") for name, face in zip(names, known, strict=False)]
    for pair, wanted in enumerate(TWIN_FEATURES):
        feature, twin = wanted, names[len(known) + pair]
        if distance(cast[pair].features, replace(cast[pair].features, **{feature: "?"})) == 0:
            # The first choice is hidden on this face, e.g. the hair colour of a bald head.
            feature = "glasses"
        cast[pair] = replace(cast[pair], near_twin=twin, twin_feature=feature)
        face = _changed(cast[pair].features, feature, rng)
        cast.append(Person(twin, face, "known", cast[pair].name, feature))
    _distinct_faces(rng, faces, REFERENCE - REFERENCE // 2)
    strangers = faces[len(known) :]
    return (
        *cast,
        *(Person(name, face, "reference") for name, face in zip(names[KNOWN:], strangers, strict=True)),
    )


def passersby(seed: int, count: int) -> tuple[Features, ...]:
    """Faces of people without a name, well apart from every member of the cast, though not from each other."""
    rng = np.random.default_rng([seed, 2])
    cast = [person.features for person in people(seed)]
    found: list[Features] = []
    while len(found) < count:
        face = _random_face(rng)
        if all(distance(face, other) >= MIN_DISTANCE for other in cast):
            found.append(face)
    return tuple(found)


def _random_face(rng: np.random.Generator) -> Features:
    return Features(**{key: str(rng.choice(values)) for key, values in CHOICES.items()})


def _distinct_faces(rng: np.random.Generator, faces: list[Features], count: int) -> list[Features]:
    """Add ``count`` random faces to the list, each well apart from all that are in it."""
    goal = len(faces) + count
    while len(faces) < goal:
        face = _random_face(rng)
        if all(distance(face, other) >= MIN_DISTANCE for other in faces):
            faces.append(face)
    return faces


def _changed(face: Features, feature: str, rng: np.random.Generator) -> Features:
    """The face with one feature changed and nothing else."""
    others = sorted(set(CHOICES[feature]) - {getattr(face, feature)})
    return replace(face, **{feature: str(rng.choice(others))})


def attributes(person: Person) -> dict[str, str]:
    """The visible features in words, for captions and questions."""
    f = person.features
    hair = (
        "no hair"
        if f.hair_style == "bald" or visible(f)["hair_colour"] == "none"
        else f"{f.hair_colour} hair"
    )
    kinds = {"cap": "cap", "beanie": "beanie", "top": "top hat", "brim": "sun hat"}
    hat = "no hat" if f.hat == "none" else f"a {f.hat_colour} {kinds[f.hat]}"
    glasses = {"none": "no glasses", "sun": "sunglasses"}.get(f.glasses, f"{f.glasses} glasses")
    beards = {"none": "no beard", "full": "a beard", "moustache": "a moustache", "goatee": "a goatee"}
    scarf = "no scarf" if f.scarf == "none" else f"a {f.scarf} scarf"
    return {"hair": hair, "glasses": glasses, "hat": hat, "beard": beards[f.beard], "scarf": scarf}
