package tour

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

// browsers are the names of Chromium on the systems that contributors use.
var browsers = []string{"chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "chrome"}

// camera takes pictures of the relay's page in a browser. A nil camera takes none.
type camera struct {
	tab    context.Context
	cancel context.CancelFunc
	folder string
}

// newCamera starts a browser. The pictures go to a folder.
func newCamera(ctx context.Context, folder string) (*camera, error) {
	path := ""
	for _, name := range browsers {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		return nil, fmt.Errorf("pictures need one of the browsers %v: install one, or take none", browsers)
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, err
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox)
	browser, cancelBrowser := chromedp.NewExecAllocator(ctx, options...)
	tab, cancelTab := chromedp.NewContext(browser)
	c := &camera{tab: tab, cancel: func() { cancelTab(); cancelBrowser() }, folder: folder}
	// The first action starts the browser, which ends with the context of that action.
	if _, err := chromedp.Run(tab, chromedp.EmulateViewport(pictureWidth, pictureHeight)); err != nil {
		c.cancel()
		return nil, fmt.Errorf("start %s: %w", path, err)
	}
	return c, nil
}

func (c *camera) close() {
	if c != nil {
		c.cancel()
	}
}

const (
	pictureWidth, pictureHeight = 1000, 900
	// drawn is the time after which the page shows newer data.
	drawn = 4 * time.Second
	// maxPicture is the size up to which a picture belongs into the repository.
	maxPicture = 200 << 10
)

// open shows a page, which stays open.
func (c *camera) open(url string) error {
	if c == nil {
		return nil
	}
	if _, err := chromedp.Run(c.tab, chromedp.Navigate(url)); err != nil {
		return fmt.Errorf("open %s in a browser: %w", url, err)
	}
	return nil
}

// take stores a picture of the page, from its top to the end of a section.
func (c *camera) take(name, section string) error {
	if c == nil {
		return nil
	}
	time.Sleep(drawn)
	picture, err := chromedp.Run(c.tab, upTo(section))
	if err != nil {
		return fmt.Errorf("take the picture %s: %w", name, err)
	}
	if len(picture) > maxPicture {
		return fmt.Errorf("the picture %s has %d bytes, and at most %d belong into the repository", name, len(picture),
			maxPicture)
	}
	return os.WriteFile(filepath.Join(c.folder, name+".png"), picture, 0o644)
}

// upTo takes a picture of the page down to the end of the element with this id, and a margin.
func upTo(id string) chromedp.Action[[]byte] {
	return func(ctx context.Context, target *chromedp.Target) ([]byte, error) {
		bottom, err := chromedp.Evaluate[float64](fmt.Sprintf(
			"document.getElementById(%q).getBoundingClientRect().bottom + window.scrollY + 16", id))(ctx, target)
		if err != nil {
			return nil, err
		}
		whole := true
		picture, err := cdp.Call(ctx, target, page.CaptureScreenshot, page.CaptureScreenshotParams{
			CaptureBeyondViewport: &whole,
			Clip:                  &page.Viewport{Width: pictureWidth, Height: bottom, Scale: 1},
		})
		if err != nil {
			return nil, err
		}
		return picture.Data, nil
	}
}
