package chaos

import (
	"context"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/outbox-relay/outbox-relay/localstack/lab/chaos/checker"
	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws"
)

// proxyFaults are failures of a proxy that answers in place of the broker.
var proxyFaults = []fault{
	proxy("proxy: page", false, func(a *act) fakeaws.Fault { return fakeaws.ShowPage(a.pages()...) }),
	proxy("proxy: page after accept", true, func(a *act) fakeaws.Fault {
		return fakeaws.ShowPageAfterAccept(a.page())
	}),
	{name: "proxy: body too large", weight: 2, do: limitBody},
	proxy("proxy: early answer", false, func(a *act) fakeaws.Fault {
		return fakeaws.AnswerEarly(a.random.Int64N(20_000), a.page(), true)
	}),
	proxy("proxy: early answer with reset", false, func(a *act) fakeaws.Fault {
		return fakeaws.AnswerEarly(a.random.Int64N(20_000), a.page(), false)
	}),
	proxy("proxy: head of answer cut", true, func(a *act) fakeaws.Fault { return fakeaws.CutHead(a.random.IntN(100)) }),
	confusion("proxy: cached answer", false, fakeaws.CacheAnswers),
	confusion("proxy: answers swapped", true, fakeaws.SwapAnswers),
}

// limitBody adds a proxy that refuses large requests. It writes events of which one fits into a
// request and two do not. They gather while the broker is unavailable, so that the relay sends them
// together.
func limitBody(ctx context.Context, a *act) error {
	var refused atomic.Int64
	rule := a.broker.Script(fakeaws.Match{}, fakeaws.LimitBody(largestEvent, &refused))
	defer rule.Clear()
	outage := a.broker.Script(fakeaws.Match{}, fakeaws.Unavailable())
	defer outage.Clear()
	for range 20 {
		o, err := a.writeOpenWith(ctx, func(e *checker.Event) {
			if len(e.Payload) < 1_000 {
				e.Payload = a.shape.padded(e.Payload, largestEvent/2)
			}
		})
		if err != nil {
			return err
		}
		if o != nil {
			o.commit(ctx)
		}
	}
	outage.Clear()
	pause(ctx, 300*time.Millisecond+a.within(time.Second))
	if refused.Load() == 0 {
		a.note = missed
	}
	return nil
}

// largestEvent exceeds the body of a request with one valid event, in either protocol.
const largestEvent = 90_000

// proxy returns a fault of a proxy, which distinguishes only destinations.
func proxy(name string, repeats bool, newFault func(*act) fakeaws.Fault) fault {
	return scriptedFault(name, repeats, (*act).matchDestinations, newFault)
}

// confusion returns a fault of a proxy that gives a request the answer to another one. The answers
// of a bus name no entry: the relay cannot notice that a proxy exchanges two of them, nor that it
// repeats one from before the relay started.
func confusion(name string, repeats bool, newFault func() fakeaws.Fault) fault {
	f := proxy(name, repeats, func(*act) fakeaws.Fault { return newFault() })
	f.needs = func(p *Plan) bool { return !hasBus(p) }
	return f
}

// page returns one of the pages.
func (a *act) page() fakeaws.Page { return a.pages()[0] }

// pages returns the pages that a proxy, a load balancer or a captive portal shows in place of the
// broker's answer. The first one is random.
func (a *act) pages() []fakeaws.Page {
	const moved, login = http.StatusTemporaryRedirect, "<!DOCTYPE html><html><body><form action=/login>log " +
		"in</form></body></html>"
	pages := []fakeaws.Page{
		fakeaws.HTML(http.StatusBadGateway),
		fakeaws.HTML(http.StatusServiceUnavailable),
		fakeaws.HTML(http.StatusGatewayTimeout),
		fakeaws.HTML(http.StatusForbidden),
		{
			Status: http.StatusProxyAuthRequired, Header: http.Header{"Proxy-Authenticate": {`Basic realm="proxy"`}},
			Body: login,
		},
		{Status: http.StatusOK, Body: login},
		{Status: http.StatusOK},
		{Status: moved, Header: http.Header{"Location": {"http://127.0.0.1:9/login"}}},
		{Status: http.StatusFound, Header: http.Header{"Location": {"/login"}}},
	}
	first := a.random.IntN(len(pages))
	return slices.Concat(pages[first:], pages[:first])
}
