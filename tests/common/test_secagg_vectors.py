"""Published vectors through our wrappers, and one whole transcript that must never change by itself."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.testing import assert_array_equal
from secagg_round import THIN, WIDE, counting, members, play, terms

from common.keystream import PIECE, STRETCH_BYTES, Keystream, Scratch
from common.secagg.abort import AbortError
from common.secagg.keys import Secret, agree, hkdf, identity_of, public_key, seal, sign, unseal, verify
from common.secagg.masks import MaskKeys, mask_numbers
from common.secagg.shamir import join, split
from common.update import Profile

FROZEN = Path(__file__).parents[1] / "secagg_transcripts.json"


def of(text: str) -> bytes:
    return bytes.fromhex(text)


def counter_mode(key: bytes, counter: bytes, plain: bytes) -> bytes:
    return Cipher(algorithms.AES(key), modes.CTR(counter)).encryptor().update(plain)


def test_counter_mode_is_that_of_nist() -> None:
    """SP 800-38A, F.5.5."""
    key = of("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4")
    plain = of(
        "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
        "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710"
    )
    cipher = of(
        "601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c5"
        "2b0930daa23de94ce87017ba2d84988ddfc9c58db67aada613c2dd08457941a6"
    )
    assert counter_mode(key, of("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff"), plain) == cipher


@pytest.mark.parametrize("stretch", [0, 1, 2**64 + 5])
def test_a_stretch_of_the_keystream_is_counter_mode_from_its_own_block(stretch: int) -> None:
    key = bytes(range(32))
    block = stretch.to_bytes(12, "big") + (2).to_bytes(4, "big")
    drawn = Keystream(key, np.uint16, stretch=stretch).next(PIECE, Scratch())
    assert drawn.tobytes() == counter_mode(key, block, bytes(2 * PIECE))


def test_the_first_block_under_the_zero_key_is_the_published_one() -> None:
    """McGrew and Viega, The Galois/Counter Mode of Operation, appendix B, case 14."""
    assert Keystream(bytes(32), np.uint16).next(8, Scratch()).tobytes() == of(
        "cea7403d4d606b6e074ec5d3baf39d18"
    )


def test_words_are_little_endian_whatever_their_width() -> None:
    key, stream = bytes(32), {}
    for dtype in (np.uint16, np.uint32, np.uint64):
        stream[dtype] = Keystream(key, dtype).next(64 // np.dtype(dtype).itemsize, Scratch())
        assert stream[dtype].astype(f"<u{stream[dtype].itemsize}").tobytes() == stream[np.uint16].tobytes()
    low, high = stream[np.uint16][:2].tolist()
    assert stream[np.uint32][0] == low + (high << 16)


def test_a_stream_goes_on_in_pieces_of_any_size_and_over_the_end_of_a_stretch() -> None:
    key, words = bytes(range(32)), STRETCH_BYTES // 2
    stream, sizes = Keystream(key, np.uint16), [1, 7, 1000, PIECE, 57]
    sizes += [PIECE] * ((words - sum(sizes)) // PIECE + 1)
    drawn = np.concatenate([stream.next(size, Scratch()).copy() for size in sizes])
    assert len(drawn) > words
    assert drawn[:words].tobytes() == counter_mode(key, bytes(15) + b"\x02", bytes(STRETCH_BYTES))
    second = Keystream(key, np.uint16, stretch=1).next(len(drawn) - words, Scratch())
    assert_array_equal(drawn[words:], second)


@pytest.mark.parametrize("threads", [2, 3, 5])
@pytest.mark.parametrize("dtype", [np.uint16, np.uint32, np.uint64])
def test_any_number_of_threads_gives_the_same_mask(dtype: type[np.unsignedinteger], threads: int) -> None:
    words = 2 * STRETCH_BYTES // np.dtype(dtype).itemsize + 4097
    keys = MaskKeys((b"p" * 32, b"q" * 32), (b"m" * 32,))
    alone, shared = np.zeros(words, dtype), np.zeros(words, dtype)
    mask_numbers(alone, keys)
    mask_numbers(shared, keys, threads=threads)
    assert_array_equal(shared, alone)


@pytest.mark.parametrize(
    ("material", "salt", "info", "expected"),
    [
        (
            "0b" * 22,
            "000102030405060708090a0b0c",
            "f0f1f2f3f4f5f6f7f8f9",
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf",
        ),
        ("0b" * 22, "", "", "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d"),
    ],
    ids=["RFC 5869 A.1", "RFC 5869 A.3"],
)
def test_derivation_is_hkdf_sha256(material: str, salt: str, info: str, expected: str) -> None:
    assert hkdf(of(material), salt=of(salt), info=of(info)) == of(expected)


@pytest.mark.parametrize(
    ("secret", "peer", "expected"),
    [
        (
            "a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
            "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c",
            "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552",
        ),
        (
            "4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d",
            "e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493",
            "95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957",
        ),
    ],
    ids=["RFC 7748 5.2, first", "RFC 7748 5.2, second"],
)
def test_agreement_is_x25519(secret: str, peer: str, expected: str) -> None:
    assert agree(Secret(of(secret)), of(peer)) == of(expected)


def test_the_public_key_is_that_of_x25519() -> None:
    """RFC 7748, section 6.1, Bob's."""
    secret = Secret(of("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb"))
    assert public_key(secret) == of("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f")


