"""Laws of everything that one party signs and another keeps."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.approval import Statement
from common.bundle import BundleManifest
from common.errors import FederationError, IntegrityError
from common.joining import JoinRequest, Kit
from common.secagg.keys import Secret, identity_of
from common.signed import Signed, parse_signed

FIXTURES = Path(__file__).parents[1] / "fixtures"
KINDS: list[type[Signed]] = [Kit, JoinRequest, BundleManifest, Statement]
FILES = {
    Kit: "kit-format-1.json",
    JoinRequest: "request-format-1.json",
    BundleManifest: "bundle-format-1.json",
    Statement: "approval-format-1.json",
}


def content_of(kind: type[Signed]) -> bytes:
    return (FIXTURES / FILES[kind]).read_bytes()


def signer_of(document: Signed) -> str:
    if isinstance(document, Kit | BundleManifest):
        return document.operator
    if isinstance(document, JoinRequest):
        return document.identity
    return parse_signed(content_of(JoinRequest), JoinRequest, where="fixture").identity


def trusted(content: bytes, kind: type[Signed], signer: str) -> Signed:
    document = parse_signed(content, kind, where="a file")
    document.require_signature(signer, signer="its author")
    return document


@given(kind=st.sampled_from(KINDS), place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_bit_that_was_turned_is_refused_or_changes_nothing(
    kind: type[Signed], place: float, bit: int
) -> None:
    content = bytearray(content_of(kind))
    original = parse_signed(bytes(content), kind, where="fixture")
    content[int(place * len(content))] ^= 1 << bit
    try:
        found = trusted(bytes(content), kind, signer_of(original))
    except FederationError:
        return
    assert found == original


@given(kind=st.sampled_from(KINDS), length=st.floats(0, 1))
def test_a_file_that_was_cut_short_is_refused_in_one_line(kind: type[Signed], length: float) -> None:
    whole = content_of(kind).rstrip()
    cut = whole[: int(length * (len(whole) - 1))]
    with pytest.raises(IntegrityError, match=f"no whole {kind.KIND}"):
        parse_signed(cut, kind, where="a file")


@given(kind=st.sampled_from(KINDS), junk=st.binary(max_size=300))
def test_anything_else_is_refused_in_one_line(kind: type[Signed], junk: bytes) -> None:
    with pytest.raises(FederationError) as refused:
        parse_signed(junk, kind, where="a file")
    assert "\n" not in str(refused.value)


@given(kind=st.sampled_from(KINDS), indent=st.sampled_from([None, 0, 4]), backwards=st.booleans())
def test_the_order_and_the_spacing_of_keys_change_nothing(
    kind: type[Signed], indent: int | None, backwards: bool
) -> None:
    said = json.loads(content_of(kind))
    original = parse_signed(content_of(kind), kind, where="fixture")
    items = list(said.items())
    shuffled = json.dumps(dict(items[::-1] if backwards else items), indent=indent).encode()
    assert trusted(shuffled, kind, signer_of(original)) == original


def test_no_document_passes_for_one_of_another_kind() -> None:
    class Kindred(Statement):
        KIND = "kindred"

    key = Secret(bytes(32))
    said = json.loads(content_of(Statement))
    statement = Statement.model_validate(said).signed_by(key)
    kindred = Kindred.model_validate(json.loads(statement.to_bytes()))
    assert kindred.digest() == statement.digest()
    statement.require_signature(identity_of(key).hex(), signer="us")
    with pytest.raises(IntegrityError):
        kindred.require_signature(identity_of(key).hex(), signer="us")


def test_a_version_that_knows_more_keys_still_trusts_what_this_one_signed() -> None:
    class Later(Kit):
        motto: str = "none yet"

    kit = parse_signed(content_of(Kit), Kit, where="fixture")
    later = parse_signed(content_of(Kit), Later, where="fixture")
    later.require_signature(kit.operator, signer="the operator")
    assert later.digest() == kit.digest()
    with pytest.raises(IntegrityError):
        parse_signed(
            Later.model_validate(json.loads(content_of(Kit)) | {"motto": "x"}).to_bytes(), Kit, where="f"
        )
