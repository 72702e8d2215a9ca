"""HTML as plain text, in time linear in its length whatever is in it."""

import html
import re

BLOCKS = frozenset(
    {
        "address",
        "article",
        "blockquote",
        "body",
        "br",
        "caption",
        "dd",
        "div",
        "dl",
        "dt",
        "footer",
        "h1",
        "h2",
    }
    | {"h3", "h4", "h5", "h6", "header", "hr", "li", "main", "ol", "p", "pre", "section", "table", "tr", "ul"}
)
"""Elements that begin and end a line."""
HEADINGS = frozenset({"h1", "h2", "h3", "h4", "h5", "h6", "dt", "th"})
"""Elements whose text is a header; a colon after it makes it one for `parse_sections`."""
HIDDEN = frozenset({"head", "script", "style", "template", "title"})

_MARKUP = re.compile(r"<!--|<(?:[!?]|(/?)([a-zA-Z][a-zA-Z0-9]*+))[^<>]*+>")


def plain_text(markup: str) -> str:
    """Return the text of an HTML document or fragment: one line for each block, headings with a colon."""
    page, position = _Page(), 0
    while (match := _MARKUP.search(markup, position)) is not None:
        page.write(markup[position : match.start()])
        position = match.end()
        if match[0] == "<!--":
            end = markup.find("-->", position)
            position = len(markup) if end < 0 else end + len("-->")
        else:
            page.turn((match[2] or "").lower(), closes=match[1] == "/")
    page.write(markup[position:])
    return page.text()


class _Page:
    """What has been read of a document."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._last = ""
        """The last character that is no blank."""
        self._hidden = ""
        """The element whose text is not shown."""
        self._keeps_lines = False

    def write(self, text: str) -> None:
        """Take the text between two tags."""
        if self._hidden:
            return
        plain = html.unescape(text if self._keeps_lines else " ".join(re.split(r"[\r\n]", text)))
        self._last = (plain.rstrip() or self._last)[-1:]
        self._parts.append(plain)

    def turn(self, name: str, *, closes: bool) -> None:
        """Take a tag."""
        if self._hidden:
            self._hidden = "" if closes and name == self._hidden else self._hidden
        elif name in HIDDEN:
            self._hidden = "" if closes else name
        else:
            if name == "pre":
                self._keeps_lines = not closes
            if name in HEADINGS and closes and self._last not in ("", ":"):
                self._parts.append(":")
                self._last = ":"
            self._parts.append("\n" if name in BLOCKS else " " if name in ("td", "th") else "")

    def text(self) -> str:
        """All of it, blanks collapsed and empty lines left out."""
        lines = (" ".join(line.split()) for line in "".join(self._parts).splitlines())
        return "\n".join(line for line in lines if line)
