package chaos

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// Plan is the part of a run that its seed determines.
type Plan struct {
	Seed           uint64
	Shape          string // of the outbox table
	Version        int    // major version of Postgres
	Relays         int    // two relays are a holder and a standby
	Destinations   []Kind
	SenderTimeout  time.Duration
	RequestTimeout time.Duration // of a request to the broker
	ParkAfter      time.Duration
	Credentials    Source
	Client         string   // RELAY_AWS_CLIENT
	BrokerTLS      bool     // the relays reach the broker over TLS
	DatabaseTLS    bool     // the relays reach Postgres over TLS
	Settings       []string // additional settings of the relays
	ColdStart      bool     // the relays start after the first events were written
	Aftermath      Aftermath
	Load           Load
	Steps          []Step // faults of processes, servers and slots, one after the other
	BrokerFaults   []Step // faults of the broker, at the same time as Steps
}

// Kind is a kind of destination.
type Kind string

// The kinds.
const (
	FIFOQueue     Kind = "sqs.fifo"
	StandardQueue Kind = "sqs"
	FIFOTopic     Kind = "sns.fifo"
	StandardTopic Kind = "sns"
	Bus           Kind = "events"
)

func (k Kind) fifo() bool { return k == FIFOQueue || k == FIFOTopic }

// Load is the amount and the kind of the writers' load.
type Load struct {
	Length     time.Duration
	Writers    int
	Aggregates int // aggregates of each destination
	Pause      time.Duration
	Poison     bool          // includes poison messages, which no destination accepts
	Long       time.Duration // maximum duration of a transaction; snapshots wait as long
	DDL        bool
	// Partitioned makes the outbox table a partitioned one.
	Partitioned bool
	// Emitted makes a share of the aggregates emit their events, without a row.
	Emitted bool
	// Large makes a share of the events too long for a message. Their bodies are in a bucket of S3.
	Large bool
}

// Step is a fault with the earliest time of its injection.
type Step struct {
	At    time.Duration
	Fault string
	Seed  uint64 // seed of its own random choices
}

// Calm reports whether the plan has no fault.
func (p *Plan) Calm() bool { return len(p.Steps)+len(p.BrokerFaults) == 0 }

// NewPlan returns the plan of a seed. Every tenth run is calm, and no event may arrive twice in it.
func NewPlan(seed uint64, o Options) *Plan {
	random := rand.New(rand.NewPCG(seed, 0x0b0e))
	p := &Plan{
		Seed:           seed,
		Version:        o.Versions[seed%uint64(len(o.Versions))],
		Relays:         1 + random.IntN(maxRelays),
		Load:           newLoad(random, o),
		SenderTimeout:  time.Second + time.Duration(random.IntN(1000))*time.Millisecond,
		RequestTimeout: time.Second,
	}
	kinds := []Kind{FIFOQueue, StandardQueue, FIFOTopic, StandardTopic}
	random.Shuffle(len(kinds), func(i, j int) { kinds[i], kinds[j] = kinds[j], kinds[i] })
	p.Destinations = kinds[:1+random.IntN(len(kinds))]
	p.drawShape(o)
	p.Load.Emitted = o.Emitted && p.emits()
	p.drawSettings(random, o)
	p.Credentials = []Source{StaticKey, ContainerRole, WebIdentity}[random.IntN(3)]
	p.Aftermath = []Aftermath{LeaveParked, RedriveAll, DiscardRest}[random.IntN(3)]
	if random.IntN(4) == 0 {
		p.ParkAfter = 700 * time.Millisecond
	}
	if after := p.setting("RELAY_PARK_AFTER"); after != "" {
		p.ParkAfter, _ = time.ParseDuration(after) // the relay refuses a wrong one
	}
	if random.IntN(3) == 0 && p.suitsBus() {
		p.Destinations = append(p.Destinations, Bus)
	}
	p.drawLarge()
	p.drawFaults(random, o)
	p.fit()
	p.drawEmitted()
	if p.ParkAfter > 0 && p.Aftermath == LeaveParked {
		p.Aftermath = RedriveAll
	}
	p.Client = cmp.Or(p.setting("RELAY_AWS_CLIENT"), []string{"direct", "direct", "sdk"}[random.IntN(3)])
	p.BrokerTLS, p.DatabaseTLS = random.IntN(2) == 0, random.IntN(2) == 0
	if p.Calm() {
		// so that a slow machine causes no timeout either
		p.SenderTimeout, p.RequestTimeout = 10*time.Second, time.Minute
	}
	return p
}

