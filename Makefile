# Every target sets itself up: `make demo` is all a newcomer needs to type.
# make install PYTHON=python3.12   takes another interpreter (3.11 or newer).
# make test VENV=/elsewhere/venv   puts all that is built there, caches too: the checkout may be read-only.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
CACHE := $(if $(filter /%,$(VENV)),,$(CURDIR)/)$(VENV)/cache

# Pip sees the pins also where it builds; nothing of the caller's Python environment leaks in.
export PIP_DISABLE_PIP_VERSION_CHECK := 1
unexport PYTHONPATH PYTHONHOME

export MYPY_CACHE_DIR := $(CACHE)/mypy
export RUFF_CACHE_DIR := $(CACHE)/ruff
export HYPOTHESIS_STORAGE_DIRECTORY := $(CACHE)/hypothesis
# Without bytecode every process of the tests compiles what it imports: half a second of CPU for each gateway. Where the checkout
# cannot be written to, or the caller wants no bytecode in it, the cache holds it.
BYTECODE := $(if $(filter writable,$(shell test -w . && echo writable)$(PYTHONDONTWRITEBYTECODE)),,PYTHONDONTWRITEBYTECODE= PYTHONPYCACHEPREFIX="$(CACHE)/python")
PYTEST := $(BYTECODE) $(BIN)/python -m pytest -o cache_dir="$(CACHE)/pytest"
# The checkout by its path: setuptools' default hooks into imports, which costs every Python process 20 ms.
EDITABLE := --config-settings editable_mode=compat --editable
# Five processes on any machine: many tests wait for a running gateway and need no core meanwhile.
PARALLEL := --numprocesses 5 --dist worksteal
COLLECT := $(BIN)/python -m pytest -o cache_dir="$(CACHE)/pytest" --collect-only -qq
# Runs a test of docs/reliability.md and writes its result there.
RECORD := $(BIN)/python -m benchmarks.reliability

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install demo demo-fleet test test-system coverage soak check docs bench bench-dispatch screenshots clean
.PHONY: soak-lockstep soak-wire mutations fuzz fuzz-frames damage disk-full record-size kill-test power-cuts protocol-faults tick-lateness value-faults
.PHONY: install-service wheel deb test-deb audit-deps

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(firstword $(MAKEFILE_LIST)) | expand -t 22

install: $(READY)  ## set up .venv with the pinned packages

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Skerry needs Python 3.11 or newer as '$(PYTHON)'. Install it, or: make PYTHON=/path/to/python3 $(MAKECMDGOALS)" >&2; exit 2; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	  echo "Python's venv module is not installed. As root:" >&2; echo "  apt install python3-venv" >&2; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt setuptools
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-build-isolation $(EDITABLE) '.[dev]'
	@$(BIN)/python -c 'import pathlib, sysconfig; pathlib.Path(sysconfig.get_path("purelib"), "skerry-checkout.pth").write_text("$(CURDIR)\n")'
	@touch $@

# The service's Python: no home directory, which systemd hides from the service.
SERVICE_PYTHON ?= /usr/bin/python3
PREFIX ?= /opt/skerry

install-service: $(READY) wheel  ## as root: the service on this machine, in PREFIX (/opt/skerry); or in an image, below DESTDIR
	deploy/install-service $$(ls -t build/dist/skerry-*.whl | head -1) $(SERVICE_PYTHON) $(PREFIX) $(DESTDIR)

wheel: $(READY)  ## the wheel of the last commit, in build/dist; the same bytes each time
	@deploy/build-wheel $(BIN)/python build/dist

deb: $(READY) wheel  ## the Debian package of the last commit, with all it needs of Python, in build/dist; REVISION=1
	@deploy/build-deb $$(ls -t build/dist/skerry-*.whl | head -1) $(SERVICE_PYTHON) build/dist $(or $(REVISION),1)

demo: $(READY)  ## a living site on this machine: twin, gateway and console
	@$(BIN)/skerry demo

demo-fleet: $(READY)  ## three living sites on this machine, and the fleet's screen
	@$(BIN)/skerry demo --fleet

