# Two commands do everything, set-up included: `make studio` and `make test`.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

.PHONY: studio test test-all lint benchmarks clean

studio: $(VENV)/.studio
	$(BIN)/python app.py

test: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n logical --dist loadfile --no-loadscope-reorder

test-all: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n logical --dist loadfile --no-loadscope-reorder -m ""

lint: $(VENV)/.dev
	$(BIN)/ruff check . && $(BIN)/ruff format --check .

benchmarks: $(VENV)/.dev
	$(BIN)/python -m pytest tests/benchmarks -s

clean:
	rm -rf $(VENV)

# The stamps are newer than the requirements they installed, so a changed range reinstalls.
$(VENV)/.studio: requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

$(VENV)/.dev: requirements-dev.txt requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@ $(VENV)/.studio
