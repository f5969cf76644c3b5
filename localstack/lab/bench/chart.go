package bench

import (
	"fmt"
	"html"
	"strings"
)

// Sizes of the chart, in pixels.
const (
	barHeight, barGap = 18, 6
	labels, bars      = 330, 520
	margin            = 20
)

// drawChart draws the drains as bars, grouped by backlog and link.
func drawChart(all []result, caption string) string {
	highest := 1.0
	for _, m := range all {
		highest = max(highest, m.PerSecond)
	}
	var rows strings.Builder
	y, group := 2*margin, ""
	for _, m := range all {
		if g := m.Shape + ", " + m.Link; g != group {
			group = g
			y += margin
			fmt.Fprintf(&rows, `<text x="%d" y="%d" font-weight="bold">%s</text>`+"\n", margin, y, html.EscapeString(g))
			y += barGap
		}
		color := "#4878a8"
		if m.isSource() {
			color = "#a0a0a0"
		}
		width := m.PerSecond / highest * bars
		fmt.Fprintf(&rows, `<text x="%d" y="%d" text-anchor="end">%s</text>`+"\n", labels-barGap, y+barHeight-5,
			html.EscapeString(label(m)))
		fmt.Fprintf(&rows, `<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/>`+"\n", labels, y, width, barHeight,
			color)
		fmt.Fprintf(&rows, `<text x="%.1f" y="%d">%.0f</text>`+"\n", labels+width+barGap, y+barHeight-5, m.PerSecond)
		y += barHeight + barGap
	}
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" `+
		`font-family="sans-serif" font-size="12">`+"\n"+
		`<rect width="100%%" height="100%%" fill="white"/>`+"\n"+
		`<text x="%d" y="%d" font-size="15" font-weight="bold">`+
		`Events a second while a backlog is drained</text>`+"\n%s"+
		`<text x="%d" y="%d" fill="#606060" font-size="11">%s</text>`+"\n</svg>\n",
		labels+bars+5*margin, y+2*margin, margin, margin, rows.String(), margin, y+margin, html.EscapeString(caption))
}

func label(m result) string {
	if m.isSource() {
		return m.Contestant
	}
	return fmt.Sprintf("%s to %s, broker %s", m.Contestant, m.To, brokerText(m))
}
