"""Take the README's pictures of a running notebook: light, dark, and a short moving one.

    python -m tools.pictures [--notebook 01-analysis] [--out docs] [--frames 20]

JupyterLab runs a copy of the notebook on a made-up world, a Chromium presses its buttons, and what
is written is what it showed: `board-light.png`, `board-dark.png` and `board.webp`, whose frames are
Chromium's own screenshots, put together.
"""

import argparse
import base64
import re
import shutil
import struct
import sys
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from playwright.sync_api import Browser, FloatRect, Locator, Page

from tools import chromium
from tools.launch import LAB, LAB_ADDRESS, launched

ROOT = Path(__file__).resolve().parent.parent
BOARD = ".jp-OutputArea-output:has(.promo-status)"
PANEL = ".jp-WindowedPanel-outer"
WIDTH, HEIGHT = 1280, 900  # of the window: of the board is seen what a reader sees at first
FRAME_WIDTH, FRAME_S, QUALITY = 800, 0.4, 55
SPEED = 20  # pages per second while it moves
DEADLINE_S = 120
PNG_BYTES, ALL_BYTES = 300_000, 1_500_000

# -- files -------------------------------------------------------------------------------------

PIXELS = """async (png) => {
  const file = await (await fetch(`data:image/png;base64,${png}`)).blob();
  const picture = await createImageBitmap(file);
  const canvas = new OffscreenCanvas(picture.width, picture.height);
  const context = canvas.getContext("2d");
  context.drawImage(picture, 0, 0);
  const { data } = context.getImageData(0, 0, picture.width, picture.height);
  const url = await new Promise((done) => {
    const reader = new FileReader();
    reader.onload = () => done(reader.result);
    reader.readAsDataURL(new Blob([data]));
  });
  return [picture.width, picture.height, url.slice(url.indexOf(",") + 1)];
}"""


def pixels(page: Page, png: bytes) -> np.ndarray:
    """Return the pixels of a PNG, shape (height, width, 3) of uint8, decoded by the browser."""
    width, height, data = page.evaluate(PIXELS, base64.b64encode(png).decode())
    rgba = np.frombuffer(base64.b64decode(data), np.uint8)
    return rgba.reshape(height, width, 4)[..., :3]


def small_png(rgb: np.ndarray) -> bytes:
    """Return a PNG of pixels, shape (height, width, 3) of uint8, smaller than a browser's.

    Of each line the bytes themselves, their differences to the left or those to the line above are
    compressed, whichever are smallest.

    >>> small_png(np.zeros((2, 3, 3), np.uint8))[12:26].hex()
    '4948445200000003000000020802'
    """
    height, width, _ = rgb.shape
    flat = rgb.reshape(height, -1)
    left, above = (np.zeros_like(flat) for _ in "12")
    left[:, 3:], above[1:] = flat[:, :-3], flat[:-1]
    filtered = np.stack([flat, flat - left, flat - above])  # types 0, 1, 2: modulo 256
    types = np.abs(filtered.view(np.int8).astype(np.int16)).sum(axis=2).argmin(axis=0)
    lines = np.column_stack([types.astype(np.uint8), filtered[types, np.arange(height)]])
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(lines.tobytes(), 9)), (b"IEND", b""))
    chunks = (
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def animated_webp(frames: Sequence[bytes], frame_s: float, size: tuple[int, int]) -> bytes:
    """Return WebP pictures of one size, (width, height), as one that moves, again and again.

    References
    ----------
    WebP Container Specification, "Animation".
    """
    width, height = (side - 1 for side in size)
    extent = struct.pack("<I", width)[:3] + struct.pack("<I", height)[:3]
    duration = struct.pack("<I", round(1000 * frame_s))[:3]
    body = _chunk(b"VP8X", b"\x02\0\0\0" + extent) + _chunk(b"ANIM", b"\xff\xff\xff\xff\0\0")
    for frame in frames:
        drawn = b"".join(_chunk(*c) for c in _chunks(frame) if c[0] in (b"ALPH", b"VP8 ", b"VP8L"))
        body += _chunk(b"ANMF", b"\0" * 6 + extent + duration + b"\x02" + drawn)
    return _chunk(b"RIFF", b"WEBP" + body)


def _chunk(name: bytes, data: bytes) -> bytes:
    return name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)


