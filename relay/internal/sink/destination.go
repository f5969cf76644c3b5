package sink

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
)

// Service is the AWS service that a destination belongs to.
type Service string

// The services of destinations, as ARNs name them.
const (
	SNS         Service = "sns"
	SQS         Service = "sqs"
	EventBridge Service = "events"
)

// Name returns the name that AWS writes, for messages.
func (s Service) Name() string {
	if s == EventBridge {
		return "EventBridge"
	}
	return strings.ToUpper(string(s))
}

// Destination names an SNS topic, an SQS queue or an EventBridge event bus. It is comparable.
type Destination struct {
	Service Service
	ARN     string // empty for a queue that was written as a URL
	URL     string // of a queue that was written as a URL
	Region  string // empty if the URL does not contain it: the SDK's own setting is used
	Account string
	Name    string
	// FIFO says that the name ends in .fifo, which AWS requires of FIFO topics and queues and
	// forbids to others. No bus is FIFO, whatever its name.
	FIFO bool
}

// String returns the destination as the settings have it.
func (d Destination) String() string {
	if d.URL != "" {
		return d.URL
	}
	return d.ARN
}

const accepted = `want an SNS topic ARN (arn:aws:sns:eu-central-1:123456789012:orders), an SQS queue ARN ` +
	`(arn:aws:sqs:eu-central-1:123456789012:orders), an SQS queue URL ` +
	`(https://sqs.eu-central-1.amazonaws.com/123456789012/orders) or an EventBridge bus ARN ` +
	`(arn:aws:events:eu-central-1:123456789012:event-bus/orders)`

var (
	partition = regexp.MustCompile(`^aws(-[a-z]+)*$`)
	region    = regexp.MustCompile(`^[a-z]{2,}(-[a-z]+)+-[0-9]+$`)
	account   = regexp.MustCompile(`^[0-9]{12}$`)
	// queueOrTopic and bus do not bound the length of a name: a bound of 256 makes a program of 256
	// steps, which every start would compile.
	queueOrTopic = regexp.MustCompile(`^[A-Za-z0-9_-]+(\.fifo)?$`)
	// A slash is in the names of partners' buses alone, to which only the partner puts events.
	bus = regexp.MustCompile(`^[A-Za-z0-9._-]+$`)

	// https://docs.aws.amazon.com/general/latest/gr/sqs-service.html
	// The second form is the legacy one; queue.amazonaws.com stands for us-east-1.
	regionalHost = regexp.MustCompile(
		`^sqs(?:-fips)?\.([a-z0-9-]+)\.(?:amazonaws\.com(?:\.cn)?|api\.aws|api\.amazonwebservices\.com\.cn)$`,
	)
	legacyHost = regexp.MustCompile(`^(?:([a-z0-9-]+)\.)?queue\.amazonaws\.com(?:\.cn)?$`)
	// A VPC endpoint, or an emulator that names the region in its host, as LocalStack does.
	hostWithRegion = regexp.MustCompile(`(?:^|\.)sqs\.([a-z0-9-]+)\.`)
)

// ParseDestination reads an SNS topic ARN, an SQS queue ARN or URL, or an EventBridge bus ARN.
func ParseDestination(s string) (Destination, error) {
	var d Destination
	var problem string
	switch {
	case strings.HasPrefix(s, "arn:"):
		d, problem = parseARN(s)
	case strings.HasPrefix(s, "http://"), strings.HasPrefix(s, "https://"):
		d, problem = parseQueueURL(s)
	default:
		problem = "neither an ARN nor a URL"
	}
	if problem != "" {
		return Destination{}, fmt.Errorf("destination %q: %s: %s", s, problem, accepted)
	}
	return d, nil
}

