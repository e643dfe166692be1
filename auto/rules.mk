# SPDX-License-Identifier: Apache-2.0
#
# auto/rules.mk - how cairn is built.  objs/Makefile, written by ./configure,
# sets the variables and includes this; run from the top of the tree.
#
# Sources are found, not listed: src/ROOM/*.c and src/ROOM/*/*.c go into
# lib/ROOM.a, modules/NAME/*_config*.c into lib/modules_config.a, the rest of
# modules/NAME/*.c into lib/modules.a.  src/cli/main.c has main().

SHELL := /bin/sh

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SECONDARY:
.SUFFIXES:

include auto/rooms.mk


# --- what there is ------------------------------------------------------------

SOURCES := $(filter-out src/cli/main.c,$(wildcard src/*/*.c src/*/*/*.c))
ROOMS   := $(sort $(foreach file,$(SOURCES),$(word 2,$(subst /, ,$(file)))))
PROTOS  := $(wildcard src/proto/*.proto src/proto/*/*.proto)

# A module left out is left out of every list.
module_sources = $(filter-out $(foreach name,$(WITHOUT),$(1)/$(name)/%),$(wildcard $(1)/*/*.c))
config_part    = $(foreach file,$(1),$(if $(findstring _config,$(notdir $(file))),$(file)))
run_part       = $(filter-out $(call config_part,$(1)),$(1))
objects        = $(patsubst %.c,$(O)/%.o,$(1))

MODULE_SOURCES      := $(call module_sources,modules)
TEST_MODULE_SOURCES := $(wildcard t/modules/*/*.c)

UNIT_TESTS   := $(wildcard t/unit/*/*_test.c t/unit/*/*/*_test.c)
UNIT_SUPPORT := $(filter-out $(UNIT_TESTS),$(wildcard t/unit/*.c t/unit/*/*.c t/unit/*/*/*.c))
UNIT_BINS    := $(patsubst t/unit/%_test.c,$(O)/unit/%_test,$(UNIT_TESTS))

FUZZERS      := $(patsubst t/fuzz/%_fuzz.c,%,$(wildcard t/fuzz/*_fuzz.c))
FUZZ_SUPPORT := $(filter-out %_fuzz.c,$(wildcard t/fuzz/*.c))

INCLUDES := -Isrc -Imodules -I$(O) -I$(O)/proto

COMPILE = $(CC) $(CPPFLAGS) $(CFLAGS) $(WARNINGS) $(INCLUDES) $(LIB_CFLAGS) -MMD -MP
QUIET_COMPILE = $(CC) $(CPPFLAGS) $(CFLAGS) -w $(INCLUDES) $(LIB_CFLAGS) -MMD -MP

ifeq ($(V),1)
    say :=
else
    say := @
endif


# --- objects ------------------------------------------------------------------

PROTO_C       := $(patsubst src/proto/%.proto,$(O)/proto/%.pb-c.c,$(PROTOS))
PROTO_H       := $(PROTO_C:.c=.h)
PROTO_OBJECTS := $(PROTO_C:.c=.o)

$(O)/proto/%.pb-c.c $(O)/proto/%.pb-c.h: src/proto/%.proto
	@mkdir -p $(O)/proto && echo "  PROTO $<"
	$(say)protoc-c --c_out=$(O)/proto -Isrc/proto $<

$(O)/proto/%.pb-c.o: $(O)/proto/%.pb-c.c $(O)/Makefile | $(PROTO_H)
	@echo "  CC    $<"
	$(say)$(QUIET_COMPILE) -c -o $@ $<

$(O)/llhttp/%.o: $(LLHTTP_DIR)/%.c $(O)/Makefile
	@mkdir -p $(@D) && echo "  CC    $<"
	$(say)$(QUIET_COMPILE) -c -o $@ $<

$(O)/t/%.o: t/%.c $(O)/Makefile $(O)/auto_config.h | $(PROTO_H)
	@mkdir -p $(@D) && echo "  CC    $<"
	$(say)$(COMPILE) -It/unit -It/modules -It/fuzz -c -o $@ $<

$(O)/%.o: %.c $(O)/Makefile $(O)/auto_config.h | $(PROTO_H)
	@mkdir -p $(@D) && echo "  CC    $<"
	$(say)$(COMPILE) -c -o $@ $<

# The lists of modules, for the program and for the tests' one.
$(O)/modules.c: FORCE
	@sh auto/modules run "$(WITHOUT)" modules | sh auto/if-changed $@

$(O)/modules_config.c: FORCE
	@sh auto/modules config "$(WITHOUT)" modules | sh auto/if-changed $@

$(O)/modules_test.c: FORCE
	@sh auto/modules run "$(WITHOUT)" modules t/modules | sh auto/if-changed $@

$(O)/modules_config_test.c: FORCE
	@sh auto/modules config "$(WITHOUT)" modules t/modules | sh auto/if-changed $@

MODULE_LISTS := $(O)/modules.o $(O)/modules_config.o
TEST_LISTS   := $(O)/modules_test.o $(O)/modules_config_test.o

$(MODULE_LISTS) $(TEST_LISTS): %.o: %.c $(O)/Makefile | $(PROTO_H)
	$(say)$(COMPILE) -c -o $@ $<


# --- archives -----------------------------------------------------------------

# Written anew when a source comes or goes, so that no archive keeps a dead one.
$(O)/sources.list: FORCE
	@printf '%s\n' $(SOURCES) $(MODULE_SOURCES) $(TEST_MODULE_SOURCES) $(UNIT_SUPPORT) $(PROTOS) \
	    | sh auto/if-changed $@

$(O)/lib/%.a: $(O)/sources.list
	@mkdir -p $(@D) && rm -f $@.new
	$(say)ar rcs $@.new $(filter %.o,$^) && mv $@.new $@

define room_rule
$(O)/lib/$(1).a: $(call objects,$(filter src/$(1)/%,$(SOURCES)))
endef
$(foreach room,$(ROOMS),$(eval $(call room_rule,$(room))))

$(O)/lib/proto_messages.a: $(PROTO_OBJECTS)
$(O)/lib/modules.a: $(call objects,$(call run_part,$(MODULE_SOURCES)))
$(O)/lib/modules_config.a: $(call objects,$(call config_part,$(MODULE_SOURCES)))
$(O)/lib/modules_test.a: $(call objects,$(call run_part,$(TEST_MODULE_SOURCES)))
$(O)/lib/modules_config_test.a: $(call objects,$(call config_part,$(TEST_MODULE_SOURCES)))
$(O)/lib/unit_support.a: $(call objects,$(UNIT_SUPPORT))
$(O)/lib/fuzz_support.a: $(call objects,$(FUZZ_SUPPORT))
$(O)/lib/llhttp.a: $(if $(LLHTTP_DIR),$(addprefix $(O)/llhttp/,llhttp.o api.o http.o))

lib = $(foreach name,$(1),$(O)/lib/$(name).a)

ROOM_LIBS  := $(call lib,$(ROOMS) proto_messages llhttp)
CAIRN_LIBS := $(ROOM_LIBS) $(call lib,modules modules_config)
TEST_LIBS  := $(CAIRN_LIBS) $(call lib,modules_test modules_config_test)

# link OUTPUT, OBJECTS, ARCHIVES, LIBRARIES
link = $(CC) $(CFLAGS) $(LDFLAGS) -o $(1) $(2) -Wl,--start-group $(3) -Wl,--end-group $(4) $(LIBS)


# --- programs -----------------------------------------------------------------

MAIN_OBJECT := $(O)/src/cli/main.o

.PHONY: all FORCE
all: $(O)/cairn
FORCE:

# room-ROOM: only that room's archive.
room-%: $(O)/lib/%.a
	@:

$(O)/cairn: $(MAIN_OBJECT) $(MODULE_LISTS) $(CAIRN_LIBS)
	@echo "  LINK  $@"
	$(say)$(call link,$@,$(MAIN_OBJECT) $(MODULE_LISTS),$(CAIRN_LIBS))

# The same program with the modules of t/modules.
$(O)/cairn-test: $(MAIN_OBJECT) $(TEST_LISTS) $(TEST_LIBS)
	@echo "  LINK  $@"
	$(say)$(call link,$@,$(MAIN_OBJECT) $(TEST_LISTS),$(TEST_LIBS))

.PHONY: install demo bench conformance h2spec test-grpc
install: all
	@sh auto/install "$(O)/cairn" "$(DESTDIR)$(PREFIX)"

demo: all
	$(O)/cairn demo

bench: all
	@auto/deps --packages bench
	TEST_CAIRN_BINARY=$(O)/cairn TEST_CAIRN_BUILDDIR=$(O) t/bench/run

# Conformance of HTTP/2; the program comes from the Go module proxy.
conformance: all
	@TEST_CAIRN_BINARY=$(abspath $(O)/cairn) t/conformance/rbac

h2spec: all
	@t/h2spec/build $(O)
	@TEST_CAIRN_BINARY=$(abspath $(O)/cairn) t/h2spec/run $(O)/bench/bin/h2spec

# gRPC's own client and server around it; the library comes from PyPI.
test-grpc: all
	@TEST_CAIRN_BINARY=$(abspath $(O)/cairn) t/grpc/run $(abspath $(O))


# --- tests --------------------------------------------------------------------

# t/unit/ROOM/THING_test.c -> unit/ROOM/THING_test, linked with what the room may
# use; the rooms that know of the modules (and t/unit/modules) with everything.
WHOLE_ROOMS    := filter admin server cli modules
UNIT_ROOMS     := $(sort $(foreach file,$(UNIT_TESTS),$(word 3,$(subst /, ,$(file)))))
unit_of        = $(filter $(O)/unit/$(1)/%,$(UNIT_BINS))
below          = $(filter $(ROOMS),$(1) $(USES_$(1)))

$(UNIT_BINS): $(O)/unit/%_test: $(O)/t/unit/%_test.o
	@mkdir -p $(@D) && echo "  LINK  $@"
	$(say)$(call link,$@,$(filter %.o,$^),$(filter %.a,$^),$(CMOCKA_LIBS))

define unit_rule
$(call unit_of,$(1)): $(O)/lib/unit_support.a \
    $(if $(filter $(1),$(WHOLE_ROOMS)),$(TEST_LISTS) $(TEST_LIBS),$(call lib,$(call below,$(1)) proto_messages llhttp))
.PHONY: unit-$(1)
unit-$(1): $(call unit_of,$(1))
endef
$(foreach room,$(UNIT_ROOMS),$(eval $(call unit_rule,$(room))))

.PHONY: unit test test-asan
unit: $(UNIT_BINS)

# T="t/10-x/a.t objs/unit/base/pool_test": only these.  TEST_JOBS: how many at once.
# unit-ROOM builds, and test-unit-ROOM runs, the unit tests of one room.
test-unit-%: unit-%
	@t/run --builddir=$(O) $(call unit_of,$*)

test: $(O)/cairn $(O)/cairn-test $(if $(T),$(filter $(O)/unit/%,$(T)),unit)
	@TEST_CAIRN_BINARY=$(abspath $(O)/cairn-test) TEST_CAIRN_BUILDDIR=$(O) \
	    t/run --builddir=$(O) $(if $(TEST_JOBS),--jobs=$(TEST_JOBS)) \
	    $(if $(WITH_FUZZERS),$(addprefix --fuzzer=objs-fuzz/fuzz/,$(FUZZERS))) $(T)

# All of it again under ASan and UBSan, and the fuzzers over their corpora.
ifeq ($(ASAN),yes)
test-asan: fuzzers
	+@$(MAKE) --no-print-directory -f $(O)/Makefile test WITH_FUZZERS=yes
else
test-asan:
	@sh ./configure $(VARIANT_ARGS) --with-asan --builddir=objs-asan > /dev/null
	+@$(MAKE) --no-print-directory -f objs-asan/Makefile test-asan
endif


# A build without each module that can be left out: it links, its unit tests pass but for those of
# whole configurations, and what needs the module is refused or skipped.
LEAVABLE      := $(patsubst modules/%,%,$(patsubst %/,%,$(dir $(wildcard modules/*/*_claims.h))))
WITHOUT_TESTS := t/00-build/without.t t/10-data/hbone.t t/20-routing/virtual_service.t \
	t/20-routing/http_route.t t/20-routing/headers.t t/25-policy/authorization.t

