"""What stands in a report in the place of an identifier, such as `[NAME]`.

For a model each is one unknown word: a tokenizer learns no piece from them and reads each as [UNK] (of byte
pairs, which know no unknown word, as a blank), so that how much a hospital had to remove does not become
vocabulary.
"""

import re
from enum import StrEnum


class Kind(StrEnum):
    """What an identifier is; its value is the word between the brackets of its token."""

    NAME = "NAME"
    DATE = "DATE"
    TIME = "TIME"
    AGE = "AGE"
    """Above 89, where an age alone tells who it is. Source: 45 CFR 164.514(b)(2)(i)(C)."""
    PHONE = "PHONE"
    EMAIL = "EMAIL"
    LINK = "LINK"
    ID = "ID"
    PLACE = "PLACE"

    @property
    def token(self) -> str:
        """`[NAME]`: never a special token of the tokenizer."""
        return f"[{self.value}]"


TOKEN = re.compile(rf"\[({'|'.join(Kind)})\]")
