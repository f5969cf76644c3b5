package main

import (
	"fmt"
	"io"
	"regexp"
	"strings"
)

// The limits of a line, in columns.
const (
	maxComment = 100
	maxProse   = 100
	maxCode    = 120
	tabWidth   = 4
)

// maxWhat is the percentage of comment lines that may contain this word.
const maxWhat = 1

var what = regexp.MustCompile(`(?i)\bwhat\b`)

// finding is one place that breaks a rule.
type finding struct {
	path string
	line int
	text string
}

func (f finding) String() string { return fmt.Sprintf("%s:%d: %s", f.path, f.line, f.text) }

// figures are the counts of one directory, with the places that they come from.
type figures struct {
	declared map[string]bool // functions of the current file, which its comments have to mention

	commentLines, codeLines                             int
	wideComments, wideCode, wideProse, forbidden, whats []finding
}

func (f *figures) add(other *figures) {
	f.commentLines += other.commentLines
	f.codeLines += other.codeLines
	f.wideComments = append(f.wideComments, other.wideComments...)
	f.wideCode = append(f.wideCode, other.wideCode...)
	f.wideProse = append(f.wideProse, other.wideProse...)
	f.forbidden = append(f.forbidden, other.forbidden...)
	f.whats = append(f.whats, other.whats...)
}

func (f *figures) print(out io.Writer, name string) {
	fmt.Fprintf(out, "%d\t%d\t%d\t%d\t%d\t%d\t%d\t%s\t\n", f.commentLines, len(f.wideComments), len(f.whats),
		f.codeLines, len(f.wideCode), len(f.wideProse), len(f.forbidden), name)
}

// problems returns every finding that fails the directory. A word that is allowed now and then
// counts only beyond its share.
func (f *figures) problems() (all []finding) {
	all = append(all, f.wideComments...)
	all = append(all, f.wideCode...)
	all = append(all, f.wideProse...)
	all = append(all, f.forbidden...)
	if allowed := f.commentLines * maxWhat / 100; len(f.whats) > allowed {
		all = append(all, f.whats[allowed:]...)
	}
	return all
}

// words reports the forbidden words of one line of prose.
func (f *figures) words(path string, line int, text string) {
	for _, word := range forbidden.FindAllString(text, -1) {
		if f.declared[word] {
			continue
		}
		f.forbidden = append(
			f.forbidden,
			finding{path, line, fmt.Sprintf("%q: %s", word, instead[strings.ToLower(word)])},
		)
	}
}

// comment counts one comment line that stands alone on its line, or behind code.
func (f *figures) comment(path string, line int, text string) {
	f.commentLines++
	if what.MatchString(text) {
		f.whats = append(f.whats, finding{path, line, `"what" in more than 1 % of the comment lines: name the thing`})
	}
	f.words(path, line, text)
}

// columns returns how wide text is.
func columns(text string) (n int) {
	for _, r := range text {
		if r == '\t' {
			n += tabWidth
		} else {
			n++
		}
	}
	return n
}

// unbreakable reports whether a line holds one word that is too long for any line, such as an
// address.
func unbreakable(text string) bool {
	return len(strings.Fields(strings.TrimLeft(text, "\t /-*#>0123456789."))) <= 1
}

func tooWide(path string, line, width, limit int, kind string) finding {
	return finding{path, line, fmt.Sprintf("%s of %d columns: wrap it at %d", kind, width, limit)}
}
