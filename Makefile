# Every public target has a comment behind ##. `make help` prints these comments. Settings of the
# local stack are environment variables: STACK=compose|host|embedded, POSTGRES_PORT, BROKER_PORT,
# RELAY_PORT, API_PORT, LOCAL_DIR.
.DEFAULT_GOAL := help
export LOCAL_DIR ?= $(CURDIR)/.local
localstack := $(LOCAL_DIR)/bin/localstack
lab := $(LOCAL_DIR)/bin/lab
# The time that a command prints counts from here, with the compilation of its program.
export LOCALSTACK_BEGAN := $(shell date +%s)
# One set of flags for all programs, so that their common packages are compiled once.
go-build := CGO_ENABLED=0 scripts/go-build -trimpath -buildvcs=false -ldflags '-s -w'

.PHONY: help
help: ## Print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# go build knows best whether there is anything to do.
.PHONY: $(localstack) $(lab)
$(localstack):
	@$(go-build) -o '$@' ./localstack
$(lab):
	@$(go-build) -o '$@' ./localstack/lab

.PHONY: demo localstack-up localstack-down localstack-status localstack-logs localstack-env api read-events
demo: $(localstack) ## Start the stack, post ORDERS=10 orders (to API_URL), read their events from the queue and find their shipments
	@'$(localstack)' demo
localstack-up: $(localstack) ## Start Postgres, the broker and the relay (STACK=compose|host|embedded chooses how)
	@'$(localstack)' up
localstack-down: $(localstack) ## Stop what localstack-up started (DATA=1 removes the database too)
	@'$(localstack)' down
localstack-status: $(localstack) ## Show the running parts, their addresses and the undelivered events
	@'$(localstack)' status
localstack-logs: $(localstack) ## Show the relay's log (PART=postgres|broker, LINES=50, FOLLOW=1)
	@'$(localstack)' logs
localstack-env: $(localstack) ## Print the environment for your own programs, as export lines
	@'$(localstack)' env
api: $(localstack) ## Serve the API on API_PORT=3000 and run the consumer, without SAM
	@'$(localstack)' api
read-events: ## Print the events of the queue as they arrive (DELETE=1 deletes them, MAX=10 or ONCE=1 stops after ten or all)
	@$(go-build) -o '$(LOCAL_DIR)/bin/read-events' ./scripts/read-events && exec '$(LOCAL_DIR)/bin/read-events'

.PHONY: test crash-test full-circle trace tour chaos bench bench-quick takeover retention outage busy-aggregate deferral rollback add-columns upgrade big-transaction tables lint templates alerts documents cross-build fmt build image
test: $(lab) ## Run all tests with a real Postgres, and with LocalStack if it is available (ARGS='-run X ./relay/e2e', TEST_TIMEOUT=30m a package)
	@'$(lab)' test -- $(ARGS)
crash-test: ## Post 10,000 orders and write 20,000 events while the relay is killed 20 times
	@CRASH_ORDERS=10000 CRASH_EVENTS=20000 CRASH_AGGREGATES=200 CRASH_KILLS=20 \
	  go test -count=1 -timeout 30m -v -run TestRepeatedKills ./relay/e2e
full-circle: ## Post CIRCLE_ORDERS=10000 orders while relay, functions and Postgres are killed CIRCLE_KILLS=30 times, and count the shipments
	@CIRCLE_ORDERS=$(or $(CIRCLE_ORDERS),10000) CIRCLE_KILLS=$(or $(CIRCLE_KILLS),30) \
	  go test -count=1 -timeout 2h -v -run TestEveryOrderHasExactlyOneShipment ./relay/e2e
trace: ## Post an order, and print its trace from the request over the relay and the queue to its shipment
	@go test -count=1 -timeout 10m -v -run TestAnOrderIsOneTraceToItsShipment ./relay/e2e
tour: $(lab) ## Show how the relay behaves in faults, step by step, in less than a minute (its pages are on TOUR_PORT=9474 and the next one; PICTURES=1 takes those of the documents)
	@'$(lab)' tour
chaos: $(lab) ## Run relays under random load and faults (SEED=1 RUNS=10 PG=15,18) and check every event
	@'$(lab)' chaos
bench: $(lab) ## Measure the relay against pg_recvlogical, in a quarter of an hour (ONLY='one row', ROUNDS=3, RELAY_BINARY=a,b)
	@'$(lab)' bench
bench-quick: $(lab) ## Measure the same in a few minutes
	@QUICK=true '$(lab)' bench
takeover: ## Measure how soon a standby takes over, TAKEOVER_RUNS=30 times for each kind of failure (about ten minutes)
	@TAKEOVER_RUNS=$(or $(TAKEOVER_RUNS),30) \
	  go test -count=1 -timeout 2h -parallel 4 -v -run TestStandbyTakesOverAfterEvery ./relay/e2e | grep -E 'runs:|^(ok|FAIL|---)|at most'
