# Every target that a person calls carries a comment behind ##; `make help` prints them.
.DEFAULT_GOAL := help

.PHONY: help
help: ## Print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# Lambda functions: `sam build` and `make api` call build-<logical id> with ARTIFACTS_DIR. The architecture is that of
# the template's parameter: GOARCH=arm64 for arm64.
.PHONY: build-CreateOrderFunction build-GetOrderFunction
build-CreateOrderFunction: FUNCTION = createorder
build-GetOrderFunction: FUNCTION = getorder
build-CreateOrderFunction build-GetOrderFunction:
	CGO_ENABLED=0 GOOS=$(or $(GOOS),linux) GOARCH=$(or $(GOARCH),amd64) \
	  go build -tags lambda.norpc -trimpath -buildvcs=false -ldflags '-s -w' -o '$(ARTIFACTS_DIR)/bootstrap' ./functions/$(FUNCTION)
