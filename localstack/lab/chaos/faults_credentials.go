package chaos

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/outbox-relay/outbox-relay/localstack/lab/chaos/checker"
	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws"
)

// Source is the source of the relays' credentials.
type Source string

// The sources.
const (
	StaticKey     Source = "key"       // never expires
	ContainerRole Source = "container" // the credentials endpoint of a container
	WebIdentity   Source = "STS"
)

// hasRole reports whether the relays' credentials expire and are renewed.
func hasRole(p *Plan) bool { return p.Credentials != StaticKey }

// credentialFaults are failures of credentials and signatures. No destination is at fault, so none
// of them may park an event.
var credentialFaults = []fault{
	role("credentials: refused", fakeaws.RefuseRole(http.StatusBadRequest, "ValidationError",
		"The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")),
	role("credentials: denied", fakeaws.RefuseRole(http.StatusForbidden, "AccessDenied",
		"Not authorized to perform sts:AssumeRoleWithWebIdentity")),
	role("credentials: token expired", fakeaws.RefuseRole(http.StatusBadRequest, "ExpiredTokenException",
		"Token expired")),
	role("credentials: unavailable", fakeaws.RefuseRole(http.StatusServiceUnavailable, "ServiceUnavailable",
		"try again")),
	role("credentials: throttled", fakeaws.RefuseRole(http.StatusBadRequest, "Throttling", "Rate exceeded")),
	role("credentials: page", fakeaws.HideRole(fakeaws.HTML(http.StatusOK))),
	role("credentials: hang", fakeaws.HangRole()),
	role("credentials: expired when issued", fakeaws.ExpireRole()),
	{name: "credentials: revoked", weight: 2, identity: true, needs: hasRole, do: revoke},
	identity("signature: token expired", fakeaws.ExpireToken),
	identity("signature: token unknown", fakeaws.RefuseToken),
	identity("signature: wrong", fakeaws.RefuseSignature),
	{name: "signature: clock skewed", weight: 2, identity: true, do: skewClock},
}

// role is a fault of the service that issues credentials. It also revokes all issued tokens,
// because a client may cache one.
func role(name string, response fakeaws.IssuerFault) fault {
	return fault{name: name, weight: 2, identity: true, needs: hasRole, do: func(ctx context.Context, a *act) error {
		a.issuer.Script(response)
		defer a.issuer.Script(fakeaws.IssuerFault{})
		a.issuer.Expire()
		a.outlast(ctx)
		if a.issuer.Hits() == 0 {
			a.note = missed
		}
		return nil
	}}
}

// identity makes the broker refuse the credentials of every request.
func identity(name string, newFault func() fakeaws.Fault) fault {
	return fault{name: name, weight: 2, identity: true, do: func(ctx context.Context, a *act) error {
		return a.whileRefused(ctx, fakeaws.Match{}, newFault())
	}}
}

func (a *act) whileRefused(ctx context.Context, match fakeaws.Match, response fakeaws.Fault) error {
	rule := a.broker.Script(match, response)
	defer rule.Clear()
	a.outlast(ctx)
	if rule.Hits() == 0 {
		a.note = missed
	}
	return nil
}

// outlast waits for a random time. If the plan parks events of an unavailable destination, it waits
// longer than that takes.
func (a *act) outlast(ctx context.Context) {
	pause(ctx, 200*time.Millisecond+a.within(time.Second))
	if a.plan.ParkAfter > 0 {
		pause(ctx, a.plan.ParkAfter+checker.Attempt)
	}
}

// revoke expires all issued tokens. The next ones are valid.
func revoke(_ context.Context, a *act) error {
	a.issuer.Expire()
	return nil
}

// skewClock moves the broker's clock by an hour or more, and back.
func skewClock(ctx context.Context, a *act) error {
	by := time.Hour + a.within(24*time.Hour)
	if a.random.IntN(2) == 0 {
		by = -by
	}
	rule := a.broker.Script(fakeaws.Match{}, fakeaws.SkewClock(by))
	defer rule.Clear()
	pause(ctx, 200*time.Millisecond+a.within(time.Second))
	return nil
}

// startIssuer starts the service that issues the relays' credentials, and registers its tokens with
// the broker.
func (r *run) startIssuer() error {
	var err error
	if r.issuer, err = fakeaws.StartIssuer(tokenLifetime[r.plan.Credentials]); err != nil {
		return err
	}
	r.broker.Script(fakeaws.Match{}, fakeaws.ExpireTokens(r.issuer.HasExpired))
	if err := os.WriteFile(r.webIdentity(), []byte("a token of another issuer"), 0o600); err != nil {
		return fmt.Errorf("write the web identity: %w", err)
	}
	return nil
}

// tokenLifetime makes the relay renew credentials about every second. The SDK renews those of a
// container five minutes before they expire.
var tokenLifetime = map[Source]time.Duration{ContainerRole: 5*time.Minute + 2*time.Second, WebIdentity: 2 * time.Second}

func (r *run) webIdentity() string { return filepath.Join(r.cluster.dir, r.database+".token") }

// credentials returns the settings for the credentials of the relay name. With every source,
// receipts contain the name as the access key ID.
func (r *run) credentials(name string) []string {
	switch r.plan.Credentials {
	case ContainerRole:
		return []string{"AWS_CONTAINER_CREDENTIALS_FULL_URI=" + r.issuer.ContainerURL(name)}
	case WebIdentity:
		return []string{
			"AWS_ENDPOINT_URL_STS=" + r.issuer.URL(), "AWS_ROLE_ARN=arn:aws:iam::000000000000:role/relay",
			"AWS_ROLE_SESSION_NAME=" + name, "AWS_WEB_IDENTITY_TOKEN_FILE=" + r.webIdentity(),
		}
	}
	return []string{"AWS_ACCESS_KEY_ID=" + name, "AWS_SECRET_ACCESS_KEY=secret"}
}
