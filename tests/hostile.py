"""Picture files of up to 1 MB that somebody has made to cost much, for the short fuzz test and the long one.

Unlike damage (see damaging.py), these are mostly well-formed: tags that claim much or overlap, XMP that is
deep or wide, texts that inflate, frames and scans by the thousand.
"""

import io
import random
import struct
import zlib
from collections.abc import Callable

from damaging import damaged
from PIL import Image

LARGEST = 1_000_000

Chance = random.Random


def segment(data: bytes, marker: int = 0xE1) -> bytes:
    """A segment of a JPEG."""
    data = data[:65_533]
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(data) + 2) + data


def chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of a PNG with its sum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def photo(chance: Chance) -> Image.Image:
    """Some pixels, few."""
    size = chance.choice(((1, 1), (16, 16), (64, 48), (160, 107)))
    mode = chance.choice(("RGB", "RGB", "RGBA", "L", "LA", "P"))
    noise = Image.frombytes("L", size, chance.randbytes(size[0] * size[1]))
    return noise.convert("RGB").convert(mode)


def number(chance: Chance) -> int:
    """A size or a place that a parser might take at its word."""
    return chance.choice(
        (0, 1, 2, 7, 8, 255, 1000, 65_535, 65_536, 1 << 20, (1 << 31) - 1, 1 << 31, (1 << 32) - 1)
    )


