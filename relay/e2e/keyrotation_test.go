package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/outbox-relay/outbox-relay/localstack/testing/fakeaws"
)

// TestRotatedAWSKeysNeedNoRestart: the old key is deactivated before the file has the new one.
func TestRotatedAWSKeysNeedNoRestart(t *testing.T) {
	t.Parallel()
	w := newTestEnv(t, "orders.fifo")
	file := filepath.Join(t.TempDir(), "credentials")
	write := func(accessKeyID string) {
		w.must(os.WriteFile(file, fmt.Appendf(nil,
			"[relay]\naws_access_key_id = %s\naws_secret_access_key = secret\n", accessKeyID), 0o600))
	}
	write("OLD")
	relay := w.startStreaming("AWS_PROFILE=relay", "AWS_SHARED_CREDENTIALS_FILE="+file, "AWS_ACCESS_KEY_ID=",
		"AWS_SECRET_ACCESS_KEY=")
	w.commit(event(t, "1", `{"n":0}`))
	w.awaitAll(1)
	w.broker.Script(fakeaws.Match{}, fakeaws.ForKeys(func(id string) bool { return id == "OLD" },
		fakeaws.RefuseToken()))
	w.commit(event(t, "1", `{"n":1}`))
	relay.awaitLog("InvalidClientTokenId")
	write("NEW")
	w.awaitAll(2)
}
