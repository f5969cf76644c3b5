package main

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/outbox-relay/outbox-relay/relay/internal/outboxtable"
	"github.com/outbox-relay/outbox-relay/relay/internal/preflight"
)

// ownTable is the default of RELAY_TABLE.
const ownTable = "public.outbox_events"

// resolvePreset returns the value that the preset has for a flag. The command line and the
// environment take precedence over the preset, and the preset over the defaults.
func resolvePreset(c *kong.Context, parent *kong.Path, flag *kong.Flag) (any, error) {
	for _, env := range flag.Envs {
		if _, isSet := os.LookupEnv(env); isSet {
			return nil, nil
		}
	}
	i := slices.IndexFunc(parent.Flags, func(f *kong.Flag) bool { return f.Name == "preset" })
	if i < 0 {
		return nil, nil
	}
	name, _ := c.FlagValue(parent.Flags[i]).(string)
	for _, env := range flag.Envs {
		if value, has := outboxtable.PresetOf(name).Settings[env]; has {
			return value, nil
		}
	}
	return nil, nil
}

// requirePresetTable returns an error if the preset has no table and RELAY_TABLE names none.
func (s *source) requirePresetTable() error {
	preset := outboxtable.PresetOf(s.Preset)
	if preset.Example == "" || s.Table != ownTable {
		return nil
	}
	return fmt.Errorf("RELAY_PRESET=%s needs RELAY_TABLE: name the table, as in RELAY_TABLE=%s", preset.Name,
		preset.Example)
}

// presetFinding says which settings a preset has.
func presetFinding(name string) preflight.Findings {
	preset := outboxtable.PresetOf(name)
	if preset.Name == "" {
		return nil
	}
	var settings []string
	for setting, value := range preset.Settings {
		settings = append(settings, setting+"="+value)
	}
	slices.Sort(settings)
	return preflight.Findings{{
		Code: preflight.CodeSettings, Level: preflight.OK, Object: "settings",
		Explanation: fmt.Sprintf("preset %s is for %s. It sets what the other settings do not: %s",
			preset.Name, preset.Project, strings.Join(settings, ", ")),
	}}
}
