from typing import Any

import pytest
from secagg_round import members, terms, update

from common.secagg import site
from common.secagg.keys import Secret
from common.secagg.stages import stage_from_bytes, stage_to_bytes


def bare(value: Any) -> Any:
    """A stage as plain values, secrets opened, to be compared."""
    if isinstance(value, Secret):
        return value.expose()
    if isinstance(value, dict):
        return {key: bare(item) for key, item in value.items()}
    return {key: bare(item) for key, item in vars(value).items()} if hasattr(value, "__dict__") else value


def test_a_round_can_be_put_down_and_taken_up_again_at_every_stage() -> None:
    three, said = members(3), terms()
    opened = {place: site.advertise(member, said) for place, member in three.items()}
    adverts = {place: advert for place, (_, advert) in opened.items()}
    shared = {place: site.share(three[place], again(stage), adverts) for place, (stage, _) in opened.items()}
    masked = {}
    for place, (stage, _) in shared.items():
        table = {sender: sealed[place] for sender, (_, sealed) in shared.items() if sender != place}
        masked[place] = site.mask(three[place], again(stage), table, *update(place, said)[1:])
    consented = {
        place: site.consent(three[place], again(stage), (0, 1, 2)) for place, stage in masked.items()
    }
    signatures = {place: signature for place, (_, signature) in consented.items()}
    for place, (stage, _) in consented.items():
        first = site.reveal(three[place], stage, signatures)
        assert site.reveal(three[place], again(stage), signatures) == first


def again(stage: Any) -> Any:
    """The stage from its bytes."""
    read = stage_from_bytes(stage_to_bytes(stage))
    assert type(read) is type(stage)
    assert bare(read) == bare(stage)
    return read


@pytest.mark.parametrize("place", [0, 2])
def test_the_bytes_of_a_stage_hold_its_secrets_and_must_be_sealed(place: int) -> None:
    stage, _ = site.advertise(members(3)[place], terms())
    assert stage.self_seed.expose() in stage_to_bytes(stage)