retention: ## Write 1,000 events a second for RETENTION_MINUTES=10 and show that the outbox table stays bounded
	@RETENTION_MINUTES=$(or $(RETENTION_MINUTES),10) \
	  go test -count=1 -timeout 24h -v -run TestTableStaysBounded ./relay/e2e
outage: ## Keep the broker unavailable for OUTAGE_MINUTES=10 at 5,000 events a second: memory, backlog, and how soon all is delivered
	@OUTAGE_MINUTES=$(or $(OUTAGE_MINUTES),10) \
	  go test -count=1 -timeout 24h -v -run TestMemoryStaysBounded ./relay/e2e
busy-aggregate: ## Write 600 events a second for BUSY_MINUTES=10, too many of them for one aggregate: how long the others' events take
	@BUSY_MINUTES=$(or $(BUSY_MINUTES),10) \
	  go test -count=1 -timeout 24h -v -run TestABusyAggregateDelaysNoOther ./relay/e2e
deferral: ## Keep a destination unavailable for events of DEFERRAL_AGGREGATES=1000000: start-up, memory, the other's rate
	@DEFERRAL_AGGREGATES=$(or $(DEFERRAL_AGGREGATES),1000000) \
	  go test -count=1 -timeout 24h -v -run TestALongOutageHarmsNoOther ./relay/e2e
rollback: ## Replace the relay under load by that of an earlier commit and back, while events wait (OLDER=a commit before deferrals)
	@$(call with-older-relay,$(or $(OLDER),1d9e90a),TestNoEventIsLostByARollback)
upgrade: ## Replace the relay and the schema of an earlier commit under load (OLDER=a commit with the first schema)
	@$(call with-older-relay,$(or $(OLDER),92ce964),TestNoEventIsLostByAnUpgrade)
with-older-relay = rm -rf '$(LOCAL_DIR)/older' && mkdir -p '$(LOCAL_DIR)/older' '$(LOCAL_DIR)/bin' && \
  git archive $(1) | tar -x -C '$(LOCAL_DIR)/older' && \
  (cd '$(LOCAL_DIR)/older' && CGO_ENABLED=0 go build -o '$(LOCAL_DIR)/bin/older-relay' ./relay/cmd/relay) && \
  OLDER_RELAY='$(LOCAL_DIR)/bin/older-relay' go test -count=1 -timeout 30m -v -run $(2) ./relay/e2e
add-columns: ## Add seq and xid to a table of ADD_COLUMNS_ROWS=1000000 under inserts: time of each statement, and how long inserts wait
	@ADD_COLUMNS_ROWS=$(or $(ADD_COLUMNS_ROWS),1000000) \
	  go test -count=1 -timeout 1h -v -run TestColumnsAreAddedWithoutARewrite ./relay/e2e
big-transaction: ## Kill the relay in a transaction of BIG_ROWS=1000000 events: memory, and repeated events
	@BIG_ROWS=$(or $(BIG_ROWS),1000000) \
	  go test -count=1 -timeout 24h -v -run TestBigTransactionResumesInBounded ./relay/e2e
tables: ## Relay EVENTS=100000 events of 1, 2 and TABLES=200 tables: start-up, events a second, memory
	@for tables in 1 2 $(or $(TABLES),200); do \
	  TABLES=$$tables EVENTS=$(or $(EVENTS),100000) \
	  go test -count=1 -timeout 24h -v -run TestManyTablesAreRelayed ./relay/e2e || exit; \
	done
lint: ## Check formatting, go.mod, English (scripts/proselint), workflows, and the linters of .golangci.yaml
	@test -z "$$($(gofumpt) -l .)" || { $(gofumpt) -l . ; echo 'run make fmt'; exit 1; }
	@go mod tidy -diff
	@go run ./scripts/proselint
	@$(actionlint) -shellcheck= -pyflakes= .github/workflows/*.yaml
	@$(golangci-lint) run ./...
# LOCAL_DIR/sam is a Python environment with SAM and cfn-lint.
templates: ## Check the CloudFormation templates with cfn-lint and SAM, build the functions, and check the documents' options of aws and sam (needs Python)
	@python3 -m venv '$(LOCAL_DIR)/sam'
	@'$(LOCAL_DIR)/sam/bin/pip' install --quiet 'aws-sam-cli==$(sam-cli)' 'cfn-lint==$(cfn-lint)'
	@'$(LOCAL_DIR)/sam/bin/cfn-lint' template.yaml infra/*.yaml # a warning fails too
	@for template in template.yaml infra/*.yaml; do \
	  $(sam) validate --lint --region us-east-1 --template "$$template" || exit; \
	done
	@$(sam) build # of the nested stacks too
	@python3 -m venv '$(LOCAL_DIR)/aws' # of its own, as SAM and the AWS CLI want different libraries
	@'$(LOCAL_DIR)/aws/bin/pip' install --quiet 'awscli==$(awscli)'
	@PATH='$(LOCAL_DIR)/aws/bin:$(LOCAL_DIR)/sam/bin:'"$$PATH" go test -count=1 ./infra -run ToolsHave -tools
sam = SAM_CLI_TELEMETRY=0 '$(LOCAL_DIR)/sam/bin/sam'
alerts: ## Check and test the rules of Prometheus with promtool, and the expressions of the Grafana dashboard
	@$(promtool) check rules --lint=all --lint-fatal infra/prometheus/alerts.yaml
	@$(promtool) test rules infra/prometheus/alerts_test.yaml
	@go run ./scripts/dashboard-rules infra/prometheus/dashboard.json | $(promtool) check rules --lint=all --lint-fatal
documents: ## Run the shell blocks of README.md, the tutorial, twice, and localstack/README.md in their order (needs psql and the AWS CLI; DOCUMENTS=… names others)
	@scripts/shell-blocks $(or $(DOCUMENTS),README.md relay/docs/tutorial.md relay/docs/tutorial.md localstack/README.md)
cross-build: ## Build all programs for Linux and macOS, amd64 and arm64
	@for target in linux/amd64 linux/arm64 darwin/amd64 darwin/arm64; do \
	  CGO_ENABLED=0 GOOS=$${target%/*} GOARCH=$${target#*/} go build -trimpath -buildvcs=false \
	    ./localstack ./localstack/lab ./relay/cmd/relay ./scripts/read-events || exit; \
	done