// suitsBus reports whether an event bus may be a destination. A bus has no groups.
func (p *Plan) suitsBus() bool { return p.Shape == own && p.setting("RELAY_GROUP_BATCHES") == "" }

// hasBus reports whether an event bus is a destination.
func hasBus(p *Plan) bool { return slices.Contains(p.Destinations, Bus) }

func newLoad(random *rand.Rand, o Options) Load {
	l := Load{
		Length:     3*time.Second + time.Duration(random.IntN(4000))*time.Millisecond,
		Writers:    3 + random.IntN(8),
		Aggregates: 3 + random.IntN(15),
		Pause:      time.Duration(2+random.IntN(25)) * time.Millisecond,
		Poison:     random.IntN(2) == 0,
		DDL:        random.IntN(2) == 0,
	}
	if o.Short {
		l.Length /= 2
	}
	return l
}

// drawSettings draws the settings of the relays, and the parts of the load that they depend on.
func (p *Plan) drawSettings(random *rand.Rand, o Options) {
	p.Settings = settings(random)
	for _, setting := range o.Settings {
		p.set(setting)
	}
	// otherwise the relay refuses the setting
	if random.IntN(2) == 0 && !slices.ContainsFunc(p.Destinations, func(k Kind) bool { return !k.fifo() }) {
		p.Settings = append(p.Settings, "RELAY_GROUP_BATCHES=true")
	}
	p.ColdStart = random.IntN(4) == 0 && p.shape().repairs && !p.Load.Emitted
	p.Load.Long = 150 * time.Millisecond
	if random.IntN(4) == 0 {
		p.Load.Long = 1500 * time.Millisecond
	}
	if p.Load.Partitioned = random.IntN(4) == 0 && p.Shape == own; p.Load.Partitioned {
		p.Settings = append(p.Settings, "RELAY_ID_UNIQUE=assert")
	}
}

func (p *Plan) drawFaults(random *rand.Rand, o Options) {
	if len(o.Faults) > 0 || p.Seed%10 > 0 {
		p.Steps = steps(random, p, allowed(faults, o.Faults, p), 2200*time.Millisecond)
		p.BrokerFaults = steps(random, p, allowed(brokerFaults, o.Faults, p), 900*time.Millisecond)
	}
	if random.IntN(4) == 0 && len(o.Faults) == 0 {
		p.BrokerFaults = nil
	}
}

// hasStep reports whether any of these faults is a step of the run.
func (p *Plan) hasStep(names ...string) bool {
	return slices.ContainsFunc(p.Steps, func(s Step) bool { return slices.Contains(names, s.Fault) })
}

// emits reports whether events can also be emitted to the relays of the shape.
func (p *Plan) emits() bool { return p.Shape == own || p.Shape == several }

// drawEmitted draws whether a share of the events has no row. A fault that loses a part of the log
// loses such an event, and no promise covers that loss.
func (p *Plan) drawEmitted() {
	random := rand.New(rand.NewPCG(p.Seed, 0xe317)) // the rest of a plan does not depend on it
	losesLog := slices.ContainsFunc(faults, func(f fault) bool { return f.losesLog && p.hasStep(f.name) })
	p.Load.Emitted = p.Load.Emitted || random.IntN(2) == 0 && p.emits() && hasSlot(p) && !losesLog
	if p.Load.Emitted {
		p.Settings = append(p.Settings, "RELAY_EMITTED="+emittedPrefix)
	}
}

