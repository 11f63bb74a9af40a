# Two commands: `make demo` does the main job on real data, `make test` passes the tests. Both set everything up.

comma := ,
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO := demo
BENCH_VENV := .venv-bench
BENCH_STAMP := $(BENCH_VENV)/.installed
RELEASE_VENV := .venv-release
RELEASE_STAMP := $(RELEASE_VENV)/.installed

PAGES := docs/_build/html

# pages are tested where Chromium is; what drives it is large
EXTRAS := test$(if $(or $(CHROMIUM),$(shell command -v chromium chromium-browser)),$(comma)browser)

.PHONY: setup demo test suite docs quick fast mutate fuzz compat dist bench bench-growth lint types format clean

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt -e '.[$(EXTRAS)]'
	@$(BIN)/python -m compileall -qq -j 0 $(VENV)/lib || true  # by every processor, where pip takes one; some files are templates
	@touch $@

demo: setup
	@mkdir -p $(DEMO)
	@echo "== the model, and the objective derived from its spec"
	@$(BIN)/sgc inspect specs/digits.yaml > $(DEMO)/inspect.txt
	@cat $(DEMO)/inspect.txt
	@$(BIN)/sgc inspect specs/digits.yaml -o $(DEMO)/model.svg
	@echo "== training"
	@$(BIN)/sgc train specs/digits.yaml -o $(DEMO)/run --force
	@echo "== test error, beside that of a classifier trained on the same labels alone"
	@$(BIN)/sgc evaluate $(DEMO)/run --classifier
	@echo "== pictures"
	@$(BIN)/sgc sample $(DEMO)/run -o $(DEMO)/samples.png
	@$(BIN)/sgc sample $(DEMO)/run -o $(DEMO)/analogies.png --analogies y
	@echo "model: $(DEMO)/model.svg; what it generates: $(DEMO)/samples.png, $(DEMO)/analogies.png"

# types beside the tests, or one of two processors would wait for them; children find the package compiled
test: setup lint
	@$(MAKE) --no-print-directory -j 2 types suite

suite: setup
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n 2 --dist worksteal

# the documentation as pages, from the index alone: no page asks another machine for anything
docs: setup
	@$(BIN)/python -m sphinx -W --keep-going -q -b html docs $(PAGES)
	@echo "$(PAGES)/index.html"

# while you work: lint, types and the fast tests of tests/quick.txt, side by side; under a minute
quick: setup
	@$(MAKE) --no-print-directory -j 2 lint types fast

fast: setup
	@$(BIN)/python -m pytest @tests/quick.txt

# puts known faults into the derivation and tells what catches each; half an hour
mutate: setup
	@$(BIN)/python tests/mutate.py

# mutated and random specs, settings, data files and run folders: no traceback, no hang, no code run; an hour
FUZZ ?= 0 2000
fuzz: setup
	@$(BIN)/python tests/fuzz $(FUZZ)

# the wheel in clean environments: each Python, the oldest and the newest dependencies; half an hour and 6 GB at a time.
# COMPAT='--python 3.11 --age oldest' for one of them; tests/compat.py says what else
COMPAT ?=
compat: $(RELEASE_STAMP)
	@$(RELEASE_VENV)/bin/python tests/compat.py $(COMPAT)

# what is uploaded: the sdist and the wheel that is built from it, into dist/; their descriptions and the citation are checked
dist: $(RELEASE_STAMP)
	@rm -rf dist
	@$(RELEASE_VENV)/bin/uv build --quiet --out-dir dist .
	@$(RELEASE_VENV)/bin/twine check --strict dist/*.whl dist/*.tar.gz
	@$(RELEASE_VENV)/bin/cffconvert --validate -i CITATION.cff

$(RELEASE_STAMP): Makefile
	@test -x $(RELEASE_VENV)/bin/python || $(PYTHON) -m venv $(RELEASE_VENV)
	@$(RELEASE_VENV)/bin/python -m pip install --quiet --disable-pip-version-check "uv==0.13.9" "twine==7.0.0" "cffconvert==2.0.0"
	@touch $@

# a step of training, beside the same by hand and in Pyro, NumPyro and Pixyz, in an environment of its own; ten minutes.
# BENCH='--quick' for a minute; benchmarks/README.md says what else
BENCH ?=
bench: $(BENCH_STAMP)
	@$(BENCH_VENV)/bin/python -m benchmarks.bench --json benchmarks/last.json $(BENCH)

# how samples, categories, long repeats, large graphs and many patterns grow; BENCH='--quick' for two minutes
bench-growth: setup
	@$(BIN)/python -m benchmarks.growth $(BENCH)

# a peer that cannot be had is left out, and its rows say so
$(BENCH_STAMP): pyproject.toml constraints.txt benchmarks/requirements.txt
	@test -x $(BENCH_VENV)/bin/python || $(PYTHON) -m venv $(BENCH_VENV)
	@echo "installing into $(BENCH_VENV) ..."
	@$(BENCH_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@for peers in pyro-ppl "numpyro funsor" pixyz; do \
	    $(BENCH_VENV)/bin/python -m pip install --quiet --disable-pip-version-check \
	        -c constraints.txt -c benchmarks/requirements.txt $$peers || echo "not to be had: $$peers"; \
	done
	@touch $@

lint: setup
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: setup
	@$(BIN)/mypy

format: setup
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

clean:
	rm -rf $(DEMO) docs/_build build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
