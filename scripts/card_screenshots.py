"""Take the pictures of cards in docs/cards: ``python scripts/card_screenshots.py REPOSITORY``.

REPOSITORY is the folder of a model repository, such as the one of ``abserve train --all``. Of each
model the card of its newest version is opened in headless Chromium, and all of it is kept as
``docs/cards/<model>.png``, on light ground and 1100 pixels wide.
"""

import shutil
import sys
from io import BytesIO
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

from abserve.artifacts import CARD
from abserve.repository import Repository

_TARGET = Path(__file__).parents[1] / "docs" / "cards"
_SIZE_PIXELS = {"width": 1100, "height": 900}
# A card has few colours; with a palette its picture has a third of the bytes.
_N_COLOURS = 128


def take(repository_folder: Path, target: Path) -> None:
    """Write a picture of each model's newest card into `target`."""
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.exit("Chromium is not installed; 'apt-get install chromium' does it")
    repository = Repository(repository_folder.resolve().as_uri())
    target.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport=_SIZE_PIXELS, color_scheme="light")
        for model in repository.models():
            newest = repository.versions(model)[-1]
            page.goto((repository_folder.resolve() / model / newest / CARD).as_uri())
            with Image.open(BytesIO(page.screenshot(full_page=True))) as picture:
                few = picture.convert("RGB").quantize(_N_COLOURS, dither=Image.Dither.NONE)
                few.save(target / f"{model}.png", optimize=True)
        browser.close()


if __name__ == "__main__":
    if len(sys.argv) != 2:  # noqa: PLR2004
        sys.exit(__doc__)
    take(Path(sys.argv[1]), _TARGET)