def tags(chance: Chance, room: int = 60_000) -> bytes:
    """EXIF, or the tags of a TIFF, as nobody writes it."""
    order = chance.choice("<>")
    count = chance.choice((0, 1, 5, 40, 400, 4000))
    count = min(count, room // 24)
    known = [
        271,
        272,
        274,
        282,
        283,
        296,
        305,
        306,
        315,
        33432,
        0x8769,
        0x8825,
        0xA005,
        0x927C,
        700,
        33723,
        34675,
    ]
    size = chance.choice((8, 100, 10_000, max(8, room - 12 * count)))
    entries = []
    for i in range(count):
        tag = chance.choice(known) if chance.random() < 0.3 else 30_000 + i
        kind = chance.choice((0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 16, 17, 18, 129, 999))
        many = chance.choice((1, size // 8, size, number(chance)))
        where = chance.choice((8, 10 + 12 * count, chance.randrange(size + 12 * count + 10), number(chance)))
        entries.append(struct.pack(order + "HHLL", tag, kind, many, where))
    head = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(order + "L", 8)
    following = struct.pack(order + "L", chance.choice((0, 8, number(chance))))
    return head + struct.pack(order + "H", count) + b"".join(entries) + following + chance.randbytes(size)


def xmp(chance: Chance, room: int = 60_000) -> bytes:
    """XMP that is wide, deep, long, or all of it."""
    many, name = (
        chance.choice((1, 50, 5000)),
        chance.choice(("a:b", "dc:title", "photoshop:Credit", "tiff:Orientation")),
    )
    parts = {
        "wide": lambda: "".join(f"<{name}{i}/>" for i in range(many * 4)),
        "same": lambda: f"<{name}/>" * many * 4,
        "deep": lambda: f"<{name}>" * many + f"</{name}>" * many,
        "long": lambda: f"<{name}>{'x' * many * 12}</{name}>",
        "list": lambda: f"<{name}><rdf:Bag>{'<rdf:li>x</rdf:li>' * many}</rdf:Bag></{name}>",
        "open": lambda: f"<{name}>" * many,
    }
    body = "".join(parts[chance.choice(sorted(parts))]() for _ in range(chance.randrange(1, 4)))
    attributes = " ".join(
        f'a:c{i}="{"y" * chance.randrange(40)}"' for i in range(chance.choice((0, 3, 1000)))
    )
    entities = ""
    if chance.random() < 0.1:
        entities = (
            '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">'
            + "".join(
                f'<!ENTITY a{i} "{f"&a{i - 1 if i else chr(0)};".replace(chr(0), "") * 10}">'
                for i in range(9)
            )
            + "]>"
        )
        body += "&a8;"
    return (
        f'{entities}<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-'
        'ns#"><rdf:Description rdf:about="" xmlns:a="http://a/" xmlns:dc="http://purl.org/dc/elements/1.1/" '
        'xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/" xmlns:tiff="http://ns.adobe.com/tiff/1.0/" '
        f"{attributes}>{body}</rdf:Description></rdf:RDF></x:xmpmeta>"
    ).encode()[: room + chance.randrange(100)]


def iptc(chance: Chance) -> bytes:
    """Photoshop's resources with fields by the thousand."""
    fields = b"".join(
        b"\x1c" + bytes([chance.choice((1, 2, 2, 2, 9)), chance.randrange(256)])
        + struct.pack(">H", chance.choice((3, 3, 3, 0, 0x8004, 65_535))) + b"abc"
        for _ in range(chance.choice((1, 20, 6000)))
    )  # fmt: skip
    size = chance.choice((len(fields), number(chance)))
    return b"Photoshop 3.0\0" + (b"8BIM\x04\x04\0\0" + struct.pack(">I", size) + fields) * chance.choice(
        (1, 1, 3)
    )


def jpeg(chance: Chance) -> bytes:
    """A JPEG with much before, between and after its scans."""
    buffer = io.BytesIO()
    image = photo(chance).convert(chance.choice(("RGB", "L", "CMYK")))
    image.save(buffer, "JPEG", progressive=chance.random() < 0.5, quality=chance.choice((5, 90)))
    content = buffer.getvalue()
    makers: list[Callable[[], bytes]] = [
        lambda: segment(b"Exif\0\0" + tags(chance)),
        lambda: segment(b"http://ns.adobe.com/xap/1.0/\0" + xmp(chance)),
        lambda: segment(iptc(chance), 0xED),
        lambda: segment(
            b"ICC_PROFILE\0" + bytes([chance.randrange(256), 255]) + chance.randbytes(9000), 0xE2
        ),
        lambda: segment(chance.randbytes(chance.choice((0, 10, 60_000))), 0xFE),
        lambda: segment(b"MPF\0" + tags(chance), 0xE2),
        lambda: segment(chance.randbytes(30), chance.randrange(0xE0, 0xFF)),
        lambda: b"\xff" * chance.randrange(1000),
    ]
    before = b"".join(chance.choice(makers)() for _ in range(chance.choice((1, 1, 2, 12))))
    scan = content[content.rindex(b"\xff\xda") : -2]
    after = scan * chance.choice((0, 0, 1, 150, 5000)) if len(scan) < 2000 else b""
    end = chance.choice((b"\xff\xd9", b"\xff\xd9", b"", b"\xff\xd9" + chance.randbytes(5000)))
    return content[:2] + before + content[2:-2] + after + end


def png(chance: Chance) -> bytes:
    """A PNG with texts, profiles, tags, and frames that are not there."""
    buffer = io.BytesIO()
    image = photo(chance)
    film = {"save_all": True, "append_images": [image.rotate(9)] * 3} if chance.random() < 0.2 else {}
    image.save(buffer, "PNG", **film)  # pyright: ignore[reportArgumentType]
    bomb = zlib.compress(b"x" * chance.choice((10, 60_000, 3_000_000)))
    raw = b"\nexif\n  1000\n" + tags(chance, 3000).hex().encode()
    makers: list[Callable[[], bytes]] = [
        lambda: chunk(b"eXIf", tags(chance, 500_000)),
        lambda: chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp(chance, 600_000)),
        lambda: chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(xmp(chance, 5_000_000))),
        lambda: chunk(b"zTXt", b"key %d\0\0" % chance.randrange(9999) + bomb) * 1,
        lambda: b"".join(chunk(b"zTXt", b"key %d\0\0" % i + bomb) for i in range(chance.choice((2, 900)))),
        lambda: chunk(b"iCCP", b"p\0\0" + bomb),
        lambda: chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(raw)),
        lambda: chunk(b"tRNS", chance.randbytes(chance.choice((0, 1, 2, 6, 300)))),
        lambda: chunk(b"acTL", struct.pack(">II", number(chance), 0)),
        lambda: chunk(b"pHYs", struct.pack(">IIB", number(chance), number(chance), 1)),
        lambda: chunk(b"tEXt", b"Title\0" + chance.randbytes(chance.choice((5, 100_000)))),
        lambda: chunk(b"abCd", b"x") * chance.choice((1, 30_000)),
        lambda: chunk(b"cICP", bytes([9, chance.choice((1, 13, 16, 18)), 0, 1])),
    ]
    content = buffer.getvalue()
    before = b"".join(chance.choice(makers)() for _ in range(chance.choice((1, 1, 2, 8))))
    return content[:33] + before + content[33:]


