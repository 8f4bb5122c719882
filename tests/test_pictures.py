"""Tests of the pictures' files: Chromium reads what `tools/pictures.py` writes."""

import base64

import numpy as np
import pytest

from servers import contract_server, employees
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
def page(browser):
    """Open a page, on an address of this machine: elsewhere there is no decoder."""
    with contract_server(employees(1)) as url:
        page = browser.new_page(viewport={"width": 61, "height": 40})
        page.goto(f"{url}/api/v1/data?page=0")
        yield page


@pytest.mark.browser
def test_a_picture_is_the_same_to_the_bit_and_smaller(page):
    """Noise, gradients and plain colours come back as they were; a screenshot takes less room."""
    dice = np.random.default_rng(0)
    noise = dice.integers(0, 256, (30, 41, 3)).astype(np.uint8)
    slope = np.arange(64 * 50 * 3).reshape(64, 50, 3).astype(np.uint8)
    for rgb in (noise, slope, np.zeros((1, 1, 3), np.uint8)):
        assert (pixels(page, small_png(rgb)) == rgb).all()
    page.set_content("Text " * 20)
    shot = page.screenshot()
    assert len(small_png(pixels(page, shot))) < len(shot)


@pytest.mark.browser
def test_screenshots_become_one_moving_picture(page):
    """Every frame is there, in its order and for its time, again and again."""
    page.set_content("")
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
