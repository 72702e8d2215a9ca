"""A small radiology ontology: what may be seen where, by which names, and public sentences about it."""

import tomllib
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from importlib.resources import files
from typing import Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from common.errors import ConfigurationError

Kind = Literal["anatomy", "finding", "device", "modality", "view"]

SIDES = ("left", "right")

WORDINGS: dict[Kind, tuple[str, ...]] = {
    "anatomy": ("The {term} is normal.", "No abnormality of the {term}.", "The {side} side of the {term}."),
    "finding": (
        "There is {term}.",
        "No {term}.",
        "There is no evidence of {term}.",
        "Possible {term}; {term} cannot be excluded.",
        "Findings consistent with {term} on the {side}.",
    ),
    "device": ("The {term} is in place.", "No {term}.", "The {term} ends on the {side}."),
    "modality": ("This is a study by {term}.",),
    "view": ("This picture shows the {term}.",),
}
"""How a report may speak of an entity: present, absent, uncertain, to one side."""


class Entity(BaseModel):
    """One thing that a report may name."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_min_length=1)

    name: str
    kind: Kind
    definition: str
    """One sentence."""
    synonyms: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()
    """Words that say it when they follow one another, but are no name of it: "heart enlarged"."""
    parents: tuple[str, ...] = ()
    """Names of broader entities: a pulmonary nodule is a mass."""
    located_in: tuple[str, ...] = ()
    """Names of the anatomy where it is found, that it is part of, or that it shows."""

    @property
    def terms(self) -> tuple[str, ...]:
        """The name and every synonym."""
        return (self.name, *self.synonyms)


class Ontology(BaseModel):
    """Entities in the order of their file; terms are unique, links lead somewhere and never in a circle."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    entities: tuple[Entity, ...]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        _require_unique_terms(self.entities)
        by_name = {entity.name: entity for entity in self.entities}
        for entity in self.entities:
            for link in (*entity.parents, *entity.located_in):
                if link not in by_name:
                    raise ValueError(f"'{entity.name}' refers to '{link}', which is not an entity")
            for place in entity.located_in:
                if by_name[place].kind != "anatomy":
                    raise ValueError(f"'{entity.name}' is located in '{place}', which is not anatomy")
        _require_no_circle({entity.name: entity.parents for entity in self.entities})
        _require_no_circle({entity.name: entity.located_in for entity in self.entities})
        return self

    def __len__(self) -> int:
        return len(self.entities)

    def __getitem__(self, name: str) -> Entity:
        """The entity called `name`; KeyError if there is none."""
        for entity in self.entities:
            if entity.name == name:
                return entity
        raise KeyError(name)

    def ancestors(self, name: str) -> frozenset[str]:
        """Everything that `name` is, by any number of steps; not itself."""
        parents = self[name].parents
        return frozenset(parents).union(*(self.ancestors(parent) for parent in parents))

    def links(self) -> list[set[int]]:
        """For each entity the places of its neighbours: broader and narrower ones, and where it is found."""
        place = {entity.name: at for at, entity in enumerate(self.entities)}
        linked: list[set[int]] = [set() for _ in place]
        for at, entity in enumerate(self.entities):
            for name in (*entity.parents, *entity.located_in):
                linked[at].add(place[name])
                linked[place[name]].add(at)
        return linked

    def sentences(self) -> Iterator[str]:
        """Public text, always the same: what things are, where they are, present, absent and doubted."""
        yield from dict.fromkeys(self._told())  # a chest radiograph of the chest would come twice

    def _told(self) -> Iterator[str]:
        for entity in self.entities:
            yield f"{_capitalised(entity.name)}: {entity.definition}"
            for synonym in entity.synonyms:
                yield f"{_capitalised(synonym)} means {entity.name}."
            for parent in entity.parents:
                yield f"{_capitalised(entity.name)} is a kind of {parent}."
            for place in entity.located_in:
                yield f"{_capitalised(entity.name)} of the {place}."
            for term in entity.terms:
                yield from _wordings(entity.kind, term)
        yield from self._study_titles()

    def _study_titles(self) -> Iterator[str]:
        """What was examined and how: "Chest x-ray of the lung."."""
        regions = [entity.name for entity in self.entities if "body region" in entity.parents]
        for entity in self.entities:
            if entity.kind in ("modality", "view"):
                for term in entity.terms:
                    yield from (f"{_capitalised(term)} of the {region}." for region in regions)


@cache
def load_ontology() -> Ontology:
    """The ontology that comes with this program."""
    resource = files("common.text") / "ontology.toml"
    return parse_ontology(resource.read_text(encoding="utf-8"), where=resource.name)


def sentences() -> Iterator[str]:
    """Public sentences of the ontology that comes with this program; see `Ontology.sentences`."""
    return load_ontology().sentences()


def parse_ontology(text: str, *, where: str) -> Ontology:
    """Read TOML with one table per entity, `[kind."name"]`.

    Raises:
        ConfigurationError: `text`, which came from `where`, is not TOML, or an entity is malformed, named
            twice, linked to nothing or in a circle.
    """
    try:
        kinds = tomllib.loads(text)
        entities = [
            {"name": name, "kind": kind, **fields}
            for kind, named in kinds.items()
            for name, fields in named.items()
        ]
        return Ontology.model_validate({"entities": entities})
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{where} is not valid TOML: {error}; correct the line") from None
    except (AttributeError, TypeError):
        kinds_listed = ", ".join(get_args(Kind))
        raise ConfigurationError(
            f'{where}: every entity is a table [kind."name"] with a kind of {kinds_listed}; correct it'
        ) from None
    except ValidationError as error:
        raise ConfigurationError(f"{where}: {first_complaint(error, entities)}; correct it") from None


def first_complaint(error: ValidationError, entities: list[dict[str, object]]) -> str:
    """One line: the entity, the key, and what is wrong with it."""
    first = error.errors(include_url=False, include_context=False)[0]
    complaint = first["msg"].removeprefix("Value error, ")
    match first["loc"]:
        case ("entities", int(index), *keys):
            entity = entities[index]
            key = ".".join(str(key) for key in keys)
            return f"{entity['kind']} '{entity['name']}', key '{key}': {complaint[0].lower()}{complaint[1:]}"
        case _:
            return complaint


def _require_unique_terms(entities: tuple[Entity, ...]) -> None:
    owners: dict[str, str] = {}
    for entity in entities:
        for term in entity.terms:
            if term != term.casefold():
                raise ValueError(f"'{term}' of '{entity.name}' is not lower case")
            if term in owners:
                raise ValueError(f"'{term}' names both '{owners[term]}' and '{entity.name}'")
            owners[term] = entity.name


def _require_no_circle(links: dict[str, tuple[str, ...]]) -> None:
    try:
        TopologicalSorter(links).prepare()
    except CycleError as error:
        raise ValueError("these lead in a circle: " + " -> ".join(error.args[1])) from None


def _wordings(kind: Kind, term: str) -> Iterator[str]:
    for wording in WORDINGS[kind]:
        for side in SIDES if "{side}" in wording else SIDES[:1]:
            yield _capitalised(wording.format(term=term, side=side))


def _capitalised(text: str) -> str:
    return text[0].upper() + text[1:]