.PHONY: test-without test-left-out $(addprefix test-without-,$(LEAVABLE))

test-without: $(addprefix test-without-,$(LEAVABLE))

$(addprefix test-without-,$(LEAVABLE)): test-without-%:
	@sh ./configure $(VARIANT_ARGS) --without-$* --builddir=objs-without-$* > /dev/null
	+@$(MAKE) --no-print-directory -f objs-without-$*/Makefile test-left-out

test-left-out: all unit
	@TEST_CAIRN_BINARY=$(CURDIR)/$(O)/cairn t/run --builddir=$(O) \
	    $(filter-out $(O)/unit/modules/%,$(UNIT_BINS)) $(WITHOUT_TESTS)


# --- fuzzing ------------------------------------------------------------------

FUZZ_SECONDS ?= 60

.PHONY: fuzz fuzz-replay fuzzers

ifeq ($(FUZZ),yes)

FUZZ_BINS := $(addprefix $(O)/fuzz/,$(FUZZERS))

$(O)/fuzz/%: $(O)/t/fuzz/%_fuzz.o $(MODULE_LISTS) $(CAIRN_LIBS) $(O)/lib/fuzz_support.a
	@mkdir -p $(@D) && echo "  LINK  $@"
	$(say)$(call link,$@,$< $(MODULE_LISTS),$(CAIRN_LIBS) $(O)/lib/fuzz_support.a,-fsanitize=fuzzer)

