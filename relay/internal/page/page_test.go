package page_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/outbox-relay/outbox-relay/relay/internal/status"
)

func TestPageIsGuarded(t *testing.T) {
	t.Parallel()
	r := newRelay(t, idle())
	for _, path := range []string{"/", "/status"} {
		response, err := http.Get(r.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		policy := response.Header.Get("Content-Security-Policy")
		if path == "/" && (!strings.HasPrefix(policy, "default-src 'none'; ") || strings.Contains(policy, "unsafe")) {
			t.Errorf("the policy of / is %q", policy)
		}
		for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"} {
			if got := response.Header.Get(name); got != want {
				t.Errorf("%s has %s %q, want %q", path, name, got, want)
			}
		}
	}
	for request, want := range map[string]int{
		"GET /other": http.StatusNotFound,
		"POST /":     http.StatusMethodNotAllowed,
	} {
		method, path, _ := strings.Cut(request, " ")
		w := httptest.NewRecorder()
		r.Config.Handler.ServeHTTP(w, httptest.NewRequest(method, path, nil))
		if w.Code != want {
			t.Errorf("%s is answered with %d, want %d", request, w.Code, want)
		}
	}
}

func TestPageShowsThatNothingIsWrong(t *testing.T) {
	t.Parallel()
	r, b := newRelay(t, idle()), newBrowser(t)
	b.open(r.URL, 1200, "light")
	b.awaitText("#problems", "Nothing is wrong.")
	for selector, text := range map[string]string{
		"#level": "ok", "#path": "nothing waits", "#destinations": "1042 events delivered", "#relays": "standby for",
		"#letters": "None", "#slot": "1/6B0A3F18",
	} {
		b.awaitText(selector, text)
	}
	busy := idle() // the report of a relay before the row counted as delivered
	busy.Relays[0].Events.OldestWaitSeconds = 10
	r.status.Store(busy)
	r.waiting.Store(1)
	b.awaitText("#path", "The oldest undelivered event waited for this long")
	r.waiting.Store(0)
	b.awaitText("#path", "nothing waits")
	b.picture("idle-light")
	b.open(r.URL, 1200, "dark")
	b.awaitText("#level", "ok")
	b.await("getComputedStyle(document.body).backgroundColor === 'rgb(13, 17, 23)'")
	b.picture("idle-dark")
	b.checkConsole()
}

func TestPageShowsProblemsWithTheirNextStep(t *testing.T) {
	t.Parallel()
	r, b := newRelay(t, troubled()), newBrowser(t)
	for _, scheme := range []string{"light", "dark"} {
		b.open(r.URL, 1200, scheme)
		for selector, text := range map[string]string{
			"#level": "critical", "#problems": "Next: fix the cause in the answer", "#path": "812 not delivered",
			"#rates":        "120/s read, ─ 80/s",
			"#destinations": "<b>no answer</b> within 10s", "#slot": "the slot is gone; published from the table until",
			"#letters": `relay dead-letters list --code 'It'\''s bad' --destination ` + topic,
		} {
			b.awaitText(selector, text)
		}
		b.awaitText("#path", "about 5000 events wait")
		b.awaitText("#destinations", "About 4100 events wait in the table for")
		b.awaitText("#destinations",
			"About 900 events of 2 aggregates, most of them of order 4711, wait in the table for")
		b.await(
			"['read', 'delivered'].every((rate) => document.querySelector('#rates .line-' + rate).points.length >= 3)")
		b.picture("troubled-" + scheme)
	}
	b.checkConsole()
}

// TestTheLastEventsHideNothing: twenty events are longer than a screen.
func TestTheLastEventsHideNothing(t *testing.T) {
	t.Parallel()
	r, b := newRelay(t, troubled()), newBrowser(t)
	b.open(r.URL, 1200, "light")
	b.awaitText("#level", "critical")
	sections := run(b, chromedp.Evaluate[[]string](
		"[...document.querySelectorAll('main [id]')].map((e) => e.getAttribute('id'))"))
	for _, earlier := range []string{"letters", "slot"} {
		if slices.Index(sections, earlier) > slices.Index(sections, "events") {
			t.Errorf("%s is below the events: %v", earlier, sections)
		}
	}
}

