package infra_test

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// ecr is aws and docker with one registry, empty at first: they write what was asked of them into one file, and the
// repository and what was pushed into others.
const ecr = `#!/bin/sh
echo "$(basename "$0") $*" >>"$ECR/asked"
case "$(basename "$0") $*" in
*describe-repositories*--query*) echo 123456789012.dkr.ecr.eu-west-1.amazonaws.com/outbox-relay ;;
*describe-repositories*) test -e "$ECR/repository" ;;
*create-repository*IMMUTABLE*) touch "$ECR/repository" ;;
*describe-images*) test -e "$ECR/pushed" ;;
*get-role*AWSServiceRoleForECS*) test -e "$ECR/role" ;;
*create-service-linked-role*ecs.amazonaws.com*) touch "$ECR/role" ;;
*get-login-password*) echo password ;;
docker\ login*) grep -q password ;;
docker\ build*\ -) cat >"$ECR/built" && test "$(tar -tf "$ECR/built" | tr '\n' ' ')" = 'Dockerfile relay ' ;;
docker\ create*) test -e "$ECR/built" ;;
docker\ cp*:/relay\ -) tar -xOf "$ECR/built" relay >"$ECR/relay" && tar -cf - -C "$ECR" relay ;;
docker\ tag\ outbox-relay:unchecked-*\ outbox-relay:to-push-* | docker\ tag\ outbox-relay:to-push-*) test -e "$ECR/built" ;;
docker\ rm*) ;;
docker\ push*) touch "$ECR/pushed" ;;
*) exit 1 ;;
esac
`

func TestRelayIsPushedOnceAndItsTagTold(t *testing.T) {
	t.Parallel()
	registry, tools := t.TempDir(), t.TempDir()
	for _, tool := range []string{"aws", "docker"} {
		if err := os.WriteFile(filepath.Join(tools, tool), []byte(ecr), 0o755); err != nil { //nolint:gosec // it is a program
			t.Fatal(err)
		}
	}
	push := func() (said, asked string) {
		cmd := exec.Command("../scripts/push-image")
		cmd.Env = append(os.Environ(), "ARCH=amd64", "ECR="+registry, "LOCAL_DIR="+registry, "PATH="+tools+":"+os.Getenv("PATH"))
		output, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, output)
		}
		log, err := os.ReadFile(filepath.Join(registry, "asked"))
		if err != nil {
			t.Fatal(err)
		}
		return string(output), string(log)
	}
	first, asked := push()
	told := regexp.MustCompile(`(?m)^RelayImageTag=(amd64-[0-9a-f]{16})$`).FindStringSubmatch(first)
	if told == nil || !strings.Contains(asked, "docker push 123456789012.dkr.ecr.eu-west-1.amazonaws.com/outbox-relay:"+told[1]+"\n") {
		t.Fatalf("said %s, asked for %s", first, asked)
	}
	program, err := os.ReadFile(filepath.Join(registry, "relay"))
	if sum := fmt.Sprintf("amd64-%x", sha256.Sum256(program)); err != nil || told[1] != sum[:len(told[1])] {
		t.Errorf("the tag is %s, and the program of the image has %s (%v)", told[1], sum, err)
	}
	again, asked := push()
	if !strings.Contains(again, told[0]) || strings.Count(asked, "docker push") != 1 || strings.Count(asked, "create-repository") != 1 ||
		strings.Count(asked, "create-service-linked-role") != 1 {
		t.Errorf("the same program again: said %s, asked for %s", again, asked)
	}
}