fmt: ## Format the code
	@$(gofumpt) -l -w .
build: ## Build the relay into LOCAL_DIR/bin
	@CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '-s -w -X main.version=$(VERSION)' -o '$(LOCAL_DIR)/bin/relay' ./relay/cmd/relay
	@echo 'the relay is $(LOCAL_DIR)/bin/relay'
image: $(localstack) ## Build the relay's image IMAGE=outbox-relay:local for IMAGE_ARCH=amd64|arm64, to the same bytes each time
	@SOURCE_DATE_EPOCH='$(SOURCE_DATE_EPOCH)' '$(localstack)' image --version '$(VERSION)'
.PHONY: release-snapshot release
release-snapshot: $(LOCAL_DIR)/bin/syft ## Build everything that a release consists of into .local/release, and publish nothing (SKIP=docker without an engine)
	@go run ./scripts/release-notes Unreleased <CHANGELOG.md >'$(LOCAL_DIR)/release-notes.md'
	@$(call with-syft,--snapshot --skip=sign,$(if $(SKIP),--skip=$(SKIP)))
release: $(LOCAL_DIR)/bin/syft ## Build, sign and push the release of the tag vX.Y.Z, as a draft on GitHub (for the workflow of that tag)
	@go run ./scripts/release-notes '$(shell git describe --tags --exact-match)' <CHANGELOG.md >'$(LOCAL_DIR)/release-notes.md'
	@$(call with-syft)
with-syft = PATH='$(LOCAL_DIR)/bin':"$$PATH" $(goreleaser) release --clean --release-notes='$(LOCAL_DIR)/release-notes.md' $(1) $(2)
$(LOCAL_DIR)/bin/syft:
	@GOBIN='$(LOCAL_DIR)/bin' go install $(syft)
# The version that the relay prints, and the time of the files in its image: those of the commit.
VERSION ?= $(or $(shell git describe --tags --always --dirty 2>/dev/null),dev)
SOURCE_DATE_EPOCH ?= $(or $(shell git log -1 --format=%ct 2>/dev/null),0)

# Pinned, so that a new release of a tool breaks no build.
actionlint := go run github.com/rhysd/actionlint/cmd/actionlint@v1.7.12
awscli := 1.46.3
cfn-lint := 1.58.0
gofumpt := go run mvdan.cc/gofumpt@v0.12.0
goreleaser := go run github.com/goreleaser/goreleaser/v2@v2.15.0
golangci-lint := go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
# Without service discovery, whose clients of every cloud would be compiled too.
promtool := go run -tags remove_all_sd github.com/prometheus/prometheus/cmd/promtool@v0.316.0
sam-cli := 1.170.0
syft := github.com/anchore/syft/cmd/syft@v1.57.1

# Lambda functions: `sam build` and `make api` call build-<logical id> with ARTIFACTS_DIR. The
# architecture is that of the template's parameter: GOARCH=arm64 for arm64.
.PHONY: build-CreateOrderFunction build-GetOrderFunction build-CreateShipmentFunction build-MigrateFunction
build-CreateOrderFunction: FUNCTION = createorder
build-GetOrderFunction: FUNCTION = getorder
build-CreateShipmentFunction: FUNCTION = createshipment
build-MigrateFunction: FUNCTION = migrate
build-CreateOrderFunction build-GetOrderFunction build-CreateShipmentFunction build-MigrateFunction:
	@echo 'building the function $(FUNCTION)'
	@$(function-build) || { echo "$(function-build)" >&2; exit 1; }
function-build = CGO_ENABLED=0 GOOS=$(or $(GOOS),linux) GOARCH=$(or $(GOARCH),amd64) \
  go build -tags lambda.norpc -trimpath -buildvcs=false -ldflags '-s -w' -o '$(ARTIFACTS_DIR)/bootstrap' ./functions/$(FUNCTION)
