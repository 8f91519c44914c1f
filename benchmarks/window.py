"""Take the README's picture of the window: a photograph, a blend of two styles, in headless Chromium.

python benchmarks/window.py [PICTURE.jpg]
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright

EXAMPLES = Path(__file__).parent.parent / "examples"
SIZE = {"width": 1320, "height": 940}
QUALITY = 76
PATIENCE = 60_000
"""Milliseconds."""


def main() -> None:
    """Open the window, use it, and take the picture."""
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else EXAMPLES / "window.jpg"
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "STYLIZE_HOME": folder}  # the bundled styles alone
        command = [sys.executable, "-m", "stylize", "ui"]
        window = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        try:
            assert window.stdout is not None
            photograph(window.stdout.readline().strip(), Path(folder, "shot.png"))
        finally:
            window.send_signal(signal.SIGINT)
            window.wait()
        with Image.open(Path(folder, "shot.png")) as shot:
            shot.convert("RGB").save(target, quality=QUALITY, optimize=True)
    print(f"Wrote {target}, {target.stat().st_size / 1000:.0f} kB")


def photograph(address: str, shot: Path) -> None:
    """Paint at the address and write what a person sees."""
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--font-render-hinting=none"]
        )
        page = browser.new_page(viewport=SIZE, color_scheme="light")  # pyright: ignore[reportArgumentType]
        page.set_default_timeout(PATIENCE)
        page.goto(address)
        use(page)
        page.screenshot(path=shot)
        browser.close()


def use(page: Page) -> None:
    """Drop a photograph, and blend two styles."""
    page.set_input_files("#photo input[type=file]", EXAMPLES / "temple.jpg")
    expect(page.locator("#styles button img").nth(10)).to_be_attached()
    page.locator("#styles button", has_text="great-wave").click()
    expect(page.locator("#about")).to_contain_text("Hokusai")
    page.locator("#blend input").check()
    page.locator("#styles button", has_text="ukiyo-e").click()
    expect(page.locator("#about")).to_contain_text("Kuniyoshi")
    page.locator("#styles .grid-wrap").evaluate("grid => grid.scrollTo(0, 200)")
    page.mouse.move(5, 5)
    page.wait_for_timeout(1500)


if __name__ == "__main__":
    main()