// drawLarge draws whether the relays have a bucket, and a share of the events needs it.
func (p *Plan) drawLarge() {
	random := rand.New(rand.NewPCG(p.Seed, 0x1a46)) // the rest of a plan does not depend on it
	if p.Load.Large = random.IntN(4) == 0 && p.Shape == own; p.Load.Large {
		p.Settings = append(p.Settings, "RELAY_LARGE_EVENTS_BUCKET="+bucket)
	}
}

func settings(random *rand.Rand) []string {
	pick := func(values ...string) string { return values[random.IntN(len(values))] }
	return []string{
		"RELAY_WINDOW_EVENTS=" + pick("50", "500", "8192"),
		"RELAY_IN_FLIGHT=" + pick("2", "8", "64", "256"),
		"RELAY_ON_REJECTED=" + pick("", "", "park", "park-aggregate"),
		"RELAY_LINGER=" + pick("0s", "0s", "10ms"),
		"RELAY_RETENTION=" + pick("0s", "1s"),
		"RELAY_RETRY_MAX=500ms",
		"RELAY_DRAIN_TIMEOUT=" + pick("500ms", "3s"),
		"RELAY_ON_SLOT_LOSS=" + pick("recover", "recover", "recover", "halt"),
	}
}

func (p *Plan) setting(name string) string {
	for _, s := range p.Settings {
		if value, found := strings.CutPrefix(s, name+"="); found {
			return value
		}
	}
	return ""
}

// retention returns the age from which on rows are removed, or zero.
func (p *Plan) retention() time.Duration {
	age, _ := time.ParseDuration(p.setting("RELAY_RETENTION")) // the relay refuses a wrong one
	return age
}

// set replaces a setting of the form NAME=value, or adds it.
func (p *Plan) set(setting string) {
	name, _, _ := strings.Cut(setting, "=")
	p.Settings = append(slices.DeleteFunc(p.Settings, func(s string) bool {
		return strings.HasPrefix(s, name+"=")
	}), setting)
}

// steps draws faults by their weight over the length of the load. The intervals between them are
// random around interval.
func steps(random *rand.Rand, p *Plan, from []fault, interval time.Duration) []Step {
	from = withOrWithoutLog(random, from)
	total := 0
	for _, f := range from {
		total += f.weight
	}
	if total == 0 {
		return nil
	}
	var drawn []Step
	for at := 300*time.Millisecond + duration(random, interval); at < p.Load.Length; at += interval/2 +
		duration(random, interval) {
		n := random.IntN(total)
		for _, f := range from {
			if n -= f.weight; n < 0 {
				drawn = append(drawn, Step{At: at, Fault: f.name, Seed: random.Uint64()})
				break
			}
		}
	}
	return drawn
}

// withOrWithoutLog excludes either the faults whose events are only in the log, or the faults that
// lose the log. If all of them are of one kind, it excludes none.
func withOrWithoutLog(random *rand.Rand, from []fault) []fault {
	keepsLog := random.IntN(2) == 0
	some := slices.DeleteFunc(slices.Clone(from), func(f fault) bool {
		return keepsLog && f.losesLog || !keepsLog && f.needsLog
	})
	if len(some) == 0 {
		return from
	}
	return some
}

func duration(random *rand.Rand, below time.Duration) time.Duration {
	return time.Duration(random.Int64N(int64(below)))
}

// allowed returns the faults that suit the plan and that the options allow.
func allowed(all []fault, only []string, p *Plan) []fault {
	var some []fault
	for _, f := range all {
		if p.allows(&f) && (len(only) == 0 || slices.Contains(only, f.name)) {
			some = append(some, f)
		}
	}
	return some
}

// String describes the run in one line.
func (p *Plan) String() string {
	return fmt.Sprintf("Postgres %d, table %q, relays %d, to %v, wal_sender_timeout %v, parking after %v, "+
		"credentials by %s, client %s, TLS to the broker %t and to Postgres %t, %v, load %+v, cold start %t, "+
		"then %s dead letters",
		p.Version, p.Shape, p.Relays, p.Destinations, p.SenderTimeout, p.ParkAfter, p.Credentials,
		p.Client, p.BrokerTLS, p.DatabaseTLS, p.Settings, p.Load, p.ColdStart, p.Aftermath)
}