def _chunks(webp: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 12  # after RIFF, size, WEBP
    while at < len(webp):
        (length,) = struct.unpack_from("<I", webp, at + 4)
        yield webp[at : at + 4], webp[at + 8 : at + 8 + length]
        at += 8 + length + length % 2


# -- what is on them ---------------------------------------------------------------------------


@contextmanager
def lab(folder: Path) -> Iterator[str]:
    """Run `promo lab` on copies of the notebooks; give its address."""
    shutil.copytree(ROOT / "notebooks", folder / "notebooks")
    with launched(folder, *LAB, address=LAB_ADDRESS, PROMO_API_URL="") as (_, found):
        yield found[0]


def run_all(browser: Browser, address: str, notebook: str) -> tuple[Page, Locator]:
    """Open a notebook and run it; return the page, and the board on it."""
    page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
    page.set_default_timeout(1000 * DEADLINE_S)
    page.goto(address.replace("01-analysis", notebook))
    page.locator(".jp-StatusBar-TextItem", has_text="(ipykernel) | Idle").wait_for()
    page.keyboard.press("Control+b")  # the side bar away
    _menu(page, "Run", "runmenu:run-all")
    prompts = page.locator(".jp-CodeCell .jp-InputArea-prompt")
    _wait_for(lambda: re.match(r"\[\d+\]", prompts.last.text_content() or ""))
    panel = page.locator(PANEL).first
    board = page.locator(BOARD).first

    def found() -> bool:
        panel.evaluate("e => e.scrollTop = (e.scrollTop + 800) % e.scrollHeight")
        page.wait_for_timeout(100)
        return board.is_visible()

    _wait_for(found)
    return page, board


def take(page: Page, board: Locator, out: Path, frames: int) -> list[Path]:
    """Press the buttons and write the pictures; return their paths."""
    written = []
    _speed(board, SPEED * 10)
    _press(board, "Play")
    page.wait_for_timeout(5000)  # a thousand pages: intervals have narrowed, a story leads
    for theme in ("light", "dark"):
        _theme(page, theme)
        path = out / f"board-{theme}.png"
        page.wait_for_timeout(1500)  # every figure is drawn in the theme's colours
        shot = page.screenshot(clip=_in_sight(page, board))
        path.write_bytes(small_png(pixels(page, shot)))
        written.append(path)
    _theme(page, "light")
    _press(board, "Start over")
    _press(board, "Yes, erase it")
    _speed(board, SPEED)
    _press(board, "Play")
    path = out / "board.webp"
    path.write_bytes(_moving(page, board, frames))
    return [*written, path]


def _in_sight(page: Page, board: Locator) -> FloatRect:
    """Bring the board to the top; return the part of the window where it is seen."""
    board.evaluate("e => e.scrollIntoView()")
    box, panel = board.bounding_box(), page.locator(PANEL).first.bounding_box()
    assert box is not None
    assert panel is not None
    top = max(box["y"], panel["y"])
    bottom = min(box["y"] + box["height"], panel["y"] + panel["height"])
    return {"x": box["x"], "y": top, "width": box["width"], "height": bottom - top}


def _moving(page: Page, board: Locator, frames: int) -> bytes:
    box = _in_sight(page, board)
    scale = FRAME_WIDTH / box["width"]
    size = FRAME_WIDTH, int(box["height"] * scale)
    clip = {"x": box["x"], "y": box["y"], "scale": scale,
            "width": size[0] / scale, "height": size[1] / scale}  # fmt: skip
    session = page.context.new_cdp_session(page)
    options = {"format": "webp", "quality": QUALITY, "clip": clip}
    taken = []
    due = time.monotonic()
    for _ in range(frames):
        page.wait_for_timeout(1000 * max(due - time.monotonic(), 0))
        taken.append(base64.b64decode(session.send("Page.captureScreenshot", options)["data"]))
        due += FRAME_S
    return animated_webp(taken, FRAME_S, size)


def _press(board: Locator, text: str) -> None:
    board.get_by_role("button", name=text, exact=True).click()


def _speed(board: Locator, pages_per_s: int) -> None:
    slider = board.locator(".widget-slider:has(label:text-is('Speed'))")
    handle, readout = slider.locator(".noUi-handle"), slider.locator(".widget-readout")
    handle.press("Home")
    while readout.inner_text() != f"{pages_per_s} pages/s":
        handle.press("ArrowRight")


def _theme(page: Page, name: str) -> None:
    if page.locator(f'body[data-jp-theme-light="{str(name == "light").lower()}"]').count():
        return
    page.get_by_role("menuitem", name="Settings", exact=True).click()
    page.locator(".lm-Menu-item:has-text('Theme')").first.hover()
    page.get_by_role("menuitem", name=f"JupyterLab {name.title()}", exact=True).click()


def _menu(page: Page, name: str, command: str) -> None:
    page.get_by_role("menuitem", name=name, exact=True).click()
    page.locator(f".lm-Menu-item[data-command='{command}']").first.click()


def _wait_for(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + DEADLINE_S
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError("waited in vain")
        time.sleep(0.05)
    return value


def main() -> int:
    """Take the pictures; return 1 if they are too large for a README."""
    newest = sorted((ROOT / "notebooks").glob("0[14]-*.ipynb"))[-1].stem
    parser = argparse.ArgumentParser(prog="python -m tools.pictures", description=__doc__)
    parser.add_argument("--notebook", default=newest, help=f"by its name ({newest})")
    parser.add_argument("--out", type=Path, default=ROOT / "docs", help="a folder (docs)")
    parser.add_argument("--frames", type=int, default=20, help="of the moving one (20)")
    options = parser.parse_args()
    with (
        TemporaryDirectory() as folder,
        lab(Path(folder)) as address,
        chromium.launched(chromium.find()) as browser,
    ):
        page, board = run_all(browser, address, options.notebook)
        written = take(page, board, options.out, options.frames)
    sizes = {path: path.stat().st_size for path in written}
    for path, size in sizes.items():
        print(f"{path}: {size / 1000:.0f} kB")
    stills = [size for path, size in sizes.items() if path.suffix == ".png"]
    return int(max(stills) > PNG_BYTES or sum(sizes.values()) > ALL_BYTES)


if __name__ == "__main__":
    sys.exit(main())
