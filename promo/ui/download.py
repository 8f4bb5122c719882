"""The browser's part of saving a file: the kernel sends its bytes, the page offers them to keep."""

from __future__ import annotations

import anywidget
import traitlets


class Download(anywidget.AnyWidget):
    """Saves what it is sent, in the browser whose reader has pressed a button for it.

    Others may look at the same kernel; they get the bytes too, and drop them. So each press is to
    be answered, by `save` or by `refuse`.

    Parameters
    ----------
    within
        Class of the element that holds the buttons.
    """

    _esm = """
    const painted = async (svg) => {
      const image = new Image();
      image.src = URL.createObjectURL(svg);
      await image.decode();
      const canvas = document.createElement("canvas");
      [canvas.width, canvas.height] = [2 * image.naturalWidth, 2 * image.naturalHeight];
      canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
      URL.revokeObjectURL(image.src);
      return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
    };
    export default {
      initialize({ model }) {
        let pressed = 0;
        const press = ({ target }) => {
          if (target.closest?.(`.${model.get("within")} button`)) pressed += 1;
        };
        model.on("msg:custom", async ({ name, type }, [bytes]) => {
          if (pressed === 0) return;
          pressed -= 1;
          if (!bytes) return;
          const sent = new Blob([bytes], { type });
          const blob = name.endsWith(".png") ? await painted(sent) : sent;
          const link = document.createElement("a");
          [link.href, link.download] = [URL.createObjectURL(blob), name];
          link.click();
          setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
        });
        document.addEventListener("click", press, true);
        return () => document.removeEventListener("click", press, true);
      },
    };
    """
    within = traitlets.Unicode().tag(sync=True)

    def save(self, name: str, kind: str, data: bytes) -> None:
        """Have the browser save a file of a media type; an SVG named ``.png`` is painted first."""
        self.send({"name": name, "type": kind}, [data])

    def refuse(self) -> None:
        """Let the browser know that nothing will come of a press."""
        self.send({})
