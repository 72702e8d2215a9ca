"""Whom a FHIR DiagnosticReport names: its patient, its physicians and where they work.

Source: hl7.org/fhir/R4/diagnosticreport.html, patient.html, practitioner.html and datatypes.html#HumanName.
"""

from collections.abc import Callable, Iterable, Iterator

from client.ingest.deidentify import Identifiers
from client.ingest.reports.json_tree import Node, nodes, string, strings

PEOPLE = ("subject", "performer", "resultsInterpreter", "encounter")
"""References of a report that lead to people."""
REQUEST, REQUESTERS = "basedOn", ("requester", "performer")
"""The order that a report answers, and whom it names."""


def people(resource: Node, resolve: Callable[[Node], Node]) -> Identifiers:
    """Names, numbers, birth date and addresses of everybody whom the report refers to."""
    requests = [resolve(order) for order in nodes(resource, REQUEST)]
    references = [one for key in PEOPLE for one in nodes(resource, key)]
    references += [one for request in requests for key in REQUESTERS for one in nodes(request, key)]
    targets = [resolve(reference) for reference in references]
    roles = [
        one for target in targets for key in ("practitioner", "organization") for one in nodes(target, key)
    ]
    references, targets = references + roles, targets + [resolve(role) for role in roles]
    return Identifiers(
        names=_unique([*_displayed(references), *(name for one in targets for name in _names(one))]),
        ids=_unique(
            [
                *strings(resource, "identifier", "value"),
                *(number for one in references for number in strings(one, "identifier", "value")),
                *(number for one in targets for number in _numbers(one)),
            ]
        ),
        birth_dates=_unique(string(target, "birthDate") for target in targets),
        institutions=_unique(place for target in targets for place in _places(target)),
    )


def _displayed(references: Iterable[Node]) -> Iterator[str]:
    for reference in references:
        yield string(reference, "display")


def _names(target: Node) -> Iterator[str]:
    """The names of a resource as `family^given`; of an organization its name is a place."""
    for name in [*nodes(target, "name"), *nodes(target, "contact", "name")]:
        yield string(name, "text")
        yield "^".join(filter(None, [string(name, "family"), " ".join(strings(name, "given"))]))


def _numbers(target: Node) -> Iterator[str]:
    yield from strings(target, "identifier", "value")
    yield from strings(target, "telecom", "value")
    yield from strings(target, "contact", "telecom", "value")


def _places(target: Node) -> Iterator[str]:
    if string(target, "resourceType") == "Organization":
        yield from strings(target, "name")
        yield from strings(target, "alias")
    for address in [*nodes(target, "address"), *nodes(target, "contact", "address")]:
        yield from (string(address, key) for key in ("text", "city", "district", "postalCode"))
        yield from strings(address, "line")


def _unique(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(value.strip() for value in values if value.strip()))
