package main

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/outbox-relay/outbox-relay/relay/internal/preflight"
)

const settingPrefix = "RELAY_"

// ofKubernetes matches the variables that Kubernetes sets in every container of a namespace with a
// service named relay.
// https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
var ofKubernetes = regexp.MustCompile(`^RELAY_([A-Z0-9_]+_)?` +
	`(SERVICE_HOST|SERVICE_PORT(_.+)?|PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$`)

// unknownSettings returns a finding for each variable that has the prefix of a setting and is not
// one.
func unknownSettings(environment []string) preflight.Findings {
	known := settingNames(reflect.TypeFor[commands]())
	var found preflight.Findings
	for _, variable := range environment {
		name, _, _ := strings.Cut(variable, "=")
		if !strings.HasPrefix(name, settingPrefix) || slices.Contains(known, name) || ofKubernetes.MatchString(name) {
			continue
		}
		explanation := fmt.Sprintf("%s is no setting of this relay, and has no effect", name)
		if nearest := nearestName(name, known); nearest != "" {
			explanation += ": did you mean " + nearest + "?"
		}
		found = append(found, preflight.Finding{
			Code: preflight.CodeUnknownSetting, Level: preflight.Degraded,
			Object: "variable " + name, Explanation: explanation,
		})
	}
	return found
}

// settingNames returns the environment variables of a struct's fields and of its nested structs.
func settingNames(t reflect.Type) []string {
	var names []string
	for i := range t.NumField() {
		field := t.Field(i)
		if field.Type.Kind() == reflect.Struct {
			names = append(names, settingNames(field.Type)...)
		}
		if name := field.Tag.Get("env"); name != "" {
			names = append(names, name)
		}
	}
	return names
}

// nearestName returns the name that a variable probably stands for, or nothing. That is the one
// with the smallest edit distance, if most letters of the words that differ are the same. Otherwise
// it is the one setting that has a word of the variable, as RELAY_ORDER_KEY for RELAY_COLUMN_ORDER.
func nearestName(name string, names []string) string {
	nearest, least := "", len(name)
	for _, candidate := range names {
		if d := distance(name, candidate); d < least && d <= differing(name, candidate)/3 {
			nearest, least = candidate, d
		}
	}
	if nearest != "" {
		return nearest
	}
	for _, word := range words(name) {
		having := slices.DeleteFunc(slices.Clone(names), func(candidate string) bool {
			return !slices.Contains(words(candidate), word)
		})
		slices.Sort(having)
		if having = slices.Compact(having); len(having) == 1 {
			return having[0]
		}
	}
	return ""
}

// words returns the words of a setting's name.
func words(name string) []string { return strings.Split(strings.TrimPrefix(name, settingPrefix), "_") }

// differing returns how many letters the longer name has in words that the other one does not have.
func differing(a, b string) int {
	alone := func(of, other []string) (letters int) {
		for _, word := range of {
			if !slices.Contains(other, word) {
				letters += len(word)
			}
		}
		return letters
	}
	return max(alone(words(a), words(b)), alone(words(b), words(a)))
}

// distance returns the Levenshtein distance between two names.
// https://en.wikipedia.org/wiki/Levenshtein_distance
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replaced := diagonal
			if a[i] != b[j] {
				replaced++
			}
			diagonal = row[j+1]
			row[j+1] = min(replaced, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