test: $(READY)  ## every test, in five processes
	@$(BYTECODE) $(BIN)/python -m compileall -q -j 0 benchmarks console dispatch drivers fleet gateway skerry storage  # once, not by each process
	@$(BYTECODE) sh -c 'for part in "tests/dispatch tests/console" "tests/drivers tests/fleet tests/gateway tests/storage"; do $(COLLECT) $$part & done; wait' > /dev/null 2>&1  # likewise: pytest compiles the tests
	$(PYTEST) $(PARALLEL) --durations 20

test-system: $(READY)  ## with real parts of Debian (tests/system/packages.txt), as root; without them it says what to install
	$(PYTEST) --durations 5 tests/system

test-deb: $(READY)  ## build, install, upgrade, roll back, remove the Debian package in a chroot; root, debootstrap, network; minutes
	SKERRY_TEST_DEB=1 $(PYTEST) --timeout 1800 --durations 10 -s tests/system/test_debian_package.py

coverage: $(READY)  ## lines and branches of dispatch, drivers and storage that their tests run, with a floor
	COVERAGE_FILE="$(CACHE)/coverage" $(PYTEST) $(PARALLEL) --cov --cov-fail-under=95 \
	  tests/dispatch tests/drivers tests/storage

soak: $(READY)  ## the tests that have a long version, at length; installs the extra [dask]
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-build-isolation $(EDITABLE) '.[dev,dask]'
	SKERRY_SOAK=1 $(PYTEST) -m soak
	SKERRY_SOAK_ISLAND=100000 SKERRY_SOAK_OUTAGES=5000 SKERRY_SOAK_READINGS=2000 SKERRY_SOAK_CLAIMS=400 SKERRY_SOAK_NOISE_S=86400 SKERRY_SOAK_CLOCK=1000 $(PYTEST) --timeout 0 \
	  tests/dispatch/islanding/test_state_machine.py tests/drivers/twin/test_outage_storm.py tests/drivers/twin/test_reason_claims.py tests/drivers/twin/test_checked_day.py tests/dispatch/billing/test_clock_changes.py tests/gateway/test_clock_set_while_running.py

soak-lockstep: $(READY)  ## HOURS of the demo (24) in lock-step: memory, files, alarms without a cause
	SKERRY_SOAK_HOURS=$(or $(HOURS),24) $(RECORD) soak-lockstep env $(PYTEST) tests/drivers/twin/test_soak_lockstep.py

soak-wire: $(READY)  ## MINUTES (60) of twin and gateway as processes, after half an hour: memory, files, overruns, alarms without a cause
	$(RECORD) soak-wire $(BIN)/python -m benchmarks.soak_wire --minutes $(or $(MINUTES),60)

mutations: $(READY)  ## faults made in copies of the tree: the tests must notice each; JOBS at a time (2), ONLY some
	$(RECORD) mutations $(BIN)/python -m benchmarks.mutations --jobs $(or $(JOBS),2) --only "$(ONLY)"

fuzz: $(READY)  ## every parser of bytes from outside: N inputs each (5000); SEED repeats a run
	SKERRY_FUZZ=$(or $(N),5000) SKERRY_FUZZ_SEED=$(or $(SEED),$(shell date +%s)) $(RECORD) fuzz env $(PYTEST) $(PARALLEL) tests/fuzz/test_parsers.py

fuzz-frames: $(READY)  ## answers in frames of Modbus TCP and RTU: N inputs for each check (1000000), five minutes
	SKERRY_FUZZ=$(or $(N),1000000) SKERRY_FUZZ_SEED=$(or $(SEED),$(shell date +%s)) $(RECORD) fuzz-frames env $(PYTEST) $(PARALLEL) \
	  --timeout 0 -k "frames and (Modbus or RTU)" tests/fuzz/test_parsers.py

kill-test: $(READY)  ## N kills (1000) of a gateway under commands, in every state of the site
	SKERRY_SOAK_KILLS=$(or $(N),1000) $(RECORD) kill-test env $(PYTEST) --timeout 0 tests/gateway/test_kills_under_load.py

.PHONY: kill-hub
kill-hub: $(READY)  ## N kills (200) of hub, bus, database and uplink of a fleet; root, with what tests/system needs
	SKERRY_SOAK_HUB_KILLS=$(or $(N),200) $(RECORD) kill-hub env $(PYTEST) --timeout 0 tests/system/test_hub.py -k kill_9

