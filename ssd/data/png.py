"""PNG files without the parts that change no pixel, and of which libpng complains on stderr."""

from __future__ import annotations

SIGNATURE = b"\x89PNG\r\n\x1a\n"
PROFILE, PIXELS = b"iCCP", b"IDAT"


def without_profile(data: bytes) -> bytes:
    """The bytes of a PNG file without its colour profile, which OpenCV ignores; others as given.

    Well-known programs write profiles that libpng warns of, once for every file.
    """
    if not data.startswith(SIGNATURE):
        return data
    start = len(SIGNATURE)
    while (kind := data[start + 4 : start + 8]) and kind != PIXELS:
        end = start + 12 + int.from_bytes(data[start : start + 4])  # length, kind, content, CRC
        if kind == PROFILE:
            return data[:start] + data[end:]
        start = end
    return data
