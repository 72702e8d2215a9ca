"""Ontologies of others: an OBO or CSV file, or TOML as our own, read into the same entities.

OBO 1.4 has no kinds. What another term is part of or located in is anatomy, and so is all that is a kind of
it; every other term is a finding. A synonym that already names another entity is left out.
"""

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from common.errors import ConfigurationError
from common.regular_file import read_regular_text
from common.text.ontology import Ontology, first_complaint, parse_ontology

COLUMNS = ("name", "kind", "definition", "synonyms", "patterns", "parents", "located_in")
"""Of a CSV file; the last four may lack, and hold names with semicolons between them."""

PLACES = ("part_of", "located_in", "has_location", "BFO:0000050", "RO:0001025")
"""Relationships of OBO that say where something is."""

_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')


def read_ontology(path: Path) -> Ontology:
    """Read `path`, by its ending .toml, .obo or .csv.

    Raises:
        ConfigurationError: it cannot be read, or an entity is malformed, named twice or linked to nothing.
    """
    try:
        text = read_regular_text(path)
    except (OSError, UnicodeDecodeError):
        raise ConfigurationError(f"ontology {path} cannot be read; give a file in UTF-8") from None
    match path.suffix.lower():
        case ".toml":
            return parse_ontology(text, where=path.name)
        case ".csv":
            entities = list(_rows(text, path.name))
        case ".obo":
            entities = list(_terms(text))
        case _:
            raise ConfigurationError(f"ontology {path.name}: give a file that ends in .toml, .obo or .csv")
    try:
        return Ontology.model_validate({"entities": _without_clashes(entities)})
    except ValidationError as error:
        raise ConfigurationError(f"{path.name}: {first_complaint(error, entities)}; correct it") from None


def _rows(text: str, where: str) -> Iterator[dict[str, Any]]:
    reader = csv.DictReader(text.splitlines())
    unknown = set(reader.fieldnames or ()) - set(COLUMNS)
    missing = set(COLUMNS[:3]) - set(reader.fieldnames or ())
    if unknown or missing:
        wrong = f"column '{min(missing)}' is missing" if missing else f"unknown column '{min(unknown)}'"
        raise ConfigurationError(f"{where}: {wrong}; the columns are {', '.join(COLUMNS)}")
    for row in reader:
        listed = {key: _split(row.get(key) or "") for key in COLUMNS[3:]}
        yield {"name": (row["name"] or "").strip().casefold(), "kind": (row["kind"] or "").strip()} | {
            "definition": (row["definition"] or "").strip(),
            **listed,
        }


def _split(cell: str) -> list[str]:
    return [part.strip().casefold() for part in cell.split(";") if part.strip()]


def _terms(text: str) -> list[dict[str, Any]]:
    stanzas = [
        _stanza(part) for part in re.split(r"^\[", text, flags=re.MULTILINE) if part.startswith("Term]")
    ]
    stanzas = [stanza for stanza in stanzas if "true" not in stanza.get("is_obsolete", [])]
    names = {stanza["id"][0]: stanza["name"][0].casefold() for stanza in stanzas if "name" in stanza}
    entities = [_entity(stanza, names) for stanza in stanzas if "name" in stanza]
    by_name = {entity["name"]: entity for entity in entities}
    places = {place for entity in entities for place in entity["located_in"]}
    return [
        entity | {"kind": "anatomy" if _is_in(entity, places, by_name) else "finding"} for entity in entities
    ]


def _stanza(text: str) -> dict[str, list[str]]:
    """Tag -> its values, comments after " ! " left out."""
    values: dict[str, list[str]] = {}
    for line in text.splitlines()[1:]:
        tag, colon, value = line.partition(":")
        if colon:
            values.setdefault(tag.strip(), []).append(value.split(" ! ")[0].strip())
    return values


def _entity(stanza: dict[str, list[str]], names: dict[str, str]) -> dict[str, Any]:
    name = stanza["name"][0].casefold()
    told = _QUOTED.match(stanza.get("def", [""])[0])
    quoted = [_QUOTED.match(value) for value in stanza.get("synonym", [])]
    relations = [value.split() for value in stanza.get("relationship", [])]
    return {
        "name": name,
        "definition": told[1].replace('\\"', '"') if told and told[1] else name,
        "synonyms": list(dict.fromkeys(found[1].casefold() for found in quoted if found and found[1])),
        "parents": [
            names[target.split()[0]] for target in stanza.get("is_a", []) if target.split()[0] in names
        ],
        "located_in": [
            names[relation[1]]
            for relation in relations
            if len(relation) > 1 and relation[0] in PLACES and relation[1] in names
        ],
    }


def _is_in(entity: dict[str, Any], places: set[str], by_name: dict[str, dict[str, Any]]) -> bool:
    """Whether an entity, or something that it is a kind of, is a place."""
    seen, waiting = set[str](), [entity["name"]]
    while waiting:
        name = waiting.pop()
        if name in places:
            return True
        if name not in seen:
            seen.add(name)
            waiting += by_name[name]["parents"]
    return False


def _without_clashes(entities: list[dict[str, Any]]) -> list[dict[str, Any]]:
    taken = {entity["name"] for entity in entities}
    kept = []
    for entity in entities:
        free = [synonym for synonym in dict.fromkeys(entity["synonyms"]) if synonym not in taken]
        taken.update(free)
        kept.append(entity | {"synonyms": free})
    return kept
