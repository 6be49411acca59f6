# make demo    install and run the main job on real handwritten digits (no download)
# make test    install and run every check and test
# make slurm   start a Slurm on this machine, and run the tests that need one (root, Debian or Ubuntu)
# make bounds  install the lowest and the newest versions that are stated, for each Python that is here, and test them
# make gpu     run all that needs an NVIDIA GPU in 25 minutes, and write docs/gpu.md (without a GPU: a trial)
# make models  cut some ninety networks of torchvision and timm, and write docs/networks.md
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# Compiled tests are kept, whatever the surroundings say: without them each worker spends ten seconds on compiling.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo test bounds gpu models slurm check coverage format clean

demo: $(VENV)/.demo
	@echo "Training a teacher and a student on handwritten digits, then cutting the student: about a minute"
	OMP_NUM_THREADS=1 $(BIN)/python -m train.compress --config configs/digits/compress.yaml --run_dir runs/demo
	OMP_NUM_THREADS=1 $(BIN)/python -m train.report runs/demo

test: check
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 4 --dist loadfile --no-loadscope-reorder

gpu: $(VENV)/.dev
	$(BIN)/python -m launch.bench gpu --output docs/gpu.md

models: $(VENV)/.dev
	OMP_NUM_THREADS=1 HEARTCUT_TABLE=docs/networks.md $(BIN)/python -m pytest -m slow

bounds:
	$(PYTHON) tests/bounds.py

slurm: $(VENV)/.dev
	tests/slurm/up.sh
	. /tmp/heartcut-slurm/env.sh && OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slurm; code=$$?; tests/slurm/down.sh; exit $$code

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

coverage: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/python -m coverage run -m pytest
	$(BIN)/python -m coverage report --skip-covered

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: setup.cfg | $(BIN)/python
	@echo "Installing Heartcut and its packages into $(VENV): torch and others, some minutes the first time"
	$(BIN)/python -m pip install --disable-pip-version-check -e ".[demo,export]"
	touch $@

$(VENV)/.dev: setup.cfg | $(BIN)/python
	@echo "Installing Heartcut, its packages and what the tests need into $(VENV): some minutes the first time"
	$(BIN)/python -m pip install --disable-pip-version-check -e ".[demo,dev,export]"
	touch $@ $(VENV)/.demo

clean:
	rm -rf $(VENV) *.egg-info build .mypy_cache .ruff_cache .pytest_cache .hypothesis
