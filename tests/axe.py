"""axe-core on a page in a browser: what it finds wrong with promo's own markup."""

from axe_playwright_python.sync_playwright import Axe

VIEWS = ".promo"
SERIOUS = ("serious", "critical")

# What axe lets pass: tables that nobody can tell apart by ear, numbers that belong to nothing.
UNHEARD = """() => {
  const found = [];
  const check = (selector, isHeard) => {
    for (const e of document.querySelectorAll(`.promo ${selector}`))
      if (!isHeard(e)) found.push(e.outerHTML.slice(0, 200));
  };
  const text = (id) => document.getElementById(id)?.textContent.trim();
  check("table", (e) => e.caption?.textContent || e.ariaLabel);
  check("th", (e) => e.scope);
  check("[role=slider]", (e) => e.ariaLabel && e.ariaValueText);
  check(".widget-toggle-button", (e) => e.ariaPressed);
  check("button", (e) => e.ariaLabel || e.textContent.trim() || e.title);
  check(".svg-figure", (e) => e.role === "img" && e.ariaLabel
    && text(e.getAttribute("aria-describedby")));
  check("svg:not(.svg-figure, .svg-figure *)", (e) => e.closest("[aria-hidden], .bqplot")
    || e.querySelector("title")?.textContent);
  return found;
}"""


def found_in(page):
    """List what is seriously wrong within the views on a page, one line for each element."""
    report = Axe().run(page, VIEWS, {"resultTypes": ["violations"]}).response
    return [
        f"{violation['id']}: {node['target']} {node['html'][:200]} {node.get('failureSummary')}"
        for violation in report["violations"]
        if violation["impact"] in SERIOUS
        for node in violation["nodes"]
    ] + page.evaluate(UNHEARD)