power-cuts: $(READY)  ## CUTS simulated power cuts (1000) of the writers of telemetry and audit
	SKERRY_SOAK_CUTS=$(or $(CUTS),1000) $(RECORD) power-cuts env $(PYTEST) tests/storage/test_power_cut.py

check: $(READY)  ## ruff, mypy, import contract, dead code, complexity
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --cache-dir "$(CACHE)/import-linter"
	$(BIN)/vulture
	$(BIN)/complexipy --cache-dir "$(CACHE)/complexipy"

audit-deps: $(READY)  ## known vulnerabilities of the pinned packages; asks the public advisory database, so needs a network
	@test -x build/audit/bin/pip-audit || { $(BIN)/python -m venv build/audit && build/audit/bin/python -m pip install --quiet pip-audit; } || { \
	  echo "pip-audit cannot be installed: is there a network?" >&2; exit 2; }
	build/audit/bin/pip-audit --strict --progress-spinner off --no-deps --disable-pip --requirement constraints.txt

docs: $(READY)  ## build the documentation as a static site in build/docs; installs the extra [docs] once
	@$(BIN)/python -c 'import furo, myst_parser, sphinx' 2>/dev/null || \
	  $(BIN)/python -m pip install --quiet --constraint constraints.txt --no-build-isolation $(EDITABLE) '.[dev,docs]'
	$(BIN)/python docs/generate.py
	$(BIN)/python -m sphinx --fail-on-warning --quiet -c docs . build/docs
	@echo "build/docs/index.html"

bench: $(READY)  ## measure the figures of docs/figures.md
	$(BIN)/python -m benchmarks.run

.PHONY: bench-export
bench-export: $(READY)  ## time of an export of a year, and of verifying a million rows of audit (three minutes)
	$(RECORD) bench-export $(BIN)/python -m benchmarks.export

.PHONY: bench-proofs
bench-proofs: $(READY)  ## how well the figures of a proof hold, on N simulated devices (1000, half an hour)
	$(BIN)/python -m benchmarks.prove --cases $(or $(N),1000)

bench-dispatch: $(READY)  ## what dispatch saves: bundled traces, or CASES=DIR; JOBS=N processes
	$(BIN)/python -m benchmarks.dispatch $(if $(CASES),--cases $(CASES)) --jobs $(or $(JOBS),1)

damage: $(READY)  ## DAMAGES flipped bits and torn pages (1000) in each kind of file that a start reads
	SKERRY_SOAK_DAMAGES=$(or $(DAMAGES),1000) $(RECORD) damage env $(PYTEST) $(PARALLEL) tests/gateway/test_damage_matrix.py

protocol-faults: $(READY)  ## 25 faults of the protocol in each kind of device, SEEDS seeds each (50)
	SKERRY_SOAK_SEEDS=$(or $(SEEDS),50) $(RECORD) protocol-faults env $(PYTEST) $(PARALLEL) tests/drivers/test_protocol_faults.py

tick-lateness: $(READY)  ## hostile clients, a full disk: TICKS in quiet and in loaded phases each (20000, two and a half hours), as root
	$(RECORD) tick-lateness $(BIN)/python -m benchmarks.tick_lateness --ticks $(or $(TICKS),20000)

disk-full: $(READY)  ## the disk of the records full, read-only, gone, hanging; as root, with what tests/system needs
	$(RECORD) disk-full env $(PYTEST) tests/system/test_full_disk.py

record-size: $(READY)  ## bytes and syncs of a day of 200 signals, and charts; half an hour, with strace
	$(RECORD) record-size $(BIN)/python -m benchmarks.records

value-faults: $(READY)  ## 11 faults in the values of 6 devices, on the wire; fails if one is believed (SEEDS times three minutes)
	$(RECORD) value-faults $(BIN)/python -m benchmarks.value_faults --jobs $(or $(JOBS),3) --seeds $(or $(SEEDS),1)

screenshots: $(READY)  ## redraw the pictures in screenshots/ from the recorded snapshots
	$(PYTEST) tests/console/tui/test_pictures.py tests/console/tui/test_fleet_screen.py -k picture --snapshot-update

clean:  ## remove everything that was built, .venv too
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache snapshot_report.html
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