// TestRatesAreVisibleAtOnce: two samples, which are two seconds apart, are wider than a dot.
func TestRatesAreVisibleAtOnce(t *testing.T) {
	t.Parallel()
	r, b := newRelay(t, idle()), newBrowser(t)
	b.open(r.URL, 1200, "light")
	b.awaitText("#rates", "the left is 1 min 0 s ago")
	b.await(`(() => {
		const points = document.querySelector('#rates .line-read').points;
		return points.length > 1 && points[points.length - 1].x - points[points.length - 2].x >= 15;
	})()`)
}

func TestPageFitsATelephone(t *testing.T) {
	t.Parallel()
	r, b := newRelay(t, troubled()), newBrowser(t)
	b.open(r.URL, 375, "light")
	b.awaitText("#level", "critical")
	b.checkWidth()
	b.picture("375")
	b.checkConsole()
}

// TestPageSaysThatTheRelayStopped: the page keeps its content, and says that it is old.
func TestPageSaysThatTheRelayStopped(t *testing.T) {
	t.Parallel()
	r, b := newRelay(t, idle()), newBrowser(t)
	b.open(r.URL, 1200, "light")
	b.awaitText("#level", "ok")
	b.checkConsole()
	r.CloseClientConnections()
	r.Close()
	b.awaitText("#level", "no answer")
	b.awaitText("#notice", "The relay does not answer")
	b.awaitText("#notice", "Everything below is as it was at")
	b.awaitText("#problems", "Nothing was wrong then.")
	b.awaitText("#relays", "ip-10-0-1-17")
	b.picture("stopped")
}

// TestPageSaysWhatItCannotKnow: without the database, the relay knows only its own state.
func TestPageSaysWhatItCannotKnow(t *testing.T) {
	t.Parallel()
	s := &status.Status{
		Version: 1,
		Level:   status.Critical,
		Slot:    status.Slot{Name: "outbox_relay"},
		Relays:  []status.Relay{},
		Problems: []status.Problem{
			{Level: status.Critical, Code: "database_unreachable", Problem: "the database does not answer: refused"},
		},
	}
	r, b := newRelay(t, s), newBrowser(t)
	r.code.Store(http.StatusServiceUnavailable)
	b.open(r.URL, 375, "dark")
	b.awaitText("#problems", "the database does not answer: refused")
	for _, selector := range []string{"#letters", "#slot", "#rates", "#relays"} {
		b.await("document.querySelector('" + selector + "').innerText.toLowerCase().includes('unknown')")
	}
	b.checkWidth()
	b.picture("blind")
}

// TestPageShowsTheHistoryOfAnEvent asks with the form and the keyboard alone, and with the list.
func TestPageShowsTheHistoryOfAnEvent(t *testing.T) {
	t.Parallel()
	r, b := newRelay(t, idle()), newBrowser(t)
	b.open(r.URL, 375, "light")
	b.awaitText("#events", "order.created accepted")
	ask := func(id string, texts ...string) {
		t.Helper()
		run(b, chromedp.SetValue(chromedp.CSS("#id"), id))
		run(b, chromedp.Focus(chromedp.CSS("#id")))
		run(b, chromedp.KeyEvent("\r"))
		for _, text := range append(texts, id, "Not known: what others sent.") {
			b.awaitText("#event", text)
		}
	}
	ask("no such/event?", "not found", "The table has no such event.")
	ask(waiting, "It is committed.", "waiting", "yes, when is unknown")
	ask(accepted, "message-4711", "by "+topic, "Committed")
	b.checkWidth()
	b.picture("event-375")
	run(b, chromedp.Click(chromedp.CSS("#events button"))) // of the last event, which waits
	b.awaitText("#event", waiting)
	b.checkConsole()
}

