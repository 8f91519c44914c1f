"""Metadata of results: what made them, in whose style, and nothing private unless it may stay.

IPTC's DigitalSourceType says to people and programs that a picture was made with a trained model:
https://cv.iptc.org/newscodes/digitalsourcetype/
"""

import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from stylize import __version__
from stylize import exif as exifs
from stylize.cards import StyleCard

Metadata = Literal["all", "public", "none"]
"""Keep everything, everything but location and serial numbers, or nothing; the first two add the mark."""

SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
"""Of a picture that was painted from another."""

ALL_BY_MODEL = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
"""Of a picture that a model made from nothing."""

COMPOSITE = "http://cv.iptc.org/newscodes/digitalsourcetype/composite"
"""Put together from pictures, whatever they are, without a model."""

_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_IPTC = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
_NAMESPACES = {
    "x": "adobe:ns:meta/",
    "rdf": _RDF,
    "Iptc4xmpExt": _IPTC,
    "photoshop": "http://ns.adobe.com/photoshop/1.0/",
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "dc": "http://purl.org/dc/elements/1.1/",
    "Iptc4xmpCore": "http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/",
}
for _prefix, _uri in _NAMESPACES.items():
    ET.register_namespace(_prefix, _uri)

_LISTS = {"creator": "Seq", "subject": "Bag"}
"""Dublin Core properties with several values; the others have one per language."""

LARGEST_XMP = 1 << 20
_MOST_ELEMENTS, _DEEPEST = 20_000, 100
"""What of an original's XMP is taken in: bytes, elements, and elements within elements."""

_OF_THE_FILE = (
    "{http://ns.adobe.com/tiff/1.0/}Orientation",
    "{http://ns.google.com/photos/1.0/camera/}",  # motion photographs: the film is not in the result
    "{http://ns.google.com/photos/1.0/container/}",
    "{http://ns.adobe.com/hdr-gain-map/1.0/}",
    "{http://ns.apple.com/HDRGainMap/1.0/}",
    "{http://ns.adobe.com/xmp/note/}HasExtendedXMP",
)
"""Starts of properties that were true of the original file, and are not of the picture."""
_OWN = "Painted by stylize", "Fused by stylize"
_FROM = "; from a picture of "
"""Between our credit and that of the original."""

_SOURCE, _CREDIT = f"{{{_IPTC}}}DigitalSourceType", f"{{{_NAMESPACES['photoshop']}}}Credit"
_PIECE = 16_384
_DECLARED = re.compile(rb"<\0?!\0?[A-Z]")
_PREFIXES = re.compile(rb' xmlns:\w+="[^"]*"')

_PRIVATE = {
    0xA431: "BodySerialNumber",
    0xA435: "LensSerialNumber",
    0xA430: "CameraOwnerName",
    0xA420: "ImageUniqueID",
    0x927C: "MakerNote",  # holds serial numbers in forms of its own
}


def xmp_packet(
    cards: Sequence[StyleCard], original: bytes = b"", source_type: str = SOURCE_TYPE, settings: str = ""
) -> bytes:
    """XMP that marks a result and credits its styles, added to the original's if that can be read.

    `source_type` says how it was made; for a `COMPOSITE` the cards name the pictures put together. `settings`
    says with which settings, as IPTC's AIPromptInformation.
    """
    by_model = source_type != COMPOSITE
    root, rdf = _parsed(original)
    system = {f"{{{_IPTC}}}AISystemUsed": "stylize", f"{{{_IPTC}}}AISystemVersionUsed": __version__}
    together = f"Fused by stylize from {' and '.join(card.name for card in cards)}"
    values = {
        _SOURCE: source_type,
        _CREDIT: _with_earlier(credit(cards) if by_model else together, rdf),
        f"{{{_NAMESPACES['xmp']}}}CreatorTool": f"stylize {__version__}",
        **(system if by_model else {}),
        **({f"{{{_IPTC}}}AIPromptInformation": settings} if settings else {}),
    }
    _remove(rdf, {*values, f"{{{_IPTC}}}ArtworkOrObject"})
    description = ET.SubElement(rdf, f"{{{_RDF}}}Description", {f"{{{_RDF}}}about": ""})
    for tag, value in values.items():
        ET.SubElement(description, tag).text = value
    artworks = ET.SubElement(ET.SubElement(description, f"{{{_IPTC}}}ArtworkOrObject"), f"{{{_RDF}}}Bag")
    for card in cards:
        item = ET.SubElement(artworks, f"{{{_RDF}}}li", {f"{{{_RDF}}}parseType": "Resource"})
        title = ET.SubElement(ET.SubElement(item, f"{{{_IPTC}}}AOTitle"), f"{{{_RDF}}}Alt")
        ET.SubElement(
            title, f"{{{_RDF}}}li", {"{http://www.w3.org/XML/1998/namespace}lang": "x-default"}
        ).text = card.works or card.name
    body = ET.tostring(root, encoding="utf-8")
    start = b'<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?>'
    return start + body + b'<?xpacket end="w"?>'


