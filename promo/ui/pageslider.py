"""A slider over pages that grows without moving under the reader's hand."""

from __future__ import annotations

import anywidget
import traitlets

LIVE = -1  # of the slider: no page of the past


class PageSlider(anywidget.AnyWidget):
    """The page that the reader has gone back to, `LIVE` while at no page of the past.

    The kernel says which pages there are; while the handle is held, the browser pays no heed. Only
    the reader moves it, or what the reader presses: so it never jumps. At its right end it is live.

    Attributes
    ----------
    page
        0-based, or `LIVE`.
    pages
        First, last and step of the pages to choose from; empty before the first.
    held
        Whether the reader has the handle in hand.
    """

    _esm = """
    export default {
      render({ model, el }) {
        el.classList.add("promo-pages");
        const label = document.createElement("label");
        const input = document.createElement("input");
        const output = document.createElement("output");
        label.textContent = "Page";
        label.htmlFor = input.id = `promo-pages-${crypto.randomUUID?.() ?? Math.random()}`;
        Object.assign(input, { type: "range", step: "any" });
        output.htmlFor = input.id;
        output.setAttribute("aria-live", "off");
        el.append(label, input, output);
        let held = false, end = 1;
        const say = (page) => {
          const text = page < 0 ? "live" : page.toLocaleString("en");
          output.textContent = text;
          input.setAttribute("aria-valuetext", page < 0 ? "live" : `page ${text}`);
          input.classList.toggle("live", page < 0);
        };
        const draw = () => {
          if (held) return;
          const [first = 0, last = 0, step = 1] = model.get("pages");
          const page = model.get("page");
          input.disabled = last <= first;
          end = first + Math.max(Math.ceil((last - first) / step), 1) * step;
          Object.assign(input, { min: first, max: end, step });
          input.value = page < 0 ? end : page;
          say(page);
        };
        const hold = (whether) => {
          held = whether;
          model.set("held", held);
          model.save_changes();
        };
        input.addEventListener("pointerdown", () => hold(true));
        for (const event of ["pointerup", "pointercancel", "change", "blur"])
          input.addEventListener(event, () => { if (held) hold(false); draw(); });
        input.addEventListener("input", () => {
          const page = input.valueAsNumber < end ? input.valueAsNumber : -1;
          model.set("page", page);
          model.save_changes();
          say(page);
        });
        // Keys are for the slider, not for Lab, where arrows go to another cell.
        input.setAttribute("data-lm-suppress-shortcuts", "true");
        model.on("change:pages", draw);
        model.on("change:page", draw);
        draw();
        return () => { model.off("change:pages", draw); model.off("change:page", draw); };
      },
    };
    """
    _css = """
    .promo-pages { display: flex; align-items: center; gap: 8px; flex: 1 1 200px; min-width: 200px;
      height: var(--jp-widgets-inline-height, 28px); }
    .promo-pages input { appearance: none; flex: 1 1 auto; min-width: 80px; height: 20px;
      margin: 0; background: none; --thumb: #0072B2; }
    .promo-pages input.live { --thumb: var(--jp-layout-color1, #fff); }
    .promo-pages input:focus-visible { outline: 2px solid #0072B2; outline-offset: 1px; }
    .promo-pages input::-webkit-slider-runnable-track { height: 4px; border-radius: 2px;
      background: var(--jp-layout-color3, #bdbdbd); }
    .promo-pages input::-moz-range-track { height: 4px; border-radius: 2px;
      background: var(--jp-layout-color3, #bdbdbd); }
    .promo-pages input::-webkit-slider-thumb { appearance: none; box-sizing: border-box;
      width: 16px; height: 16px; margin-top: -6px; border-radius: 50%;
      border: 1px solid var(--jp-border-color0, #888); background: var(--thumb); }
    .promo-pages input::-moz-range-thumb { box-sizing: border-box; width: 16px; height: 16px;
      border-radius: 50%; border: 1px solid var(--jp-border-color0, #888);
      background: var(--thumb); }
    .promo-pages output { min-width: 4.5em; font-variant-numeric: tabular-nums; }
    """
    page = traitlets.Int(LIVE).tag(sync=True)
    held = traitlets.Bool(False).tag(sync=True)
    pages = traitlets.List(traitlets.Int()).tag(sync=True)
