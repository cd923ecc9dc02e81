# make demo    train, kill, resume and predict on real data, in an environment of its own
# make test    format, lint, types and every test that needs no large package
# make test-all   the same, with PyTorch, scikit-learn, pandas, Arrow and ONNX beside, so that nothing is skipped
# make check   format, lint and types alone
# make bench   the benchmarks, one after another (BENCH=throughput for one)
# make lock    write requirements.lock anew (needs uv)
# make clean   remove what make built

PYTHON ?=
VENV ?= .venv
BENCH ?= throughput decision many short_job faults restart prediction network serving reading memory home budget long_log makespan policies calibration fuzz_models accuracy
READY := $(VENV)/.ready
ALL ?= .venv-all
READY_ALL := $(ALL)/.ready
PIP = $(1)/bin/python -m pip --disable-pip-version-check install -qq

# The tests start hundreds of processes: the sources are compiled once, not in each of them.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-all check bench lock clean
.DEFAULT_GOAL := test

demo: $(READY)
	@$(VENV)/bin/singlepoint demo

# All of them go two at a time, since most wait for processes; those that ARGS names, one by one.
PYTEST = -m pytest -q $(if $(ARGS),$(ARGS),-n 2 --dist worksteal)

test: check
	@$(VENV)/bin/python $(PYTEST)

# A test that fails among the others is tried once more alone, and fails when it fails twice; both are printed.
AGAIN = echo "== once more, one by one: what failed" && $(1) -m pytest -q --last-failed --last-failed-no-failures none $(ARGS)

test-all: export SINGLEPOINT_TEST_ALL = 1
test-all: check $(READY_ALL)
	@$(ALL)/bin/python $(PYTEST) || { [ $$? = 1 ] && $(call AGAIN,$(ALL)/bin/python); }

check: $(READY)
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/mypy

bench: $(READY)
	@for name in $(BENCH); do echo "== $$name"; $(VENV)/bin/python -m benchmarks.$$name || echo "($$name did not run to its end)"; done

# The lock says what is installed, to the byte; our own package is built by the hatchling in it. An environment
# that an interrupted run left half made is made again.
SOURCES := pyproject.toml hatch_build.py requirements.lock .ci/python
define environment
	@python=$$(PYTHON="$(PYTHON)" sh .ci/python) && echo "building $(1) with $$python" && \
		"$$python" -m venv --clear $(1)
	@$(call PIP,$(1)) --require-hashes -r requirements.lock
	@$(call PIP,$(1)) --no-deps --no-build-isolation --editable .
endef

$(READY): $(SOURCES)
	$(call environment,$(VENV))
	@touch $@

$(READY_ALL): $(SOURCES) requirements-all.txt
	$(call environment,$(ALL))
	@$(call PIP,$(ALL)) -r requirements-all.txt
	@touch $@

lock:
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-emit-find-links --no-header --extra test pyproject.toml --output-file requirements.lock

clean:
	rm -rf $(VENV) $(ALL) dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
