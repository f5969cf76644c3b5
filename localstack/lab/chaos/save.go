package chaos

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/outbox-relay/outbox-relay/localstack/lab/chaos/checker"
)

// recorded returns the file of a history, and the history that the checker reads from it. So the
// verdict of a run is that of its file.
func recorded(h *checker.History) (file []byte, read *checker.History, err error) {
	var buffer bytes.Buffer
	if err := h.Write(&buffer); err != nil {
		return nil, nil, err
	}
	read, err = checker.Read(bytes.NewReader(buffer.Bytes()))
	return buffer.Bytes(), read, err
}

// save writes a run into its own directory: the file of its history, plan and violations as JSON
// lines, and the logs of the relays as text.
func (r *run) save(history []byte, result *Result) (string, error) {
	dir := filepath.Join(r.options.Dir, fmt.Sprint(r.plan.Seed))
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o755)); err != nil {
		return dir, err
	}
	return dir, errors.Join(
		lines(dir, "plan", []*Plan{r.plan}),
		lines(dir, "violations", result.Report.Violations),
		os.WriteFile(filepath.Join(dir, "history.jsonl"), history, 0o644),
		r.saveLogs(dir),
	)
}

func (r *run) saveLogs(dir string) error {
	for _, p := range r.relays.all {
		err := write(filepath.Join(dir, p.name+".log"), func(w *bufio.Writer) error {
			for _, line := range p.log.copy() {
				fmt.Fprintf(w, "%9.3fs %s\n", line.At.Seconds(), line.Text)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// lines writes one JSON document for each element.
func lines[T any](dir, name string, all []T) error {
	return write(filepath.Join(dir, name+".jsonl"), func(w *bufio.Writer) error {
		encoder := json.NewEncoder(w)
		encoder.SetEscapeHTML(false)
		for _, one := range all {
			if err := encoder.Encode(one); err != nil {
				return err
			}
		}
		return nil
	})
}

func write(path string, content func(*bufio.Writer) error) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(file)
	return errors.Join(content(w), w.Flush(), file.Close())
}