def _with_earlier(ours: str, rdf: ET.Element) -> str:
    """Our credit, and that of the original, which stays."""
    for description in rdf:
        found = description.get(_CREDIT) or description.findtext(_CREDIT) or ""
        *_, theirs = found.split(_FROM) if found.startswith(_OWN) else ("", found)
        if theirs.strip() and not theirs.startswith(_OWN):
            return f"{ours}{_FROM}{theirs.strip()}"
    return ours


def of_the_picture(packet: bytes) -> bytes:
    """XMP without what was true of the original file alone: how it was turned, what else lay in it.

    Where nothing is to be taken out, the packet as it is.
    """
    names = {start.partition("}")[0][1:].encode() for start in _OF_THE_FILE}
    if not any(name in packet for name in names):
        return packet
    root, rdf = _parsed(packet)
    for description in rdf:
        for child in [child for child in description if child.tag.startswith(_OF_THE_FILE)]:
            description.remove(child)
        for name in [name for name in description.attrib if name.startswith(_OF_THE_FILE)]:
            del description.attrib[name]
    return ET.tostring(root, encoding="utf-8")


def is_sound(packet: bytes) -> bool:
    """Can XMP be read, within limits?"""
    return _within_limits(packet.strip(b"\0 \n")) is not None


def with_captions(original: bytes, captions: Mapping[str, Sequence[str]]) -> bytes:
    """XMP with captions by their Dublin Core names (title, description, creator ...), where it has none, and
    with plain texts by names with a prefix (photoshop:City).

    Where no caption is new, the original as it is.
    """
    root, rdf = _parsed(original)
    dublin_core = f"{{{_NAMESPACES['dc']}}}"
    new = {name: texts for name, texts in captions.items() if not _has(rdf, _full(name))}
    if not new:
        return original
    description = ET.SubElement(rdf, f"{{{_RDF}}}Description", {f"{{{_RDF}}}about": ""})
    for name, texts in new.items():
        if ":" in name:
            ET.SubElement(description, _full(name)).text = texts[0]
            continue
        kind = _LISTS.get(name, "Alt")
        values = ET.SubElement(ET.SubElement(description, dublin_core + name), f"{{{_RDF}}}{kind}")
        for text in texts:
            language = {"{http://www.w3.org/XML/1998/namespace}lang": "x-default"} if kind == "Alt" else {}
            ET.SubElement(values, f"{{{_RDF}}}li", language).text = text
    return ET.tostring(root, encoding="utf-8")


def _full(name: str) -> str:
    """A caption's name as ElementTree writes it; those without a prefix are of the Dublin Core."""
    prefix, _, local = name.rpartition(":")
    return f"{{{_NAMESPACES[prefix or 'dc']}}}{local}"


def _has(rdf: ET.Element, name: str) -> bool:
    return any(name in description.attrib or description.find(name) is not None for description in rdf)