func parseARN(s string) (d Destination, problem string) {
	part := strings.Split(s, ":")
	if len(part) == 7 && part[2] == string(SNS) {
		return d, "an ARN of seven parts is a subscription's, not a topic's"
	}
	if len(part) != 6 {
		return d, fmt.Sprintf("an ARN has six parts, this one %d", len(part))
	}
	d = Destination{Service: Service(part[2]), ARN: s, Region: part[3], Account: part[4], Name: part[5]}
	var isBus bool
	switch d.Service {
	case SNS, SQS:
		d.FIFO = strings.HasSuffix(d.Name, ".fifo")
	case EventBridge:
		d.Name, isBus = strings.CutPrefix(d.Name, "event-bus/")
	default:
		return d, fmt.Sprintf("%q is none of sns, sqs and events", part[2])
	}
	switch {
	case d.Service == EventBridge && !isBus:
		return d, fmt.Sprintf("%q does not begin with event-bus/: name a bus with rules", part[5])
	case !partition.MatchString(part[1]):
		return d, fmt.Sprintf("%q is not a partition", part[1])
	case !region.MatchString(d.Region):
		return d, fmt.Sprintf("%q is not a region", d.Region)
	}
	return d, d.checkName()
}

func parseQueueURL(s string) (d Destination, problem string) {
	u, err := url.Parse(s)
	if err != nil {
		return d, "not a URL"
	}
	path := strings.Split(strings.TrimPrefix(u.EscapedPath(), "/"), "/")
	switch {
	case u.User != nil:
		return Destination{}, "a queue URL carries no user or password"
	case u.Hostname() == "":
		return d, "the URL has no host"
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.HasSuffix(s, "#"):
		return d, "a queue URL has no query and no fragment"
	case len(path) < 2:
		return d, "the path of a queue URL ends with /account/queue"
	}
	d = Destination{Service: SQS, URL: s, Account: path[len(path)-2], Name: path[len(path)-1]}
	d.FIFO = strings.HasSuffix(d.Name, ".fifo")
	d.Region = regionOf(u.Hostname(), path)
	return d, d.checkName()
}

func (d Destination) checkName() (problem string) {
	var name *regexp.Regexp
	var longest int
	var kind string
	switch d.Service {
	case SNS:
		name, longest, kind = queueOrTopic, 256, "topic"
	case SQS:
		name, longest, kind = queueOrTopic, 80, "queue"
	case EventBridge:
		name, longest, kind = bus, 256, "bus"
	default:
		return fmt.Sprintf("the names of %s have no rules yet", d.Service)
	}
	switch {
	case !account.MatchString(d.Account):
		return fmt.Sprintf("%q is not an account of twelve digits", d.Account)
	case len(d.Name) > longest || !name.MatchString(d.Name):
		return fmt.Sprintf("%q is not the name of a %s", d.Name, kind)
	}
	return ""
}

// regionOf finds the region in the host of a queue URL, or in the path, where LocalStack can be
// configured to put it.
func regionOf(host string, path []string) string {
	for _, form := range []*regexp.Regexp{regionalHost, legacyHost, hostWithRegion} {
		m := form.FindStringSubmatch(host)
		switch {
		case m == nil:
		case region.MatchString(m[1]):
			return m[1]
		case form == legacyHost && m[1] == "":
			return "us-east-1"
		}
	}
	if n := len(path); n >= 3 && region.MatchString(path[n-3]) {
		return path[n-3]
	}
	return ""
}

// Endpoint returns scheme and host of a queue URL that the SDK cannot derive from the region, as
// for a VPC endpoint or an emulator. Otherwise it is empty.
func (d Destination) Endpoint() string {
	u, err := url.Parse(d.URL)
	if err != nil || d.URL == "" || regionalHost.MatchString(u.Host) || legacyHost.MatchString(u.Host) {
		return ""
	}
	return u.Scheme + "://" + u.Host
}

// EndpointKind reports whether a queue URL has the host of AWS' FIPS endpoint, and whether the host
// has IPv6 addresses too. The SDK derives such a host from the region only if it is configured so.
func (d Destination) EndpointKind() (fips, dualStack bool) {
	u, err := url.Parse(d.URL)
	if err != nil || !regionalHost.MatchString(u.Host) {
		return false, false
	}
	return strings.HasPrefix(u.Host, "sqs-fips."), strings.Contains(u.Host, ".api.")
}
