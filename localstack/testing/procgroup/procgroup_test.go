package procgroup_test

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/localstack/testing/procgroup"
)

func TestMain(m *testing.M) {
	if folder := os.Getenv("CHILD_OF_TEST"); folder != "" {
		parent(folder)
		return
	}
	os.Exit(m.Run())
}

// parent starts a child, prints its pid and waits to be killed.
func parent(folder string) {
	p, err := procgroup.Start(exec.Command("sleep", "120"), procgroup.Orphan{Remove: folder})
	if err != nil {
		panic(err)
	}
	os.Stdout.WriteString(strconv.Itoa(p.Pid()) + "\n")
	time.Sleep(time.Minute)
}

func TestChildAndItsFolderEndWithAKilledParent(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "folder")
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "CHILD_OF_TEST="+folder)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // fails because of the signal

	waitFor(t, "the folder to be removed, which happens after the child ended", func() bool {
		_, err := os.Stat(folder)
		return os.IsNotExist(err)
	})
	if running(pid) {
		t.Errorf("process %d runs on", pid)
	}
}

func TestStopKillsWhatIgnoresTheSignal(t *testing.T) {
	t.Parallel()
	p := start(t, `trap "" TERM; echo ready; while :; do sleep 0.1; done`)
	err := p.Stop(syscall.SIGTERM, 200*time.Millisecond)
	if err == nil || !strings.Contains(err.Error(), "was killed") {
		t.Errorf("Stop: %v, want an error that says that it was killed", err)
	}
	if running(p.Pid()) {
		t.Error("it runs on")
	}
}

func TestKillTreeTakesTheChildrenToo(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "grandchild")
	p := start(t, `sleep 120 & echo $! > `+file+`; echo ready; wait`)
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	grandchild, err := strconv.Atoi(strings.TrimSpace(string(content)))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.KillTree(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the grandchild to end", func() bool { return !running(grandchild) })
	if err := p.Stop(syscall.SIGTERM, time.Second); err != nil {
		t.Errorf("Stop after KillTree: %v", err)
	}
}

// start runs a shell script that prints a line when it is ready.
func start(t *testing.T, script string) *procgroup.Process {
	t.Helper()
	cmd := exec.Command("/bin/sh", "-c", script)
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout = writer
	p, err := procgroup.Start(cmd, procgroup.Orphan{})
	writer.Close()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.KillTree() })
	if _, err := bufio.NewReader(reader).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	return p
}

// running reports whether the process exists and is no zombie.
func running(pid int) bool {
	state, err := exec.Command("ps", "-o", "stat=", "-p", strconv.Itoa(pid)).Output()
	return err == nil && !strings.HasPrefix(string(state), "Z")
}

func waitFor(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !condition(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited too long for %s", what)
		}
	}
}
