package page_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// patience bounds every wait for the page.
const patience = 60 * time.Second

// browsers are the names of Chromium on the systems that contributors use.
var browsers = []string{"chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "chrome"}

// browser is one tab of a real browser.
type browser struct {
	t   *testing.T
	ctx context.Context

	mu       sync.Mutex
	messages []string // of the console: errors of the script, and violations of the policy
}

// newBrowser starts a browser. CI has one, so the test fails there without it.
func newBrowser(t *testing.T) *browser {
	t.Helper()
	path := ""
	for _, name := range browsers {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	switch {
	case path != "":
	case os.Getenv("CI") != "":
		t.Fatalf("no browser of %v is installed", browsers)
	default:
		t.Skipf("THE PAGE IS NOT TESTED: no browser of %v is installed; on Debian: apt-get install chromium", browsers)
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox)
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	b := &browser{t: t, ctx: ctx}
	if err := chromedp.Listen(ctx, b.listen); err != nil { // starts the browser
		t.Fatal(err)
	}
	call(b, cdplog.Enable, cdp.Empty{})
	return b
}

func (b *browser) listen(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *cdplog.EventEntryAdded:
		b.messages = append(b.messages, e.Entry.Text)
	case *runtime.EventExceptionThrown:
		b.messages = append(b.messages, e.ExceptionDetails.Text)
	case *runtime.EventConsoleAPICalled:
		b.messages = append(b.messages, "console."+string(e.Type))
	}
}

// run returns the value of an action.
func run[T any](b *browser, action chromedp.Action[T]) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	value, err := chromedp.Run(ctx, action)
	if err != nil {
		b.t.Fatal(err)
	}
	return value
}

// call sends a command of the DevTools protocol for which chromedp has no action.
func call[P, R any](b *browser, command cdp.Command[P, R], parameters P) {
	b.t.Helper()
	run(b, func(ctx context.Context, target *chromedp.Target) (R, error) {
		return cdp.Call(ctx, target, command, parameters)
	})
}

// open shows an address in a window of this width, in a color scheme.
func (b *browser) open(address string, width int64, scheme string) {
	b.t.Helper()
	call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
	})
	run(b, chromedp.EmulateViewport(width, 900))
	run(b, chromedp.Navigate(address))
}

// clickDuring presses the mouse on an element, calls while, releases the mouse, and returns for how
// long it was pressed.
func (b *browser) clickDuring(selector string, while func()) time.Duration {
	b.t.Helper()
	at := run(b, chromedp.Evaluate[[]float64](fmt.Sprintf(`(() => {
		const e = document.querySelector(%q);
		e.scrollIntoView({block: 'center', behavior: 'instant'});
		const r = e.getBoundingClientRect();
		return [r.x + r.width / 2, r.y + r.height / 2];
	})()`, selector)))
	mouse := input.DispatchMouseEventParams{X: at[0], Y: at[1], Button: "left", ClickCount: 1}
	pressed := time.Now()
	mouse.Type = input.DispatchMouseEventTypeMousePressed
	call(b, input.DispatchMouseEvent, mouse)
	while()
	mouse.Type = input.DispatchMouseEventTypeMouseReleased
	call(b, input.DispatchMouseEvent, mouse)
	return time.Since(pressed)
}

// await waits until an expression of JavaScript is true.
func (b *browser) await(expression string) {
	b.t.Helper()
	for deadline := time.Now().Add(patience); !run(b,
		chromedp.Evaluate[bool](expression)); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			b.t.Fatalf("%s is not true; the page shows\n%s", expression,
				run(b, chromedp.Evaluate[string]("document.body.innerText")))
		}
	}
}

// awaitText waits until a part of the page shows a text.
func (b *browser) awaitText(selector, text string) {
	b.t.Helper()
	b.await(fmt.Sprintf("document.querySelector(%q).innerText.includes(%q)", selector, text))
}

// checkText fails the test if the page shows a value of JavaScript that no operator understands.
func (b *browser) checkText() {
	b.t.Helper()
	text := run(b, chromedp.Evaluate[string]("document.body.innerText"))
	for _, wrong := range []string{"[object", "undefined", "NaN", "null", "false"} {
		if strings.Contains(text, wrong) {
			b.t.Errorf("the page shows %q:\n%s", wrong, text)
		}
	}
}

// checkConsole fails the test if the browser has reported an error.
func (b *browser) checkConsole() {
	b.t.Helper()
	b.checkText()
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.messages) > 0 {
		b.t.Errorf("the browser says:\n%s", strings.Join(b.messages, "\n"))
	}
}

// checkWidth fails the test if the page is wider than its window.
func (b *browser) checkWidth() {
	b.t.Helper()
	wider := run(b,
		chromedp.Evaluate[int]("document.documentElement.scrollWidth - document.documentElement.clientWidth"))
	if wider > 0 {
		b.t.Errorf("the page is %d pixels wider than its window", wider)
	}
}

// picture stores a picture of the whole page among the artifacts of the test.
func (b *browser) picture(name string) {
	b.t.Helper()
	picture := run(b, chromedp.FullScreenshot(100))
	if err := os.WriteFile(filepath.Join(b.t.ArtifactDir(), name+".png"), picture, 0o600); err != nil {
		b.t.Fatal(err)
	}
}