def shortened(packet: bytes, limit: int) -> bytes:
    """XMP of at most `limit` bytes: the longest properties, which are editing histories, are left out.

    What says how the picture was made stays: others' properties give way.
    """
    if len(packet) <= limit:
        return packet
    root, rdf = _parsed(packet)
    ours = [description for description in rdf if description.find(_SOURCE) is not None][-1:]
    theirs = [_Property(d, child, None) for d in rdf if d not in ours for child in d]
    theirs += [_Property(d, None, name) for d in rdf if d not in ours for name in d.attrib]
    sizes = {property: property.size() for property in theirs}
    excess = len(ET.tostring(root, encoding="utf-8")) - limit
    for found in sorted(theirs, key=lambda property: sizes[property], reverse=True):
        if excess <= 0:
            excess = len(ET.tostring(root, encoding="utf-8")) - limit
            if excess <= 0:
                break
        found.remove()
        excess -= sizes[found]
    short = ET.tostring(root, encoding="utf-8")
    if len(short) > limit and ours:
        root, rdf = _parsed(b"")
        rdf.append(ours[0])
        short = ET.tostring(root, encoding="utf-8")
    return short if len(short) <= limit else b""


@dataclass(frozen=True, eq=False)
class _Property:
    """An element or an attribute of a description."""

    description: ET.Element
    child: ET.Element | None
    attribute: str | None

    def size(self) -> int:
        """About how many bytes go with it."""
        if self.child is not None:
            return len(_PREFIXES.sub(b"", ET.tostring(self.child, encoding="utf-8", xml_declaration=False)))
        return len(self.description.attrib[self.attribute or ""].encode()) + 8

    def remove(self) -> None:
        """Take it out."""
        if self.child is not None:
            self.description.remove(self.child)
        else:
            del self.description.attrib[self.attribute or ""]


def credit(cards: Sequence[StyleCard]) -> str:
    """One line that says in whose style a picture is."""
    names = [f"{card.title} ({card.tradition})" if card.tradition else card.name for card in cards]
    return f"Painted by stylize in the style of {' and '.join(names) or 'an unnamed work'}"


def clip_tags(cards: Sequence[StyleCard]) -> dict[str, str]:
    """The mark as tags of a video file; `comment` is the one that every kind of file keeps."""
    return {"comment": f"{credit(cards)}. {SOURCE_TYPE}", "digital_source_type": SOURCE_TYPE}


def _remove(rdf: ET.Element, tags: set[str]) -> None:
    """Take out what the original, or an earlier painting, says of these; XMP has elements or attributes."""
    for description in rdf:
        for child in [child for child in description if child.tag in tags]:
            description.remove(child)
        for tag in tags & set(description.attrib):
            del description.attrib[tag]


def _parsed(original: bytes) -> tuple[ET.Element, ET.Element]:
    """The root of the original's XMP and its RDF element, or new ones."""
    root = _within_limits(original.strip(b"\0 \n"))
    if root is not None:
        rdf = root if root.tag == f"{{{_RDF}}}RDF" else root.find(f"{{{_RDF}}}RDF")
        if rdf is not None:
            return root, rdf
    root = ET.Element(f"{{{_NAMESPACES['x']}}}xmpmeta")
    return root, ET.SubElement(root, f"{{{_RDF}}}RDF")


def _within_limits(packet: bytes) -> ET.Element | None:
    """What the packet says; None if it is damaged, or too much: metadata must not cost the picture."""
    if len(packet) > LARGEST_XMP or _DECLARED.search(packet):
        return None  # XMP declares nothing, and entities could grow to any size
    parser, depth, count, root = ET.XMLPullParser(("start", "end")), 0, 0, None
    events: Any = parser.read_events  # of these two kinds, an element comes with each
    try:
        for place in range(0, len(packet), _PIECE):
            parser.feed(packet[place : place + _PIECE])
            for event, element in events():
                root = element if root is None else root
                depth += 1 if event == "start" else -1
                count += event == "start"
                if depth > _DEEPEST or count > _MOST_ELEMENTS:
                    return None
        parser.close()
    except (ET.ParseError, ValueError):
        return None
    return root if depth == 0 else None


def without_private(exif: bytes) -> bytes:
    """EXIF without location and serial numbers."""
    directory = exifs.parse(exif)
    directory.pop(*_PRIVATE, exifs.GPS_IFD)
    return exifs.block(directory)