fuzzers: $(FUZZ_BINS)

fuzz: $(FUZZ_BINS)
	@sh auto/fuzz run $(FUZZ_SECONDS) $(FUZZ_BINS)

fuzz-replay: $(FUZZ_BINS)
	@t/run --fuzzers-only $(addprefix --fuzzer=,$(FUZZ_BINS))

else

fuzz fuzz-replay fuzzers:
	@auto/deps --packages check
	@sh ./configure $(VARIANT_ARGS) --with-fuzz --builddir=objs-fuzz > /dev/null
	+@$(MAKE) --no-print-directory -f objs-fuzz/Makefile $@

endif


# --- lint ---------------------------------------------------------------------

.PHONY: lint
lint:
	@auto/deps --packages check
	+@status=0; sh auto/lint $(O) || status=1; \
	$(MAKE) --no-print-directory -f $(O)/Makefile $(O)/lint-worker || status=1; \
	exit $$status

# A worker must link without the model and the source: the parts of src/server
# that are a worker's, all modules' run parts, and every other room but these.
WORKER_OBJECTS := $(call objects,$(filter src/server/worker%,$(SOURCES)))
WORKER_LIBS    := $(call lib,$(filter-out model source admin cli,$(ROOMS)) proto_messages llhttp modules)

$(O)/lint-worker: $(WORKER_OBJECTS) $(O)/modules.o $(WORKER_LIBS)
	@echo "  LINK  $@"
	@echo 'int main(void) { return 0; }' | $(CC) $(CFLAGS) -x c -c -o $@.o -
	$(say)$(call link,$@,$@.o $(WORKER_OBJECTS) $(O)/modules.o,$(WORKER_LIBS))
	@echo "worker: links without the model and the source"


# --- cleaning -----------------------------------------------------------------

.PHONY: clean distclean

# What was fetched, into objs/deps and objs/bench, stays.
clean:
	find $(O) -mindepth 1 -maxdepth 1 ! -name deps ! -name bench ! -name Makefile ! -name auto_config.h \
	    -exec rm -rf {} +
	rm -rf objs-asan objs-fuzz

distclean:
	rm -rf objs objs-asan objs-fuzz Makefile

-include $(shell find $(O) -name '*.d' 2>/dev/null)
