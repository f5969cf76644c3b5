package compare_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/outbox-relay/outbox-relay/relay/internal/compare"
)

// list reads a list of deliveries, which spaces separate. A group is written behind a slash.
func list(t interface{ Fatal(...any) }, deliveries string) *compare.List {
	lines := strings.ReplaceAll(strings.ReplaceAll(deliveries, " ", "\n"), "/", "\t")
	l, err := compare.Read(strings.NewReader(lines))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestListsAreComparedWhereBothReach(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		first, second string
		want          compare.Result
		agrees        bool
	}{
		"equal": {"a/1 b/2 c/1", "b/2 a/1 c/1", compare.Result{
			Both: 3, First: compare.Side{Events: 3}, Second: compare.Side{Events: 3},
		}, true},
		"the second began later and is ahead": {"a b c", "b c d e", compare.Result{
			Both: 2, First: compare.Side{Events: 3, Before: 1}, Second: compare.Side{Events: 4, After: 2},
		}, true},
		"repeated": {"a b a a", "a b b", compare.Result{
			Both: 2, First: compare.Side{Events: 2, Repeated: 2}, Second: compare.Side{Events: 2, Repeated: 1},
		}, true},
		"lost by the second": {"a b c", "a c", compare.Result{
			Both: 2, First: compare.Side{Events: 3, Only: []string{"b"}}, Second: compare.Side{Events: 2},
		}, false},
		"lost by the first": {"a d", "a b c d", compare.Result{
			Both: 2, First: compare.Side{Events: 2}, Second: compare.Side{Events: 4, Only: []string{"b", "c"}},
		}, false},
		"another order within a group": {"a/1 b/1 c/1 x/2", "x/2 b/1 a/1 c/1", compare.Result{
			Both: 4, First: compare.Side{Events: 4}, Second: compare.Side{Events: 4},
			Reordered: []compare.Reordered{{Group: "1", First: "a", Second: "b"}},
		}, false},
		"the same order although events repeat": {"a/1 b/1", "a/1 b/1 a/1", compare.Result{
			Both: 2, First: compare.Side{Events: 2}, Second: compare.Side{Events: 2, Repeated: 1},
		}, true},
		"nothing in common": {"a", "b", compare.Result{
			First: compare.Side{Events: 1, After: 1}, Second: compare.Side{Events: 1, After: 1},
		}, false},
		"empty": {"", "", compare.Result{}, false},
	} {
		got := compare.Of(list(t, c.first), list(t, c.second))
		for _, only := range []*[]string{&c.want.First.Only, &c.want.Second.Only} {
			if *only == nil {
				*only = []string{}
			}
		}
		if c.want.Reordered == nil {
			c.want.Reordered = []compare.Reordered{}
		}
		if diff := cmp.Diff(c.want, got); diff != "" || got.Agrees() != c.agrees {
			t.Errorf("%s: agrees %v (-want +got):\n%s", name, got.Agrees(), diff)
		}
	}
}

func TestLinesOfAnotherFormAreRefused(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"a\n\tb":                           "line 2: it begins with a tab",
		"a\tb\tc":                          "line 1: it has more than two columns",
		"a\n" + strings.Repeat("x", 2<<20): "after line 1",
	} {
		if _, err := compare.Read(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.20q: %v, want %s", text, err, want)
		}
	}
	l, err := compare.Read(strings.NewReader("\r\na\tgroup one\r\n\nb\n"))
	if err != nil || compare.Of(l, l).Both != 2 {
		t.Errorf("empty lines: %v", err)
	}
}

// TestEachLossAndReorderingIsFound damages a copy of a list in one place between events of both.
func TestEachLossAndReorderingIsFound(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(6, 40).Draw(t, "events")
		var events []string
		for i := range n {
			events = append(events, fmt.Sprintf("e%d/%d", i, i%2))
		}
		damaged, at := slices.Clone(events), rapid.IntRange(1, n-4).Draw(t, "at")
		lost := rapid.Bool().Draw(t, "lost")
		if lost {
			damaged = slices.Delete(damaged, at, at+1)
		} else { // both are of one group
			damaged[at], damaged[at+2] = damaged[at+2], damaged[at]
		}
		for range rapid.IntRange(0, 5).Draw(t, "repeats") { // behind the first delivery
			from := rapid.IntRange(0, len(damaged)-1).Draw(t, "from")
			to := rapid.IntRange(from+1, len(damaged)).Draw(t, "to")
			damaged = slices.Insert(damaged, to, damaged[from])
		}
		got := compare.Of(list(t, strings.Join(events, " ")), list(t, strings.Join(damaged, " ")))
		if got.Agrees() || lost != (len(got.First.Only) == 1) || lost == (len(got.Reordered) == 1) {
			t.Fatalf("lost %v: %+v", lost, got)
		}
	})
}
