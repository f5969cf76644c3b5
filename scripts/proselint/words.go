package main

import (
	_ "embed"
	"regexp"
	"slices"
	"strings"
)

//go:embed words.txt
var wordList string

// instead says for each forbidden word which words replace it.
var instead = parseWords(wordList)

// forbidden matches the forbidden words as whole words.
var forbidden = matchWords(instead)

func parseWords(list string) map[string]string {
	words := map[string]string{}
	for line := range strings.Lines(list) {
		if word, replacement, ok := strings.Cut(strings.TrimSpace(line), "\t"); ok {
			words[word] = replacement
		}
	}
	return words
}

func matchWords(words map[string]string) *regexp.Regexp {
	var alternatives []string
	for word := range words {
		alternatives = append(alternatives, regexp.QuoteMeta(word))
	}
	slices.Sort(alternatives)
	return regexp.MustCompile(`(?i)\b(?:` + strings.Join(alternatives, "|") + `)\b`)
}
