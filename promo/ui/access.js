// What ipywidgets and bqplot leave out for those who hear the page, or who use no mouse.

const KEYED = ".promo :is(button, select, input, [role=slider])";
const PARTS = ".promo, .widget-slider, .widget-html, .widget-toggle-button, .widget-play, .bqplot, table";
const PLAYS = ["Play or rest", "Rest at this page", "Again and again"]; // of widgets.Play
const REST_MS = 1000; // between two announcements, so that one can be heard out
const APART_MS = 500; // between two looks at the page, which is laid out for each
const LOST = "This page has lost its kernel: reload it to go on from the last page that was stored.";
const UNSEEN = "position: fixed; top: 0; left: 0; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%)";

// A key is for the control that has the focus, not for Lab, where Enter would edit the cell and m
// make it Markdown. With Ctrl and the like it is Lab's, and so is Shift Enter, which runs the cell.
const keep = ({ target, key, altKey, ctrlKey, metaKey, shiftKey }) => {
  const labs = altKey || ctrlKey || metaKey || (shiftKey && key === "Enter");
  if (target.matches?.(KEYED)) target.toggleAttribute("data-lm-suppress-shortcuts", !labs);
};

// A key that is held presses once: the focus may be on another button by then.
const once = (event) => {
  if (event.repeat && event.key === "Enter" && event.target.matches?.(".promo button"))
    event.preventDefault();
};

const set = (element, name, value) => {
  if (element.getAttribute(name) !== value) element.setAttribute(name, value);
};

// What changes with a slider or a button: its value in words, whether it is pressed.
const tell = (element) => {
  if (element.matches(".widget-toggle-button")) {
    set(element, "aria-pressed", String(element.classList.contains("mod-active")));
    return;
  }
  const words = element.closest(".widget-slider").querySelector(".widget-readout").textContent;
  set(element, "aria-valuetext", words.replace("/s", " per second"));
};

const slider = (handle, states) => {
  const whole = handle.closest(".widget-slider");
  const name = whole.querySelector("label").textContent;
  set(handle, "aria-label", name);
  const readout = whole.querySelector(".widget-readout");
  if (Number.isNaN(Number(readout.textContent.replace("\u2212", "-")))) { // d3 writes a minus
    readout.contentEditable = "false"; // one of several choices: to type there does nothing
  } else {
    set(readout, "role", "textbox");
    set(readout, "aria-label", `${name}, typed`);
  }
  states.observe(handle, { attributeFilter: ["aria-valuetext"] });
  tell(handle);
};

const toggle = (button, states) => {
  const group = button.closest(".widget-toggle-buttons");
  if (group) {
    set(group, "role", "group");
    set(group, "aria-label", group.querySelector("label").textContent);
  }
  states.observe(button, { attributeFilter: ["class"] });
  tell(button);
};

// A figure is called by its title, and described by the sentence under it.
const figure = (drawing) => {
  const view = drawing.closest(".promo");
  const title = view.querySelector(".promo-title");
  const sentence = view.querySelector(".promo-sentence");
  if (!title || !sentence) return;
  sentence.id ||= `promo-sentence-${Math.random().toString(36).slice(2)}`;
  set(drawing, "role", "img");
  set(drawing, "aria-label", title.textContent);
  set(drawing, "aria-describedby", sentence.id);
};

// A table that is larger than its place is scrolled by the arrows, so it must take the focus.
const large = (table) => {
  const place = table.closest(".widget-html");
  if (!place) return;
  const { scrollWidth, clientWidth, scrollHeight, clientHeight } = place;
  place.tabIndex = scrollWidth > clientWidth || scrollHeight > clientHeight ? 0 : -1;
  set(place, "role", "group");
  set(place, "aria-label", table.caption?.textContent ?? table.ariaLabel);
};

// A control that is taken away while it has the focus hands it on: to the first one of its row, or
// if that is gone as well, of its view. Else the next Tab would begin at the top of the page.
const isThere = (e) => !e.disabled && e.checkVisibility();
const handOn = (control) => {
  if (isThere(control) || ![document.body, control].includes(document.activeElement)) return;
  for (const place of [control.closest(".widget-hbox"), control.closest(".promo")]) {
    const next = [...(place?.querySelectorAll(KEYED) ?? [])].find(isThere);
    if (next) return next.focus({ preventScroll: true });
  }
};

