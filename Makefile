# Every target makes and reuses .venv with nothing but python3 and pip. PYTHON=python3.13 selects
# another interpreter; a .venv of another version is replaced.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready-$(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')

.PHONY: help demo test check format fuzz bench docs mediapipe litert audit sbom wheels lowest release-model clean

help:
	@echo "make demo   set up, then run the whole chain offline on drawn faces"
	@echo "make test   set up, then run the tests"
	@echo "make check  lint, types and declared dependencies"
	@echo "make format rewrite the code in the project's format"
	@echo "make fuzz   a hundred thousand damaged files and requests (some minutes)"
	@echo "make bench  run some of the benchmarks that need no dataset"
	@echo "make docs   build the site into build/site"
	@echo "make mediapipe      install MediaPipe in an environment of its own; a test runs the model in it"
	@echo "make litert         fetch LiteRT.js, for the page's device mode, and TypeScript"
	@echo "make audit          look for known vulnerabilities of the dependencies; needs PyPI"
	@echo "make sbom           list what is installed in build/sbom.json, CycloneDX"
	@echo "make wheels         check that all dependencies have wheels for each system; needs an index"
	@echo "make lowest         test with the lowest versions that pyproject.toml allows"
	@echo "make release-model DATA=fer2013 [WEIGHTS=file]: train and export the bundled model, in minutes"

$(READY): pyproject.toml
	$(PYTHON) -m venv $(shell test -e $@ || echo --clear) .venv
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --editable ".[train,video,serve,cluster]" --group dev --group docs
	@touch $(READY)

demo: $(READY)
	$(BIN)/happysad demo

test: $(READY)
	$(BIN)/python -m pytest --numprocesses 2 --no-loadscope-reorder

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/deptry src

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

fuzz: $(READY)
	$(BIN)/python tests/fuzz/fuzzing.py

bench: $(READY)
	$(BIN)/python benchmarks/imports.py
	$(BIN)/python benchmarks/cold_start.py
	$(BIN)/python benchmarks/stages.py
	$(BIN)/python benchmarks/training_speed.py

docs: $(READY)
	$(BIN)/zensical build --clean --strict

mediapipe:
	$(PYTHON) -m venv .venv-mediapipe
	.venv-mediapipe/bin/python -m pip install --quiet --upgrade "pip>=25.1"
	.venv-mediapipe/bin/python -m pip install --quiet --group mediapipe

litert:
	npm install --no-save --no-audit --no-fund --silent @litertjs/core@^2.5 typescript@^5

RELEASE := .venv-release/bin
$(RELEASE)/uv: pyproject.toml
	$(PYTHON) -m venv .venv-release
	$(RELEASE)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(RELEASE)/python -m pip install --quiet --group release
	@touch $(RELEASE)/uv

# Strict: a package that nothing is known of is no success. So the list leaves out happysad itself.
audit: $(READY) $(RELEASE)/uv
	@mkdir -p build
	$(BIN)/python -m pip freeze --exclude-editable > build/installed.txt
	$(RELEASE)/pip-audit --strict --no-deps --disable-pip --requirement build/installed.txt || { echo \
		"make audit: update what is named above; without PyPI's network, run it where there is one" >&2; exit 1; }

sbom: $(READY) $(RELEASE)/uv
	mkdir -p build
	$(RELEASE)/cyclonedx-py environment $(BIN)/python --pyproject pyproject.toml --output-reproducible \
		--output-file build/sbom.json

wheels: $(READY) $(RELEASE)/uv
	$(BIN)/python tools/wheels.py $(RELEASE)/uv

lowest: $(RELEASE)/uv
	$(PYTHON) -m venv .venv-lowest
	$(RELEASE)/uv pip install --quiet --python .venv-lowest/bin/python --resolution lowest-direct \
		".[all]" --group dev
	.venv-lowest/bin/python -m pytest -W ignore tests --ignore tests/e2e --ignore tests/scoring --ignore tests/tuning

WEIGHTS ?= happysad
release-model: $(READY)
	$(BIN)/python tools/release_model.py $(DATA) $(WEIGHTS) build/release
	$(BIN)/python benchmarks/recipes.py build/release/release build/release/data/test
	$(BIN)/python benchmarks/release.py build/release/data --write

clean:
	rm -rf .venv .venv-mediapipe .venv-release .venv-lowest build dist .mypy_cache .pytest_cache .ruff_cache
