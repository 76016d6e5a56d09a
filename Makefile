PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# Hundreds of processes import the same modules, which are compiled once.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: install benchmark results sweeps test lint

install: $(VENV)/.installed

# Without an NVIDIA GPU the wheel of PyTorch's own index is a tenth as large; where that index
# cannot be reached, the wheel is the usual one.
CPU_WHEELS := https://download.pytorch.org/whl/cpu
INDEX = $(shell command -v nvidia-smi > /dev/null || ! curl -sfI -m 3 $(CPU_WHEELS)/ > /dev/null \
	|| echo --extra-index-url $(CPU_WHEELS))

# The lock pins every package; the project itself is installed as it is checked out. uv, where it
# is at hand, installs in a fraction of pip's time.
$(VENV)/.installed: requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
ifneq ($(shell command -v uv),)
	uv pip install --quiet --python $(BIN)/python --torch-backend auto -r requirements.lock
else
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(INDEX) -r requirements.lock
endif
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

benchmark: install
	$(BIN)/anisomem run experiment=quickstart

# The tables that the repository shows; what is recorded in results/ is not recorded again.
results: install
	$(BIN)/anisomem run experiment=quickstart runs=results

SWEEPS := gamma transfer timesteps n seeds normalisation mode latents negatives

sweeps: install
	for sweep in $(SWEEPS); do $(BIN)/anisomem sweep $$sweep runs=results || exit 1; done

# A process a core; neighbours stay together, they share what is expensive to set up, until a
# process that has no more tests takes some from another.
test: install
	$(BIN)/python -m pytest -n auto --dist worksteal

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy
