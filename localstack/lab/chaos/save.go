package chaos

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/outbox-relay/outbox-relay/localstack/lab/chaos/checker"
)

// save writes the history of a run into its own directory: the records as JSON lines, and the logs
// of the relays as text.
func (r *run) save(h *checker.History, result *Result) (string, error) {
	dir := filepath.Join(r.options.Dir, fmt.Sprint(r.plan.Seed))
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o755)); err != nil {
		return dir, err
	}
	return dir, errors.Join(
		lines(dir, "plan", []*Plan{r.plan}),
		lines(dir, "violations", result.Report.Violations),
		lines(dir, "faults", h.Faults),
		lines(dir, "events", h.Events),
		lines(dir, "rows", h.Rows),
		lines(dir, "receipts", h.Receipts),
		lines(dir, "deadletters", h.DeadLetters),
		lines(dir, "replays", h.Replays),
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
