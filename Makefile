# Everything runs in .venv, made on first use. PYTHON picks the interpreter (3.11 to 3.13), JOBS how
# many processes run the tests: 0 runs them in one, where a debugger can stop them.
PYTHON ?= python3
VENV ?= .venv
JOBS ?= logical
BIN := $(VENV)/bin

.PHONY: demo test coverage lint install clean

demo: install  ## fit, evaluate and report on a bundled table
	$(BIN)/pointwise fit diabetes --target target --out build/demo --seed 0
	$(BIN)/pointwise report build/demo

# One process a core, each on one thread: small networks on several wait for one another.
TESTS := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist worksteal

test: lint  ## lint, types, and every test, docstring example and document
	$(TESTS)

coverage: install  ## the tests once more, at twice their time: the lines that none of them runs
	$(TESTS) --cov --cov-report=term

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

install: $(VENV)/installed

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[all,dev]"
	touch $@

clean:
	rm -rf $(VENV) build .pytest_cache .mypy_cache .ruff_cache
