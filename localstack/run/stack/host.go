package stack

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/outbox-relay/outbox-relay/localstack/testing/procgroup"
)

// pythonVersion is the Python version that the package LocalStack 4.14.0 needs. Older versions lack
// syntax that it uses, and newer ones break some of its dependencies.
const pythonVersion = "3.13"

const (
	installTimeout = 15 * time.Minute
	installSpace   = 1500 << 20
)

// findPython returns a Python that works. It runs the candidates, because a name on PATH can be a
// broken shim.
func findPython(ctx context.Context) (string, error) {
	const probe = "import ensurepip, sys, venv; print('%d.%d' % sys.version_info[:2])"
	for _, candidate := range pythonCandidates(ctx) {
		if version, err := run(ctx, 10*time.Second, candidate, "-c", probe); err == nil && version == pythonVersion {
			return candidate, nil
		}
	}
	return "", fmt.Errorf("there is no working Python %s with venv", pythonVersion)
}

func pythonCandidates(ctx context.Context) []string {
	candidates := []string{"python" + pythonVersion, "python3", "python"}
	if path, err := run(ctx, 10*time.Second, "uv", "python", "find", "--no-python-downloads",
		pythonVersion); err == nil {
		candidates = append(candidates, path)
	}
	pyenv := os.Getenv("PYENV_ROOT")
	if home, err := os.UserHomeDir(); err == nil && pyenv == "" {
		pyenv = filepath.Join(home, ".pyenv")
	}
	for _, pattern := range []string{
		filepath.Join(pyenv, "versions", pythonVersion+"*", "bin", "python"),
		"/opt/homebrew/opt/python@" + pythonVersion + "/bin/python" + pythonVersion,
		"/usr/local/opt/python@" + pythonVersion + "/bin/python" + pythonVersion,
		"/usr/local/bin/python" + pythonVersion,
	} {
		found, _ := filepath.Glob(pattern) // the patterns are well-formed
		candidates = append(candidates, found...)
	}
	return candidates
}

func (s *Stack) localStackDir() string { return s.path("localstack-" + LocalStackVersion) }

func (s *Stack) localStackPython() string { return filepath.Join(s.localStackDir(), "bin", "python") }

// installLocalStack creates a virtual environment from the lock file, unless one from the same file
// exists.
func (s *Stack) installLocalStack(ctx context.Context) error {
	lock, err := os.ReadFile(filepath.Join(s.Root, "localstack", "requirements.lock"))
	if err != nil {
		return fmt.Errorf("read LocalStack's lock file: %w", err)
	}
	marker, want := filepath.Join(s.localStackDir(), "installed"), fmt.Sprintf("%x", sha256.Sum256(lock))
	if have, err := os.ReadFile(marker); err == nil && string(have) == want {
		return nil
	}
	if err := s.checkDisk(installSpace); err != nil {
		return err
	}
	python, err := findPython(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, installTimeout)
	defer cancel()
	s.begin("installing LocalStack %s with %s, once: 0.5 GB in %s (usually two minutes)", LocalStackVersion, python,
		s.localStackDir())
	if err := os.RemoveAll(s.localStackDir()); err != nil {
		return fmt.Errorf("clear the unfinished installation: %w", err)
	}
	if _, err := run(ctx, 2*time.Minute, python, "-m", "venv", s.localStackDir()); err != nil {
		return fmt.Errorf("make a virtual environment: %w", err)
	}
	if err := s.pipInstall(ctx, strings.Count(string(lock), "==")); err != nil {
		return err
	}
	return os.WriteFile(marker, []byte(want), 0o644)
}

// pipInstall installs the packages and prints progress every few seconds.
func (s *Stack) pipInstall(ctx context.Context, packages int) error {
	cmd := exec.CommandContext(ctx, s.localStackPython(), "-m", "pip", "install", "--no-input", "--require-hashes",
		"--disable-pip-version-check", "--progress-bar", "off", "-r", filepath.Join(s.Root, "localstack",
			"requirements.lock"))
	output, err := cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("install LocalStack: %w", err)
	}
	var complaints strings.Builder
	cmd.Stderr = &complaints
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("install LocalStack: %w", err)
	}
	s.showPip(output, packages)
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("install LocalStack: %w: %s", errors.Join(err, ctx.Err()),
			lastLine(strings.TrimSpace(complaints.String())))
	}
	return nil
}

func (s *Stack) showPip(output io.Reader, packages int) {
	fetched, next := 0, time.Now().Add(5*time.Second)
	for lines := bufio.NewScanner(output); lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "Installing collected") {
			s.begin("unpacking the packages (usually half a minute)")
			continue
		}
		if strings.HasPrefix(lines.Text(), "Collecting") {
			fetched++
		}
		if time.Now().After(next) && strings.HasPrefix(lines.Text(), "Collecting") {
			s.begin("fetching package %d of %d", fetched, packages)
			next = time.Now().Add(5 * time.Second)
		}
	}
}

// localStackEnvironment is the environment that compose.yaml sets too.
func localStackEnvironment(port int) []string {
	return []string{
		"LOCALSTACK_HOST=localhost:" + strconv.Itoa(port),
		"SERVICES=sns,sqs,events,s3,cloudformation,cloudwatch,secretsmanager",
		"CFN_IGNORE_UNSUPPORTED_RESOURCE_TYPES=0",
		"PROVIDER_OVERRIDE_CLOUDFORMATION=engine-legacy",
		"SQS_ENDPOINT_STRATEGY=path",
		"SKIP_SSL_CERT_DOWNLOAD=1",
		"DISABLE_EVENTS=1",
	}
}

// startLocalStack starts LocalStack as a process.
func (s *Stack) startLocalStack(port int, data, log string) (*procgroup.Process, error) {
	cmd := exec.Command(s.localStackPython(), "-m", "localstack.runtime.main")
	cmd.Dir = s.Dir
	cmd.Env = slices.Concat(os.Environ(), localStackEnvironment(port), []string{
		"FILESYSTEM_ROOT=" + data,
		"GATEWAY_LISTEN=" + local(port),
		"PYTHONUNBUFFERED=1",
	})
	process, err := startLogged(cmd, log)
	if err != nil {
		return nil, fmt.Errorf("start LocalStack: %w", err)
	}
	return process, nil
}

// startLogged starts a child with a log file.
func startLogged(cmd *exec.Cmd, log string) (*procgroup.Process, error) {
	if err := os.MkdirAll(filepath.Dir(log), 0o755); err != nil {
		return nil, err
	}
	file, err := createLog(log)
	if err != nil {
		return nil, err
	}
	defer file.Close() // the child has its own descriptor
	cmd.Stdout, cmd.Stderr = file, file
	return procgroup.Start(cmd, procgroup.Orphan{})
}
