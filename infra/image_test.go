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

// ecr replaces aws and docker by a script with one registry, which is empty at first. The script
// logs each call in one file. Other files stand for the repository and the pushed image.
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
docker\ build*\ -)
	cat >"$ECR/built" && test "$(tar -tf "$ECR/built" | tr '\n' ' ')" = 'Dockerfile linux/amd64/relay ' ;;
docker\ create*) test -e "$ECR/built" ;;
docker\ cp*:/relay\ -) tar -xOf "$ECR/built" linux/amd64/relay >"$ECR/relay" && tar -cf - -C "$ECR" relay ;;
docker\ tag\ outbox-relay:unchecked-*\ outbox-relay:to-push-*) test -e "$ECR/built" ;;
docker\ tag\ outbox-relay:to-push-*) test -e "$ECR/built" ;;
docker\ rm*) ;;
docker\ push*) touch "$ECR/pushed" ;;
*) exit 1 ;;
esac
`

func TestRelayIsPushedOnceAndItsTagPrinted(t *testing.T) {
	t.Parallel()
	checkPush(t, os.Getenv("PATH"))
}

// TestAMacWithoutSha256sumPushesTheRelay: macOS has shasum, and got sha256sum with version 15.
func TestAMacWithoutSha256sumPushesTheRelay(t *testing.T) {
	t.Parallel()
	const name = "sha256sum"
	program, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%v: this machine is the case of the test above", err)
	}
	tools := t.TempDir()
	shasum := fmt.Sprintf("#!/bin/sh\n[ \"$*\" = '-a 256' ] && exec %s\n", program)
	//nolint:gosec // an executable
	if err := os.WriteFile(filepath.Join(tools, "shasum"), []byte(shasum), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		programs, _ := os.ReadDir(dir) // a directory of PATH need not exist
		for _, p := range programs {
			if p.Name() != name {
				_ = os.Symlink(filepath.Join(dir, p.Name()), filepath.Join(tools, p.Name())) // the first one counts
			}
		}
	}
	checkPush(t, tools)
}

func checkPush(t *testing.T, path string) {
	t.Helper()
	registry, tools := t.TempDir(), t.TempDir()
	for _, tool := range []string{"aws", "docker"} {
		//nolint:gosec // an executable
		if err := os.WriteFile(filepath.Join(tools, tool), []byte(ecr), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	script := func(env ...string) ([]byte, error) {
		cmd := exec.Command("../scripts/push-image")
		cmd.Env = append(os.Environ(), "ARCH=amd64", "ECR="+registry, "LOCAL_DIR="+registry,
			"PATH="+tools+":"+path)
		cmd.Env = append(cmd.Env, env...)
		return cmd.CombinedOutput()
	}
	push := func() (printed, asked string) {
		output, err := script()
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
	printed := regexp.MustCompile(`(?m)^RelayImageTag=(amd64-[0-9a-f]{16})$`).FindStringSubmatch(first)
	if printed == nil || !strings.Contains(asked,
		"docker push 123456789012.dkr.ecr.eu-west-1.amazonaws.com/outbox-relay:"+printed[1]+"\n") {
		t.Fatalf("printed %s, called %s", first, asked)
	}
	program, err := os.ReadFile(filepath.Join(registry, "relay"))
	if sum := fmt.Sprintf("amd64-%x", sha256.Sum256(program)); err != nil || printed[1] != sum[:len(printed[1])] {
		t.Errorf("the tag is %s, and the program of the image has %s (%v)", printed[1], sum, err)
	}
	again, asked := push()
	if !strings.Contains(again, printed[0]) || strings.Count(asked, "docker push") != 1 ||
		strings.Count(asked, "create-repository") != 1 ||
		strings.Count(asked, "create-service-linked-role") != 1 {
		t.Errorf("the same program again: printed %s, called %s", again, asked)
	}
	// an existing tag of the operator's choice may belong to another program
	if output, err := script("TAG=v1"); err == nil || !strings.Contains(string(output), "v1 exists already") {
		t.Errorf("the existing tag v1 passes for this program's tag (%v): %s", err, output)
	}
}
