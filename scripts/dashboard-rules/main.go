// Command dashboard-rules prints the expressions of a Grafana dashboard as a file of recording
// rules, which promtool can check.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "dashboard-rules:", err)
		os.Exit(1)
	}
}

func run(files []string, w io.Writer) error {
	if len(files) != 1 {
		return fmt.Errorf("usage: dashboard-rules FILE")
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		return err
	}
	rules, err := rules(text)
	if err != nil {
		return fmt.Errorf("read the dashboard %s: %w", files[0], err)
	}
	return json.NewEncoder(w).Encode(rules) // JSON is YAML
}

// rule is a recording rule.
// https://prometheus.io/docs/prometheus/latest/configuration/recording_rules/
type rule struct {
	Record string `json:"record"`
	Expr   string `json:"expr"`
}

type group struct {
	Name  string `json:"name"`
	Rules []rule `json:"rules"`
}

// variables are those that Grafana fills in.
// https://grafana.com/docs/grafana/latest/datasources/prometheus/template-variables/
var variables = strings.NewReplacer("$__rate_interval", "5m", "$job", ".*")

// rules returns a group of one rule for each expression of a dashboard.
func rules(dashboard []byte) (map[string][]group, error) {
	var board struct {
		Panels []struct {
			ID      int
			Targets []struct{ RefID, Expr string }
		}
	}
	if err := json.Unmarshal(dashboard, &board); err != nil {
		return nil, err
	}
	all := group{Name: "dashboard"}
	for _, panel := range board.Panels {
		for _, target := range panel.Targets {
			name := fmt.Sprintf("panel_%d:%s", panel.ID, target.RefID)
			all.Rules = append(all.Rules, rule{name, variables.Replace(target.Expr)})
		}
	}
	if len(all.Rules) == 0 {
		return nil, fmt.Errorf("no panel has an expression")
	}
	return map[string][]group{"groups": {all}}, nil
}
