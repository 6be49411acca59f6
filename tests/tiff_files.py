"""TIFF files of layouts that Pillow does not write: tiles, planes, orientations, any kind of alpha."""

from __future__ import annotations

import struct

import numpy as np

SHORT, LONG = 3, 4


def tiff(pixel_HWC, *, photometric, orientation=1, tile=None, planar=1, extra=None, bits=8) -> bytes:
    """Uncompressed, little-endian. tile: (height, width), multiples of 16. extra: 1 associated, 2 unassociated alpha.
    bits: 8 or 16 of the array's own type, or 12, packed."""
    height, width, channels = pixel_HWC.shape
    planes = [pixel_HWC] if planar == 1 else np.split(pixel_HWC, channels, axis=2)
    parts = [part for plane in planes for part in (_tiles(plane, tile) if tile else [_packed(plane, bits)])]
    tags = {256: (LONG, [width]), 257: (LONG, [height]), 258: (SHORT, [bits] * channels), 259: (SHORT, [1])}
    tags |= {262: (SHORT, [photometric]), 274: (SHORT, [orientation]), 277: (SHORT, [channels])}
    tags |= {284: (SHORT, [planar])}
    if extra is not None:
        tags[338] = (SHORT, [extra])
    where, sizes = (324, 325) if tile else (273, 279)
    tags |= {322: (LONG, [tile[1]]), 323: (LONG, [tile[0]])} if tile else {278: (LONG, [height])}
    starts = [8 + sum(map(len, parts[:i])) for i in range(len(parts))]
    tags |= {where: (LONG, starts), sizes: (LONG, [len(part) for part in parts])}
    return _file(b"".join(parts), tags)


def _packed(plane, bits) -> bytes:
    if bits != 12:
        return plane.tobytes()
    rows = ((plane.reshape(len(plane), -1)[..., None] >> np.arange(11, -1, -1)) & 1).astype(np.uint8)
    return b"".join(np.packbits(row.reshape(-1)).tobytes() for row in rows)


def _tiles(plane, tile) -> list[bytes]:
    down, across = tile
    height, width, _ = plane.shape
    plane = np.pad(plane, ((0, -height % down), (0, -width % across), (0, 0)))
    return [
        plane[y : y + down, x : x + across].tobytes()
        for y in range(0, plane.shape[0], down)
        for x in range(0, plane.shape[1], across)
    ]


def _file(body, tags) -> bytes:
    body += bytes(len(body) % 2)
    directory, beyond = struct.pack("<H", len(tags)), b""
    after = 8 + len(body) + 2 + 12 * len(tags) + 4
    for tag, (kind, values) in sorted(tags.items()):
        data = struct.pack(f"<{len(values)}{'H' if kind == SHORT else 'I'}", *values)
        if len(data) > 4:
            data, beyond = struct.pack("<I", after + len(beyond)), beyond + data
        directory += struct.pack("<HHI", tag, kind, len(values)) + data.ljust(4, b"\0")
    return b"II*\0" + struct.pack("<I", 8 + len(body)) + body + directory + bytes(4) + beyond
