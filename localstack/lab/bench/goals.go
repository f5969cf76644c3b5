package bench

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// judge compares the worst case of each figure with its target.
func judge(all []result, steady []delays) []goal {
	var goals []goal
	atLeast := func(name string, lowest float64, figures []float64) {
		if figure := least(figures); !math.IsInf(figure, 0) {
			goals = append(goals, goal{name, fmt.Sprintf("%.2f", figure), figure >= lowest})
		}
	}
	atMost := func(name, format string, highest float64, figures []float64) {
		if figure := most(figures); !math.IsInf(figure, 0) {
			goals = append(goals, goal{name, fmt.Sprintf(format, figure), figure <= highest})
		}
	}
	relays := isRelay(oneRow)
	compared := relays.and(func(m result) bool { return m.Ratio > 0 })
	spreadOf := func(m result) float64 { return m.Spread }
	processorOf := func(m result) float64 { return m.Processor }
	aws := compared.over(secured).at(near).standard()
	atLeast("drain, TLS: 1.0 x the source", 1, each(all, aws, ratioOf))
	atMost("drain, TLS: spread of that ratio", "%.2f", 0.2, each(all, aws, spreadOf))
	atLeast("drain, TCP: 1.6 x the source", 1.6, each(all, compared.over(tcp).at(0), ratioOf))
	atMost("drain, TCP: spread of that ratio", "%.2f", 0.2, each(all, compared.over(tcp).at(0), spreadOf))
	atLeast("drain, socket: 0.9 x the source", 0.9, each(all, compared.over(socket), ratioOf))
	atLeast("2 x the same over the SDK", 2, each(all, aws.and(isBesideSDK), func(m result) float64 {
		return m.OverSDK
	}))
	atLeast("FIFO: 0.75 x standard", 0.75, each(all, relays.fifo(), func(m result) float64 {
		return m.PerSecond / findStandard(all, m)
	}))
	atMost("TLS: µs of processor an event", "%.1f", 15, each(all, relays.over(secured), processorOf))
	atMost("TCP: µs of processor an event", "%.1f", 10, each(all, relays.over(tcp), processorOf))
	atMost("allocations an event", "%.2f", 2, each(all, relays, func(m result) float64 { return m.Allocations }))
	atMost("requests an event", "%.3f", 0.105, each(all, relays, func(m result) float64 { return m.Requests }))
	hasPeak := func(m result) bool { return m.Peak > 0 }
	atMost("peak memory", "%.0f MB", 64, each(all, hasPeak, func(m result) float64 { return m.Peak }))
	onAQuarter := func(m result) bool { return m.Contestant == quarterCore }
	atLeast("quarter of a core: 5,000 events/s", 5000, each(all, onAQuarter, perSecondOf))
	for _, d := range steady {
		if d.PerSecond == 500 && d.Settings == "[]" {
			name := fmt.Sprintf("500 events/s, broker %d ms: p99 1 ms", d.Latency.Milliseconds())
			goals = append(goals, goal{name, round(d.P99).String(), d.P99 <= time.Millisecond})
		}
	}
	return goals
}

// filter selects measurements.
type filter func(result) bool

// isRelay selects the measurements of the relay with its default settings.
func isRelay(s shape) filter {
	return func(m result) bool {
		return m.Shape == s.String() && !m.isSource() && m.Contestant != "one by one" && m.Contestant != bySDK &&
			m.Contestant != quarterCore && !strings.Contains(m.Contestant, "RELAY_")
	}
}

func (f filter) and(other filter) filter {
	return func(m result) bool { return f(m) && other(m) }
}

func (f filter) over(l link) filter {
	return f.and(func(m result) bool { return m.Link == string(l) })
}

func (f filter) at(latency time.Duration) filter {
	return f.and(func(m result) bool { return m.Latency == latency })
}

func (f filter) fifo() filter {
	return f.and(func(m result) bool { return len(m.To) > len("SQS") })
}

func (f filter) standard() filter {
	return f.and(func(m result) bool { return len(m.To) == len("SQS") })
}

func always(result) bool { return true }

func each(all []result, wanted filter, figure func(result) float64) (figures []float64) {
	for _, m := range all {
		if wanted(m) {
			figures = append(figures, figure(m))
		}
	}
	return figures
}

func isBesideSDK(m result) bool { return m.OverSDK > 0 }

// findStandard returns the events a second to the standard destination that corresponds to the FIFO
// destination of m.
func findStandard(all []result, m result) float64 {
	for _, other := range all {
		if other.Contestant == m.Contestant && other.To == m.To[:len("SQS")] && other.Link == m.Link &&
			other.Latency == m.Latency {
			return other.PerSecond
		}
	}
	return math.NaN()
}

func least(figures []float64) float64 {
	lowest := math.Inf(1)
	for _, f := range figures {
		lowest = math.Min(lowest, f)
	}
	return lowest
}

func most(figures []float64) float64 {
	highest := math.Inf(-1)
	for _, f := range figures {
		highest = math.Max(highest, f)
	}
	return highest
}
