"""A site's stage as bytes and back, so that it can wait on the site's disc, sealed, for the next message."""

from dataclasses import astuple

from common.secagg.encoding import Item, decode, encode
from common.secagg.keys import Secret
from common.secagg.messages import Advert
from common.secagg.site import Advertised, Consented, Masked, Shared, Stage
from common.secagg.terms import Terms
from common.secagg.transcript import Cohort


def stage_to_bytes(stage: Stage) -> bytes:
    """The stage with its secrets, which must be sealed before they are written."""
    match stage:
        case Advertised():
            return encode(["advertised", *_keys(stage)])
        case Shared():
            return encode(["shared", *_keys(stage.keys), _adverts(stage.cohort), stage.own_shares])
        case Masked():
            return encode(["masked", *_masked(stage)])
        case Consented():
            return encode(["consented", *_masked(stage.masked), stage.survivors])


def stage_from_bytes(data: bytes) -> Stage:
    """The inverse of `stage_to_bytes`; `data` was sealed by this site, so it is as it was written."""
    kind, *fields = _tuple(decode(data))
    if kind == "advertised":
        return _read_keys(fields)
    if kind == "shared":
        keys = _read_keys(fields[:5])
        return Shared(keys, _read_cohort(keys.terms, fields[5]), _bytes(fields[6]))
    if kind == "masked":
        return _read_masked(fields)
    return Consented(_read_masked(fields[:5]), _sites(fields[5]))


def _keys(stage: Advertised) -> list[Item]:
    secrets = [secret.expose() for secret in (stage.sealing_secret, stage.mask_secret, stage.self_seed)]
    return [astuple(stage.terms), *secrets, stage.advert.fields()]


def _read_keys(fields: list[Item]) -> Advertised:
    terms, sealing, masking, seed, advert = fields
    return Advertised(
        _read_terms(terms),
        Secret(_bytes(sealing)),
        Secret(_bytes(masking)),
        Secret(_bytes(seed)),
        _read_advert(advert),
    )


def _masked(stage: Masked) -> list[Item]:
    shares = [(site, secret.expose()) for site, secret in sorted(stage.shares.items())]
    return [astuple(stage.cohort.terms), _adverts(stage.cohort), stage.place, stage.senders, shares]


def _read_masked(fields: list[Item]) -> Masked:
    terms, adverts, place, senders, shares = fields
    pairs = [_tuple(pair) for pair in _tuple(shares)]
    return Masked(
        _read_cohort(_read_terms(terms), adverts),
        _integer(place),
        _sites(senders),
        {_integer(site): Secret(_bytes(share)) for site, share in pairs},
    )


def _adverts(cohort: Cohort) -> list[Item]:
    return [cohort.adverts[site].fields() for site in cohort.sites]


def _read_cohort(terms: Terms, adverts: Item) -> Cohort:
    read = [_read_advert(advert) for advert in _tuple(adverts)]
    return Cohort.of(terms, {advert.site: advert for advert in read})


def _read_terms(item: Item) -> Terms:
    return Terms(*_tuple(item))  # type: ignore[arg-type]  # written by astuple above, sealed since


def _read_advert(item: Item) -> Advert:
    return Advert(*_tuple(item))  # type: ignore[arg-type]  # written by fields() above, sealed since


def _sites(item: Item) -> tuple[int, ...]:
    return tuple(_integer(site) for site in _tuple(item))


def _tuple(item: Item) -> tuple[Item, ...]:
    assert isinstance(item, tuple)
    return item


def _bytes(item: Item) -> bytes:
    assert isinstance(item, bytes)
    return item


def _integer(item: Item) -> int:
    assert isinstance(item, int)
    return item
