"""Parses the XML of untrusted annotation files in any encoding."""

from __future__ import annotations

import codecs
import re
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from ssd.data.lists import utf_of

# Python's parser reads those of one byte a letter, and UTF-8 and UTF-16. Of the others, these are
# the ones that cost no more than their length to decode.
MULTI_BYTE = frozenset(
    {"big5", "big5hkscs", "cp932", "cp949", "cp950", "euc_jis_2004", "euc_jisx0213", "euc_jp"}
    | {"euc_kr", "gb18030", "gb2312", "gbk", "hz", "iso2022_jp", "iso2022_kr", "johab"}
    | {"shift_jis", "shift_jis_2004", "shift_jisx0213"}
)
DECLARED = re.compile(rb"""\s*<\?xml[^>]{0,100}?encoding\s*=\s*["']([A-Za-z0-9._-]{1,40})["']""")


def parse_xml(data: bytes) -> tuple[Element, bool]:
    """The root of a document, and whether the document declares an encoding that it is not in.

    Raises:
        ParseError, ValueError, LookupError: it is not well-formed, or does harm.
    """
    from defusedxml.ElementTree import fromstring

    encoding, is_wrong = _encoding(data)
    text = data.decode(encoding) if encoding else data
    if isinstance(text, str) and "<!DOCTYPE" not in text:
        # Entities, by which XML does harm, need a DOCTYPE. Without it, the fast parser is safe.
        return ElementTree.fromstring(text), is_wrong
    return fromstring(text), is_wrong


def _encoding(data: bytes) -> tuple[str | None, bool]:
    """The encoding to decode with, or None if the parser can, and whether another is declared."""
    encoding = utf_of(data)
    declared = DECLARED.match(data)
    if encoding != "utf-8-sig" or not declared:
        return encoding, False
    name = codecs.lookup(declared[1].decode()).name
    if name in MULTI_BYTE:
        return name, False
    if name.startswith("utf"):  # The declaration itself is of single bytes, so it is not UTF-16.
        return encoding, not name.startswith("utf-8")
    return None, False