def test_a_key_of_small_order_agrees_on_nothing() -> None:
    for point in (bytes(32), b"\x01" + bytes(31), b"short"):
        with pytest.raises(AbortError, match="unusable-key"):
            agree(Secret(b"k" * 32), point)


@pytest.mark.parametrize(
    ("plain", "sealed"),
    [
        ("", "530f8afbc74536b9a963b4f1c4cb738b"),
        ("00" * 16, "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919"),
    ],
    ids=["case 13", "case 14"],
)
def test_sealing_is_aes_256_gcm(plain: str, sealed: str) -> None:
    """McGrew and Viega, The Galois/Counter Mode of Operation, appendix B: key and nonce are zero."""
    assert seal(bytes(32), of(plain), b"") == of(sealed)
    assert unseal(bytes(32), of(sealed), b"") == of(plain)


@pytest.mark.parametrize(
    ("key", "identity", "message", "signature"),
    [
        (
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "",
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd"
            "25bf5f0595bbe24655141438e7a100b",
        ),
        (
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            "72",
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c3"
            "87b2eaeb4302aeeb00d291612bb0c00",
        ),
    ],
    ids=["RFC 8032 7.1, test 1", "RFC 8032 7.1, test 2"],
)
def test_signatures_are_ed25519(
    key: str, identity: str, message: str, signature: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("common.secagg.keys.encode", lambda statement: statement)  # the RFC signs plain bytes
    assert identity_of(Secret(of(key))) == of(identity)
    assert sign(Secret(of(key)), of(message)) == of(signature)
    verify(of(identity), of(signature), of(message))
    with pytest.raises(AbortError, match="bad-signature"):
        verify(of(identity), of(signature), of(message) + b"!")


def test_shares_lie_on_the_polynomial() -> None:
    """By hand: f(x) = 5 + 3x + 2x^2 at 1, 2, 3 is 10, 19, 32."""
    coefficients = iter([2, 3])
    secret = (5).to_bytes(32, "big")
    shares = split(
        secret, threshold=3, places=[1, 2, 3], random=lambda size: next(coefficients).to_bytes(size, "big")
    )
    assert [int.from_bytes(share, "big") for share in shares.values()] == [10, 19, 32]
    assert join(shares) == secret


# --- a whole transcript -------------------------------------------------------------------------------------

CASES = {"wide": (WIDE, {}), "thin": (THIN, {}), "one site drops out": (WIDE, {2: 2})}


def transcript(profile: Profile, drops: dict[int, int]) -> dict[str, object]:
    """All that four sites with known secrets say in a round, and what it gives."""
    said: dict[str, object] = {}

    def record(kind: str, site: int, message: bytes) -> None:
        said[f"{kind} of {site}"] = (
            message.hex() if len(message) < 400 else hashlib.sha256(message).hexdigest()
        )

    round_terms = terms(coordinates=24, profile=profile)
    outcome = play(members(4), round_terms, drops=drops, random=counting("frozen"), record=record)
    return {
        "terms": round_terms.digest().hex(),
        **said,
        "sum of words": outcome.total.integers().tolist(),
        "sum of lanes": outcome.lanes.tolist(),
    }


@pytest.mark.parametrize("name", CASES)
def test_a_transcript_of_fixed_secrets_is_the_one_on_file(name: str) -> None:
    """Hospitals of two versions must still finish a round together.

    If the protocol changes on purpose, so do its labels; then write the file anew with
    json.dumps({name: transcript(*case) for name, case in CASES.items()}, indent=1).
    """
    assert transcript(*CASES[name]) == json.loads(FROZEN.read_text())[name]
