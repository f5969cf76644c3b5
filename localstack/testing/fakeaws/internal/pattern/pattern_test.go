package pattern

import "testing"

func TestAPatternSelectsByEachOfItsMembers(t *testing.T) {
	t.Parallel()
	const event = `{"source":"shop","detail-type":"order.created","detail":{"metadata":{"sequence":4711},` +
		`"data":{"tags":["red","blue"],"open":true,"note":null}}}`
	for text, want := range map[string]bool{
		`{"source":["shop"]}`:                                       true,
		`{"source":["other"]}`:                                      false,
		`{"source":["other","shop"]}`:                               true,
		`{"source":["shop"],"detail-type":[{"prefix":"order."}]}`:   true,
		`{"source":["shop"],"detail-type":[{"prefix":"billing."}]}`: false,
		`{"detail":{"metadata":{"sequence":[4711]}}}`:               true,
		`{"detail":{"metadata":{"sequence":["4711"]}}}`:             false,
		`{"detail":{"data":{"tags":["blue"]}}}`:                     true,
		`{"detail":{"data":{"open":[true]}}}`:                       true,
		`{"detail":{"data":{"gone":[{"exists":false}]}}}`:           true,
		`{"detail":{"data":{"gone":["x"]}}}`:                        false,
		`{"gone":{"deeper":["x"]}}`:                                 false,
	} {
		p, err := Parse(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if got := p.Match([]byte(event)); got != want {
			t.Errorf("%s: %t, want %t", text, got, want)
		}
	}
	for _, text := range []string{``, `[]`, `{}`, `{"source":"shop"}`, `{"source":[{"wildcard":"*"}]}`} {
		if _, err := Parse(text); err == nil {
			t.Errorf("%s is no pattern, and was read", text)
		}
	}
}
