PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# Hundreds of processes import the same modules, which are compiled once.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: install benchmark results sweeps test lint docs board cards wheel try-wheel

install: $(VENV)/.installed

# Without an NVIDIA GPU the wheel of PyTorch's own index is a tenth as large; where that index
# cannot be reached, the wheel is the usual one.
CPU_WHEELS := https://download.pytorch.org/whl/cpu
REACHED = $(shell curl -sfI -m 3 $(CPU_WHEELS)/ > /dev/null && echo yes)
GPU = $(shell command -v nvidia-smi)
INDEX = $(if $(GPU),,$(if $(REACHED),--extra-index-url $(CPU_WHEELS)))

# The lock pins every package; the project itself is installed as it is checked out. uv, where it
# is at hand, installs in a fraction of pip's time.
$(VENV)/.installed: requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
ifneq ($(shell command -v uv),)
	uv pip install --quiet --python $(BIN)/python $(if $(REACHED),--torch-backend auto) -r requirements.lock
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

# Tools that no run and no test needs, each set an extra of pyproject.toml.
$(VENV)/.installed-%: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation -e '.[$*]'
	touch $@

# The site, to be opened as site/index.html; what lay in site/ before is gone.
docs: $(VENV)/.installed-docs
	$(BIN)/python -m mkdocs build

# The page of all result cards, beside the site.
board: install
	$(BIN)/anisomem board results/ --out site/board

# Packets that others have handed in: each must agree with itself.
cards: install
	for packet in results/cards/*/packet.zip; do \
		[ ! -e $$packet ] || $(BIN)/anisomem verify $$packet || exit 1; \
	done

# What is uploaded; an index takes files of 100 MB at most, and nobody likes to wait for these.
WHEEL_BYTES := 60000000

wheel: $(VENV)/.installed-release
	rm -rf build dist
	$(BIN)/python -m build
	$(BIN)/python -m twine check --strict dist/*
	test $$(stat -c %s dist/*.whl) -lt $(WHEEL_BYTES)

# The wheel in an empty environment and an empty folder: it has all that it needs.
try-wheel:
	rm -rf build/empty
	$(PYTHON) -m venv build/empty
	build/empty/bin/python -m pip install --quiet --disable-pip-version-check $(INDEX) dist/*.whl
	cd build/empty && bin/anisomem --version && bin/anisomem list experiments && \
		bin/anisomem run model=testbed_epsilon limit=100 'detector=[wen,random]' && \
		bin/anisomem pack runs/testbed_epsilon --out packet.zip && bin/anisomem verify packet.zip