export default {
  initialize({ model }) {
    const states = new MutationObserver((all) => all.forEach(({ target }) => tell(target)));
    const see = () => {
      for (const e of document.querySelectorAll(".promo .noUi-handle")) slider(e, states);
      for (const e of document.querySelectorAll(".promo .widget-toggle-button")) toggle(e, states);
      for (const e of document.querySelectorAll(".promo .svg-figure")) figure(e);
      for (const e of document.querySelectorAll(".promo table")) large(e);
      for (const e of document.querySelectorAll(".promo label[title=null]"))
        e.removeAttribute("title"); // which ipywidgets writes where there is no tooltip
      for (const e of document.querySelectorAll(".promo .widget-play button"))
        set(e, "aria-label", PLAYS[[...e.parentElement.children].indexOf(e)]);
    };
    let seeing, seen = 0;
    const soon = () => {
      seeing ??= setTimeout(() => {
        seeing = undefined;
        seen = performance.now();
        see();
      }, Math.max(100, seen + APART_MS - performance.now()));
    };
    const parts = new MutationObserver((all) => {
      const isPart = (node) => node.matches?.(PARTS) || node.querySelector?.(PARTS);
      if (all.some(({ addedNodes }) => [...addedNodes].some(isPart))) soon();
    });
    parts.observe(document.body, { childList: true, subtree: true });
    see();

    const region = document.createElement("div");
    region.style = UNSEEN;
    region.className = "promo-said";
    region.setAttribute("role", "status");
    document.body.append(region);
    let saying;
    model.on("change:said", () => {
      saying ??= setTimeout(() => {
        saying = undefined;
        region.textContent = model.get("said");
      }, REST_MS);
    });

    // On a page of our own nobody else says that what stands here has come to its end. (Lab does.)
    const { kernel } = model.widget_manager;
    let gone = false, missed = 0;
    const heed = (_, status) => { gone ||= /dead|restarting/.test(status); };
    const look = () => {
      missed = kernel.connectionStatus === "connected" ? 0 : missed + 1;
      const lost = gone || missed > 1;
      if (lost === document.body.classList.contains("promo-lost")) return;
      document.body.classList.toggle("promo-lost", lost);
      document.body.style.setProperty("--promo-lost", JSON.stringify(LOST));
      region.textContent = lost ? LOST : "";
    };
    let looking;
    if (kernel && !document.querySelector(".jp-NotebookPanel")) {
      kernel.statusChanged.connect(heed);
      looking = setInterval(look, 2000);
    }

    let control;
    const taken = new MutationObserver(() => setTimeout(() => control && handOn(control)));
    const watch = ({ target }) => {
      control = target.matches?.(KEYED) ? target : undefined;
      taken.disconnect();
      for (let e = control; e && !e.matches(".promo"); e = e.parentElement)
        taken.observe(e, { attributeFilter: ["disabled", "style", "class"] });
    };
    // Who leaves it, has left it: only what goes by itself hands the focus on.
    const leave = ({ target }) => {
      if (target === control && isThere(target)) control = undefined;
    };
    document.addEventListener("focusin", watch);
    document.addEventListener("focusout", leave);
    window.addEventListener("keydown", once, true);
    window.addEventListener("keydown", keep, true);
    window.addEventListener("resize", soon);
    return () => {
      window.removeEventListener("keydown", keep, true);
      window.removeEventListener("resize", soon);
      document.removeEventListener("focusin", watch);
      document.removeEventListener("focusout", leave);
      window.removeEventListener("keydown", once, true);
      for (const observer of [parts, states, taken]) observer.disconnect();
      for (const timer of [seeing, saying]) clearTimeout(timer);
      clearInterval(looking);
      kernel?.statusChanged.disconnect(heed);
      document.body.classList.remove("promo-lost");
      region.remove();
    };
  },
};
