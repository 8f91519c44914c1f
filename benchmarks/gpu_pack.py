"""Make the pack for gpu.sh: what learning the styles needs, in as few bytes as possible.

    python benchmarks/gpu_pack.py PACK --photos FOLDER --works FOLDER [--judge FOLDER]
        [--vgg vgg19.safetensors] [--wheels FOLDER] [--most 42]

PACK/photos      photographs, shorter side 288, without every 20th by name
PACK/unseen      six to look at results on: from --judge, or else of those left out
PACK/works       the works that recipes.toml names, shorter side 512
PACK/vgg19.safetensors    its first layers in fp16; PACK/recipes.toml; PACK/wheels

Where all would be more than --most megabytes, photographs are left out, evenly. Nothing of a pack belongs in
the repository.
"""

import argparse
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image, ImageOps

WEIGHTS = Path(__file__).parent.parent / "weights"
sys.path.insert(0, str(WEIGHTS))

from train_styles import read_recipes  # noqa: E402

from stylize.errors import StylizeError  # noqa: E402
from stylize.files import write_tensors  # noqa: E402
from stylize.model import load_vgg19  # noqa: E402
from stylize.paths import find_pictures  # noqa: E402

_HELD_OUT = 20
"""So many photographs apart, one is not learnt from, as in train_styles.py."""

_SHOWN = 6


def reduced(source: Path, target: Path, side: int, quality: int) -> None:
    """Write a picture as a JPEG with a shorter side of at most `side`. What cannot be read is left out."""
    try:
        with Image.open(source) as image:
            image.draft("RGB", (2 * side, 2 * side))
            upright = ImageOps.exif_transpose(image).convert("RGB")
    except (OSError, ValueError, SyntaxError) as error:
        print(f"{source} is left out: {error}", file=sys.stderr)
        return
    scale = side / min(upright.size)
    if scale < 1:
        size = round(upright.width * scale), round(upright.height * scale)
        upright = upright.resize(size, Image.Resampling.LANCZOS)
    target.parent.mkdir(parents=True, exist_ok=True)
    upright.save(target, "JPEG", quality=quality, optimize=True, progressive=True)


def megabytes(folder: Path) -> float:
    """The size of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def pack_photos(pack: Path, folder: Path, judge: Path | None, side: int) -> None:
    """Photographs to learn from, and those to look at results on."""
    found = sorted(find_pictures([folder]))
    unseen = sorted(find_pictures([judge])) if judge else found[::_HELD_OUT]
    unseen = unseen[:: max(1, len(unseen) // _SHOWN)][:_SHOWN]
    with ThreadPoolExecutor() as pool:
        for number, path in enumerate(found):
            if number % _HELD_OUT:
                pool.submit(reduced, path, pack / "photos" / f"{number:05}.jpg", side, 82)
        for number, path in enumerate(unseen):
            pool.submit(reduced, path, pack / "unseen" / f"{number:02}.jpg", 900, 88)


def pack_works(pack: Path, folder: Path, recipes: Path, quality: int = 90) -> None:
    """The works of all recipes under their names. StylizeError if one is missing."""
    for recipe in read_recipes(recipes).values():
        for work in recipe.works:
            if not (folder / work).exists():
                raise StylizeError(f"{folder / work} is missing, which {recipes} names.")
            reduced(folder / work, pack / "works" / work, recipe.side, quality)
    shutil.copyfile(recipes, pack / "recipes.toml")


def pack_network(pack: Path, vgg: Path) -> None:
    """The layers of a VGG19 that losses compare, in fp16."""
    network = load_vgg19(vgg)
    state = network.state_dict()
    names = network._torchvision_names()
    write_tensors(pack / "vgg19.safetensors", {theirs: state[o].half() for theirs, o in names.items()}, {})


def thin(pack: Path, most: float) -> int:
    """Leave out photographs, evenly, until the pack is at most so many megabytes; how many were left out."""
    dropped = 0
    while megabytes(pack) > most and (photos := sorted((pack / "photos").iterdir())):
        excess = (megabytes(pack) - most) / megabytes(pack / "photos")
        count = min(len(photos), max(1, round(excess * len(photos))))
        for number in range(count):
            photos[int((number + 0.5) * len(photos) / count)].unlink()
        dropped += count
    return dropped


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("pack", type=Path)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--works", type=Path, required=True, help="folder with a folder of works per style")
    parser.add_argument("--judge", type=Path, help="photographs to look at results on, never to learn from")
    parser.add_argument(
        "--vgg", type=Path, help="a VGG19 in torchvision's names; default: the bundled network"
    )
    parser.add_argument("--wheels", type=Path, help="what the machine may lack; see docs/gpu.md")
    parser.add_argument("--recipes", type=Path, default=WEIGHTS / "recipes.toml")
    parser.add_argument("--side", type=int, default=288)
    parser.add_argument("--most", type=float, default=42, help="megabytes")
    options = parser.parse_args()
    if options.pack.exists() and any(options.pack.iterdir()):
        sys.exit(f"{options.pack} is not empty; name a new folder.")
    options.pack.mkdir(parents=True, exist_ok=True)
    try:
        pack_works(options.pack, options.works, options.recipes)
        pack_photos(options.pack, options.photos, options.judge, options.side)
        if options.vgg:
            pack_network(options.pack, options.vgg)
    except StylizeError as error:
        sys.exit(str(error))
    if options.wheels:
        shutil.copytree(options.wheels, options.pack / "wheels", ignore=lambda _, names: _no_wheels(names))
    dropped = thin(options.pack, options.most)
    for path in sorted(options.pack.iterdir()):
        size = megabytes(path) if path.is_dir() else path.stat().st_size / 1e6
        count = f", {sum(1 for p in path.rglob('*') if p.is_file())} files" if path.is_dir() else ""
        print(f"{path.name}: {size:.1f} MB{count}")
    print(f"{megabytes(options.pack):.1f} MB in all; {dropped} photographs left out for want of room")


def _no_wheels(names: list[str]) -> set[str]:
    return {name for name in names if not name.endswith(".whl")}


if __name__ == "__main__":
    main()
