# `make sweep` and `make test` set up everything they need in .venv; nothing else has to be installed but Python 3.11+,
# and a C++ compiler (g++) for inductor on the CPU. `make` alone lists the targets.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
# Where torch and torchvision come from: empty for the package index, whose torch for Linux is a CUDA build of gigabytes,
# or one of https://download.pytorch.org/whl/cpu, .../cu130, ...
TORCH_INDEX ?=
export HF_HUB_OFFLINE ?= 1
# some images set it: each of the many processes of the tests would compile the package anew
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help sweep test test-slow test-long lint bench trust chaos fuzz golden readme schema support zoo vendor clean

help:  ## this list
	@echo 'make TARGET [TORCH_INDEX=https://download.pytorch.org/whl/cpu] [VENV=.venv] [PYTHON=python3]'
	@sed -n 's/^\([a-z-]*\):.*##  *\(.*\)/\1|\2/p' $(firstword $(MAKEFILE_LIST)) | \
	  while IFS='|' read -r target what; do printf '  %-10s %s\n' "$$target" "$$what"; done

sweep: $(VENV)/installed  ## the main job: is inductor faster than eager, smaller, and still correct, in float16?
	$(BIN)/python -m orchestrator -m compiler=eager,inductor dtype=float16

test: $(VENV)/installed lint  ## linters, type checks, and every test but the long ones
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not alone and not slow and not long"
	$(BIN)/python -m pytest -m "alone and not slow"

test-slow: $(VENV)/installed  ## the long end-to-end cases, which CI runs as well (a quarter of an hour)
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "slow and not alone"
	$(BIN)/python -m pytest -m "alone and slow"

test-long: $(VENV)/installed  ## what CI leaves out: twins of language models, training options, the notebook, a real bisect, builds, ranks, slots, a dozen faults
	$(BIN)/python -m pytest -m long

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/installed  ## figures of our own cost: planning, scheduling, the memory probe
	for file in benchmarks/bench_*.py; do $(BIN)/python $$file || exit 1; done

trust: $(VENV)/installed  ## an hour on a quiet machine: false alarms, planted effects, repeatability of what we measure
	$(BIN)/python benchmarks/trust_pairs.py
	$(BIN)/python benchmarks/trust_repeatability.py

fuzz: $(VENV)/installed  ## ten minutes: random command lines, YAML, CSV files and sweep folders
	PYTHONPATH=.:tests $(BIN)/python -m fuzz --seconds 600 --seed $(or $(SEED),1)

chaos: $(VENV)/installed  ## an hour: 300 faults against real sweeps, the table of docs/reliability.md
	PYTHONPATH=.:tests $(BIN)/python -m chaos --faults 300 --seed $(or $(SEED),1)

golden: $(VENV)/installed  ## the golden views of the tests, again; read `git diff tests/golden` then
	UPDATE_GOLDEN=1 $(BIN)/python -m pytest -q -n 2 tests/test_golden_views.py

readme: $(VENV)/installed  ## the README's table of options, again from conf/
	$(BIN)/python docs/readme.py

schema: $(VENV)/installed  ## conf/*.schema.json, again from the configuration's types and options
	$(BIN)/python -m orchestrator options --schema conf

support: $(VENV)/installed  ## docs/support.md, again: what works where (an hour)
	$(BIN)/python -m orchestrator experiment=support || true  # failures are what the table is about
	$(BIN)/python docs/support.py

zoo: $(VENV)/installed  ## docs/zoo.md, again: which models compile (an hour)
	$(BIN)/python -m orchestrator experiment=zoo || true  # failures are what the tables are about
	$(BIN)/python docs/zoo.py --anew

VEGA   := vega@6.4.0 vega-lite@6.5.0 vega-embed@7.3.0
VENDOR := orchestrator/page/assets/vendor
vendor:  ## the charting library of report.html, again from the npm registry (needs npm)
	for package in $(VEGA); do \
	  name=$${package%@*} folder=$$(mktemp -d) && \
	  npm pack --silent --pack-destination $$folder $$package && tar -xzf $$folder/*.tgz -C $$folder && \
	  cp $$folder/package/build/$$name.min.js $(VENDOR)/ && cp $$folder/package/LICENSE $(VENDOR)/$$name.LICENSE || exit 1; \
	done
	cd $(VENDOR) && sha256sum *.js *.LICENSE > checksums.txt

# torch first and pinned: resolved together with the rest, a plain `torch` would be the newest CUDA build
# timm without dependencies: torchvision would ask for another torch, and all else that timm needs is there already
PIP  = $(BIN)/python -m pip install --disable-pip-version-check --constraint constraints.txt
FROM = $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX))
$(VENV)/installed: pyproject.toml constraints.txt
	@echo 'set-up in $(VENV), once: some minutes'
	@echo '1/5 a virtual environment of $(PYTHON)'
	@$(PYTHON) -m venv $(VENV)
	@echo '2/5 torch from $(or $(TORCH_INDEX),the package index (another build: make clean sweep TORCH_INDEX=...))'
	@$(PIP) $(FROM) torch
	@echo '3/5 orchestrator, and what it and its tests need'
	@$(PIP) --quiet --editable '.[dev]'
	@echo '4/5 timm and torchvision'
	@$(PIP) --quiet --no-deps pillow timm
	@$(PIP) --quiet --no-deps $(FROM) torchvision
	@echo '5/5 whether torchvision fits torch'
	@$(BIN)/python -m orchestrator.suites.torchvision_operators  # PyPI's is a CUDA build, and transformers imports it too
	@touch $@

clean:  ## remove the environment and what tools have left
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache

.PHONY: docs
docs: $(VENV)/installed  ## the documentation as a site, build/site/index.html; a link that leads nowhere is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict
