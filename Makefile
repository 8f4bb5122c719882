# Every target sets up .venv first, from requirements.lock; once done, that takes no time.
#
#   make lab ARGS="--no-browser"      options for the command behind the target
#   make test PYTHON=python3.12       the Python to make .venv with

.DEFAULT_GOAL := help
.PHONY: help lab app test check soak audit notebooks pictures bench lock clean setup

BIN := .venv/bin
# Most tests wait for others, and three at a time keep two cores busy; a file's stay together, and
# the files that take longest come first (see conftest.py).
SIDE_BY_SIDE := -n 3 --dist loadscope --no-loadscope-reorder

# A Python path set for other programs would reach into .venv.
unexport PYTHONPATH PYTHONHOME
export PYTHON

help: ## say what there is
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1|\2/p' Makefile | \
	  while IFS='|' read -r name what; do printf '%-18s %s\n' "$$name" "$$what"; done

lab: setup ## open JupyterLab on the analysis, with the API beside it
	@$(BIN)/promo lab $(ARGS)

app: setup ## open the dashboard as a web page, with the API beside it
	@$(BIN)/promo app $(ARGS)

test: setup ## run every test: code, notebooks (nbval) and browser
	@chromium=$$($(BIN)/python tools/chromium.py --install) && \
	  PROMO_CHROMIUM="$$chromium" PROMO_REQUIRE_BROWSER=1 $(BIN)/pytest --nbval $(SIDE_BY_SIDE) $(ARGS)

check: setup ## check format, lint, types and the fast tests, in a few minutes
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/pytest -m "not slow and not browser" $(SIDE_BY_SIDE) $(ARGS)

soak: setup ## attack it for the better part of an hour: kills, faults, a million rows; print what was lost
	@$(BIN)/python tools/soak.py $(ARGS)

audit: setup ## ask whether a pinned version has a known vulnerability
	@$(BIN)/python tools/audit.py $(ARGS)

notebooks: setup ## run every notebook afresh and store its outputs, normalised
	@$(BIN)/python tools/notebooks.py $(ARGS)

pictures: setup ## take the README's pictures of a running notebook
	@$(BIN)/python -m tools.pictures $(ARGS)

bench: setup ## measure against the peers, in one run
	@$(BIN)/python -m benchmarks $(ARGS)

lock: setup ## pin every dependency anew: requirements.lock and environment.yml
	@$(BIN)/python tools/lock.py $(ARGS)

clean: ## remove .venv, .bench and caches; data/ stays
	rm -rf .venv .bench .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

setup:
	@sh tools/setup.sh
