"""Tests of the pictures' files: Chromium reads what `tools/pictures.py` writes."""

import base64

import numpy as np
import pytest

from servers import contract_server, employees
from test_browser import ARGUMENTS
from tools.pictures import animated_webp, pixels, small_png

SHOT = "Page.captureScreenshot"
FRAMES = """async (webp) => {
  const data = Uint8Array.from(atob(webp), (c) => c.charCodeAt(0));
  const decoder = new ImageDecoder({ data, type: "image/webp" });
  await decoder.tracks.ready;
  await decoder.completed;
  const { frameCount, repetitionCount } = decoder.tracks.selectedTrack;
  const found = [repetitionCount === Infinity];
  for (let frameIndex = 0; frameIndex < frameCount; frameIndex++) {
    const { image } = await decoder.decode({ frameIndex });
    const canvas = new OffscreenCanvas(image.displayWidth, image.displayHeight);
    const context = canvas.getContext("2d");
    context.drawImage(image, 0, 0);
    found.push([image.displayWidth, image.displayHeight, image.duration,
      ...context.getImageData(5, 5, 1, 1).data.slice(0, 3)]);
  }
  return found;
}"""


@pytest.fixture(scope="module")
def page(chromium_path):
    """Open a page, on an address of this machine: elsewhere there is no decoder."""
    from playwright.sync_api import sync_playwright

    with contract_server(employees(1)) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path, args=ARGUMENTS)
        page = browser.new_page(viewport={"width": 61, "height": 40})
        page.goto(f"{url}/api/v1/data?page=0")
        page.set_content("")
        yield page
        browser.close()


@pytest.mark.browser
def test_a_picture_keeps_its_256_commonest_colours(page):
    """Of few colours it is the same to the bit; of many, each is near, and the file small."""
    dice = np.random.default_rng(0)
    few = dice.integers(0, 256, (200, 3)).astype(np.uint8)[dice.integers(0, 200, (30, 41))]
    assert (pixels(page, small_png(few)) == few).all()
    many = np.stack(np.meshgrid(*[np.arange(100, 116)] * 3), axis=-1).reshape(64, 64, 3)
    off = abs(pixels(page, small_png(many.astype(np.uint8))).astype(int) - many)
    assert 0 < off.max() <= 16


@pytest.mark.browser
def test_screenshots_become_one_moving_picture(page):
    """Every frame is there, in its order and for its time, again and again."""
    session, shots = page.context.new_cdp_session(page), []
    for colour in ("#ff0000", "#00ff00", "#0000ff"):
        page.evaluate("colour => document.documentElement.style.background = colour", colour)
        options = {"format": "webp", "quality": 90}
        shots.append(base64.b64decode(session.send(SHOT, options)["data"]))
    moving = animated_webp(shots, 0.4, (61, 40))
    forever, *frames = page.evaluate(FRAMES, base64.b64encode(moving).decode())
    assert forever
    assert [frame[:3] for frame in frames] == [[61, 40, 400_000]] * 3
    assert [int(np.argmax(frame[3:])) for frame in frames] == [0, 1, 2]
