package pgtest

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// checksums has a line for each archive that can be fetched, in the format of sha256sum. The
// checksum of the server that serves the archive has the same origin as the archive, so it proves
// only that the transfer was complete.
//
//go:embed checksums.txt
var checksums string

// errNoArchive means that nothing was fetched.
var errNoArchive = errors.New("there is no archive")

// verify compares every fetched archive of a version with the list, and removes an archive that
// differs. It runs before any program of the archive.
func verify(list, cache, version string) error {
	archives, err := filepath.Glob(filepath.Join(cache, "embedded-postgres-binaries-*-"+version+".txz"))
	if err != nil {
		return fmt.Errorf("look for fetched archives in %s: %w", cache, err)
	}
	if len(archives) == 0 {
		return fmt.Errorf("%w of Postgres %s in %s", errNoArchive, version, cache)
	}
	for _, archive := range archives {
		sum, err := checksumOf(archive)
		if err != nil {
			return err
		}
		if !strings.Contains(list, sum+"  "+filepath.Base(archive)+"\n") {
			return errors.Join(fmt.Errorf(
				"%s has the checksum %s, and localstack/testing/pgtest/checksums.txt has another or none for it: "+
					"install Postgres instead", filepath.Base(archive), sum), os.Remove(archive))
		}
	}
	return nil
}

func checksumOf(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("read a fetched archive: %w", err)
	}
	defer file.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, file); err != nil {
		return "", fmt.Errorf("read a fetched archive: %w", err)
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}