// TestNewEventsLeaveTheButtonsAlone: a button keeps the focus, and a click counts, while new events
// arrive with each poll.
func TestNewEventsLeaveTheButtonsAlone(t *testing.T) {
	t.Parallel()
	r, b := newRelay(t, idle()), newBrowser(t)
	b.open(r.URL, 375, "light")
	b.awaitText("#events", "order.created accepted")
	run(b, chromedp.Focus(chromedp.CSS("#events button"))) // of the last event, which waits
	r.isBusy.Store(true)
	b.awaitText("#events", "order.shipped")
	b.await("document.activeElement.ariaLabel === 'Details of " + waiting + "'")
	poll := func(isBusy bool) {
		r.isBusy.Store(isBusy)
		run(b, chromedp.Evaluate[string]("readEvents().then(() => '')", chromedp.EvalAwaitPromise))
	}
	run(b, chromedp.Evaluate[int](`window.clicks = 0, byId('events').addEventListener('click',
		(e) => { if (e.target.closest('button')) clicks++; }), 0`))
	// The page waits for the release of a button for a second, which a slow machine may exceed.
	for deadline := time.Now().Add(patience); ; {
		poll(false)
		before := run(b, chromedp.Evaluate[int]("clicks"))
		took := b.clickDuring("#events button[aria-label='Details of "+waiting+"']", func() { poll(true) })
		if run(b, chromedp.Evaluate[int]("clicks")) > before {
			break
		}
		if took < 900*time.Millisecond || time.Now().After(deadline) {
			t.Fatalf("a click of %v does not count", took)
		}
	}
	b.awaitText("#event", waiting)
	b.awaitText("#events", "order.shipped")
	b.checkConsole()
}

// TestPageCanBeReadAndUsedByAll: each color has enough contrast. Each control has a name and is in
// the keyboard's order. Headings skip no level.
func TestPageCanBeReadAndUsedByAll(t *testing.T) {
	t.Parallel()
	r, b := newRelay(t, troubled()), newBrowser(t)
	for _, scheme := range []string{"light", "dark"} {
		b.open(r.URL, 1200, scheme)
		b.awaitText("#level", "critical")
		if faults := run(b, chromedp.Evaluate[[]string](accessibility)); len(faults) > 0 {
			t.Errorf("%s:\n%s", scheme, strings.Join(faults, "\n"))
		}
	}
	run(b, chromedp.Focus(chromedp.CSS("#letters button")))
	run(b, chromedp.KeyEvent("\r"))
	b.await("['Copied', 'Selected'].includes(document.querySelector('#letters button').textContent)")
}

// accessibility returns the faults that exclude a reader. The contrast is that of WCAG 2, level AA.
// https://www.w3.org/TR/WCAG22/#contrast-minimum
const accessibility = `(() => {
  const faults = [], colors = (text) => text.match(/[\d.]+/g).map(Number);
  const light = (text) => {
    const linear = (v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
    const [r, g, b] = colors(text).map((v) => linear(v / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const back = (e) => {
    for (; e; e = e.parentElement) {
      const color = getComputedStyle(e).backgroundColor;
      if (colors(color).length === 3) return color;
    }
    return 'rgb(255, 255, 255)';
  };
  let texts = 0;
  for (const e of document.body.querySelectorAll('*')) {
    const own = [...e.childNodes].some((n) => n.nodeType === Node.TEXT_NODE && n.textContent.trim() !== '');
    if (!own || !e.checkVisibility() || e.tagName === 'SCRIPT') continue;
    texts++;
    const [a, b] = [light(getComputedStyle(e).color), light(back(e))].sort((x, y) => y - x);
    const contrast = (a + 0.05) / (b + 0.05);
    if (contrast < 4.5) faults.push('contrast ' + contrast.toFixed(1) + ': ' + e.textContent);
  }
  if (texts < 30) faults.push('only ' + texts + ' texts');
  let level = 0;
  for (const e of document.querySelectorAll('h1, h2, h3')) {
    const next = Number(e.tagName[1]);
    if (next > level + 1) faults.push('heading skips a level: ' + e.textContent);
    level = next;
  }
  for (const e of document.querySelectorAll('button, input, [role=img]')) {
    const named = e.getAttribute('aria-label') || e.labels && e.labels.length || e.textContent;
    if (!named) faults.push('no name: ' + e.outerHTML);
    if (e.tabIndex < 0 && e.tagName !== 'svg') faults.push('not in the order of the keyboard: ' + e.outerHTML);
  }
  if (document.documentElement.lang !== 'en') faults.push('no language');
  return faults;
})()`