def gif(chance: Chance) -> bytes:
    """A GIF of many frames, or of few that lie anywhere."""
    width, height = chance.choice(((1, 1), (8, 6), (100, 80), (3000, 2000), (60_000, 1), (65_535, 65_535)))
    count = chance.choice((1, 2, 10, 900, 1100, 30_000))
    parts = [b"GIF89a" + struct.pack("<HH", width, height) + b"\x80\0\0" + bytes(3) + b"\xff" * 3]
    if chance.random() < 0.5:
        parts.append(b"\x21\xff\x0bNETSCAPE2.0\3\1" + chance.randbytes(2) + b"\0")
    if chance.random() < 0.3:
        parts.append(b"\x21\xfe" + (b"\xff" + b"c" * 255) * chance.choice((1, 300)) + b"\0")
    alike = chance.random() < 0.7
    frame = b""
    for i in range(count):
        if not alike or not frame:
            place = [chance.choice((0, 0, 1, 50, 65_000)) for _ in range(2)]
            size = [chance.choice((1, 1, 8, 100, 3000, 65_535)) if not alike else 1 for _ in range(2)]
            control = b"\x21\xf9\x04" + bytes([chance.randrange(64), 1, 0, chance.randrange(2)]) + b"\0"
            image = b"\x2c" + struct.pack("<HHHH", *place, *size) + bytes([chance.choice((0, 0x40))])
            data = b"\2" + chance.choice(
                (b"\2\x4c\1\0", b"\2\x84\x51\0", b"\x05" + chance.randbytes(5) + b"\0")
            )
            frame = control + image + data
        parts.append(frame)
        if i % 1000 == 0 and sum(map(len, parts)) > LARGEST:
            break
    return b"".join(parts) + b";"


def tiff(chance: Chance) -> bytes:
    """A TIFF with tags that claim too much."""
    buffer = io.BytesIO()
    options = {"compression": chance.choice((None, "tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits"))}
    photo(chance).convert("RGB").save(buffer, "TIFF", **options, big_tiff=chance.random() < 0.1)
    content = bytearray(buffer.getvalue())
    if content[2] == 43 or chance.random() < 0.2:
        return bytes(content) if chance.random() < 0.5 else tags(chance, 800_000)
    (place,) = struct.unpack_from("<I", content, 4)
    (count,) = struct.unpack_from("<H", content, place)
    table = bytes(content[place + 2 : place + 2 + 12 * count])
    more = b"".join(
        struct.pack(
            "<HHLL", 40_000 + i, chance.choice((2, 5, 7)), chance.choice((9, 50_000, number(chance))), 8
        )
        for i in range(chance.choice((1, 20, 5000)))
    )
    if chance.random() < 0.5:
        entry = 12 * chance.randrange(count)
        table = table[: entry + 8] + struct.pack("<L", number(chance)) + table[entry + 12 :]
    struct.pack_into("<I", content, 4, len(content))
    entries = table + more
    return bytes(content) + struct.pack("<H", min(65_535, len(entries) // 12)) + entries + bytes(4)


def riff(chance: Chance) -> bytes:
    """A WebP with tags and XMP, still or moving."""
    buffer = io.BytesIO()
    image = photo(chance).convert(chance.choice(("RGB", "RGBA")))
    film = (
        {"save_all": True, "append_images": [image.rotate(9)] * chance.choice((1, 40))}
        if chance.random() < 0.4
        else {}
    )
    image.save(buffer, "WEBP", exif=tags(chance, 400_000), xmp=xmp(chance, 400_000), **film)  # pyright: ignore
    return buffer.getvalue()


def avif(chance: Chance) -> bytes:
    """An AVIF with tags and XMP."""
    buffer = io.BytesIO()
    image = photo(chance).convert(chance.choice(("RGB", "RGBA")))
    image.save(buffer, "AVIF", speed=10, xmp=xmp(chance, 200_000))
    content = buffer.getvalue()
    return content + tags(chance, 400_000) if chance.random() < 0.5 else content


def flat(chance: Chance) -> bytes:
    """Very many pixels in few bytes."""
    side = chance.choice((3000, 5000, 7000, 9900))
    format_name = chance.choice(("PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP"))
    if format_name == "WEBP":
        side = min(side, 5000)  # Pillow's copies of larger ones are beyond what is wanted
    mode = chance.choice(("RGB", "RGBA", "L"))
    if format_name in {"JPEG", "BMP"}:
        mode = "RGB"
    image = Image.new(mode, (side, side), 90)
    buffer = io.BytesIO()
    options = {"compression": "tiff_adobe_deflate"} if format_name == "TIFF" else {}
    image.save(buffer, format_name, **options)
    return buffer.getvalue()


_FLAT_EVERY = 151
"""These take so long to make that only some are tried."""

MAKERS: dict[str, Callable[[Chance], bytes]] = {
    "jpg": jpeg, "png": png, "gif": gif, "tiff": tiff, "webp": riff, "avif": avif,
}  # fmt: skip


def hostile(number: int, seed: int) -> tuple[str, bytes]:
    """The name and content of a file; the same number gives the same file."""
    chance = random.Random(f"hostile {seed}/{number}")
    name = sorted(MAKERS)[number % len(MAKERS)]
    if number % _FLAT_EVERY == _FLAT_EVERY - 1:
        return "flat", flat(chance)[:LARGEST]
    content = MAKERS[name](chance)
    if chance.random() < 0.3:
        content = damaged(content, content, chance)
    return name, content[:LARGEST]
