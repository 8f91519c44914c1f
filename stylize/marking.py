"""Metadata of results: what made them, in whose style, and nothing private unless it may stay.

IPTC's DigitalSourceType says to people and programs that a picture was made with a trained model:
https://cv.iptc.org/newscodes/digitalsourcetype/
"""

import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from typing import Literal

from PIL import Image

from stylize import __version__
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
}
for _prefix, _uri in _NAMESPACES.items():
    ET.register_namespace(_prefix, _uri)

_LISTS = {"creator": "Seq", "subject": "Bag"}
"""Dublin Core properties with several values; the others have one per language."""

_EXIF_IFD, _GPS_IFD = 0x8769, 0x8825
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
        f"{{{_IPTC}}}DigitalSourceType": source_type,
        f"{{{_NAMESPACES['photoshop']}}}Credit": credit(cards) if by_model else together,
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


def with_captions(original: bytes, captions: Mapping[str, Sequence[str]]) -> bytes:
    """XMP with captions by their Dublin Core names (title, description, creator ...), where it has none.

    Where no caption is new, the original as it is.
    """
    root, rdf = _parsed(original)
    dublin_core = f"{{{_NAMESPACES['dc']}}}"
    new = {name: texts for name, texts in captions.items() if rdf.find(f"*/{dublin_core}{name}") is None}
    if not new:
        return original
    description = ET.SubElement(rdf, f"{{{_RDF}}}Description", {f"{{{_RDF}}}about": ""})
    for name, texts in new.items():
        kind = _LISTS.get(name, "Alt")
        values = ET.SubElement(ET.SubElement(description, dublin_core + name), f"{{{_RDF}}}{kind}")
        for text in texts:
            language = {"{http://www.w3.org/XML/1998/namespace}lang": "x-default"} if kind == "Alt" else {}
            ET.SubElement(values, f"{{{_RDF}}}li", language).text = text
    return ET.tostring(root, encoding="utf-8")


def shortened(packet: bytes, limit: int) -> bytes:
    """XMP of at most `limit` bytes: the longest properties, which are editing histories, are left out."""
    if len(packet) <= limit:
        return packet
    root, rdf = _parsed(packet)
    while len(short := ET.tostring(root, encoding="utf-8")) > limit:
        properties = [(parent, child) for parent in rdf for child in parent]
        if not properties:
            return b""
        parent, longest = max(properties, key=lambda pair: len(ET.tostring(pair[1])))
        parent.remove(longest)
    return short


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
    try:
        root = ET.fromstring(original.strip(b"\0 \n"))
        rdf = root if root.tag == f"{{{_RDF}}}RDF" else root.find(f"{{{_RDF}}}RDF")
        if rdf is not None:
            return root, rdf
    except (ET.ParseError, ValueError):
        pass  # damaged metadata must not cost the picture
    root = ET.Element(f"{{{_NAMESPACES['x']}}}xmpmeta")
    return root, ET.SubElement(root, f"{{{_RDF}}}RDF")


def without_private(exif: bytes) -> bytes:
    """EXIF without location and serial numbers; nothing if it cannot be taken apart."""
    try:
        tags = Image.Exif()
        tags.load(exif)
        inner = tags.get_ifd(_EXIF_IFD)
        for tag in _PRIVATE:
            inner.pop(tag, None)
            tags.pop(tag, None)
        tags.pop(_GPS_IFD, None)
        return tags.tobytes()
    except Exception:  # what cannot be read cannot be shown to be harmless
        return b""
