package preflight_test

import (
	"testing"

	"github.com/outbox-relay/outbox-relay/relay/internal/preflight"
)

// A unique index accepts many rows whose id is NULL.
func TestAnIDThatMayBeNULLIsReported(t *testing.T) {
	t.Parallel()
	e := newTestEnv(t)
	e.exec(`ALTER TABLE ev DROP CONSTRAINT ev_pkey; ALTER TABLE ev ALTER id DROP NOT NULL, ALTER id DROP DEFAULT,
		ADD UNIQUE (id)`)
	e.expectCured(e.expect(preflight.CodeID, preflight.Degraded, "may be NULL", "dead letter"))
}

func TestADomainThatIsNotNULLIsAnID(t *testing.T) {
	t.Parallel()
	e := newTestEnv(t)
	e.exec(`CREATE DOMAIN key AS text NOT NULL; ALTER TABLE ev DROP CONSTRAINT ev_pkey;
		ALTER TABLE ev ALTER id DROP NOT NULL, ALTER id DROP DEFAULT;
		ALTER TABLE ev ALTER id TYPE key, ADD UNIQUE (id)`)
	e.expectSound()
}
