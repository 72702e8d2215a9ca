"""The look that every page of ours has, and how a page is made: one file that loads nothing from anywhere."""

from importlib.resources import files

from jinja2 import Environment, StrictUndefined, Template


def style() -> str:
    """The shared style sheet; a page puts its own after it."""
    return asset("common", "page.css")


def template(package: str, name: str) -> Template:
    """The page template `name` beside the modules of `package`; what it is given is escaped."""
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(asset(package, name))


def asset(package: str, name: str) -> str:
    """The text of a file beside the modules of `package`."""
    return asset_bytes(package, name).decode()


def asset_bytes(package: str, name: str) -> bytes:
    """The same file as it is."""
    return files(package).joinpath(name).read_bytes()
