"""Chromium, and what is asked of a page in it."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, sync_playwright

# Returns the buttons, links and fields without a name for screen readers.
NAMELESS = """() => [...document.querySelectorAll(
    "button, a, input, summary, [tabindex='0'], [role=slider], [role=region]")]
  .filter((each) => each.checkVisibility())
  .filter((each) => {
    const referred = (each.getAttribute("aria-labelledby") ?? "").split(" ")
      .map((id) => id && document.getElementById(id)?.textContent).join("");
    const label = each.labels?.[0]?.textContent;
    return !(each.ariaLabel || referred || label || each.textContent)?.trim();
  })
  .map((each) => each.outerHTML.slice(0, 200))"""

# Returns the texts whose colour is too near to what they stand on (WCAG 2.2, 1.4.3 AA).
FAINT = """() => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const rgb = (colour, under) => {
    canvas.fillStyle = `rgb(${under.join(" ")})`; canvas.fillRect(0, 0, 1, 1);
    canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data.slice(0, 3)];
  };
  const light = (channels) => channels
    .map((each) => each / 255)
    .map((each) => each <= 0.04045 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4)
    .reduce((sum, each, i) => sum + each * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (element) => element
    ? rgb(getComputedStyle(element).backgroundColor, behind(element.parentElement))
    : [255, 255, 255];
  return [...document.querySelectorAll("body *")]
    .filter((each) => [...each.childNodes].some((node) => node.nodeType === 3 && node.data.trim()))
    .filter((each) => each.checkVisibility() && !each.closest(".unseen, :disabled"))
    .map((each) => {
      const under = behind(each);
      const [a, b] = [light(rgb(getComputedStyle(each).color, under)), light(under)];
      return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), each.textContent.slice(0, 60)];
    })
    .filter(([contrast]) => contrast < 4.5);
}"""


@contextmanager
def running_chromium() -> Iterator[Browser]:
    """Run the system's Chromium; without one skip the test, or in CI let it fail."""
    path = shutil.which("chromium")
    if path is None:
        message = "Chromium is not installed; 'apt-get install chromium' does it"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()
