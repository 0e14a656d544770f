// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/zip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
)

// maxLibrary bounds what one member may unpack to, in bytes; the largest of
// the release is 18 MB.
const maxLibrary = 64 << 20

// verify compares the SHA-256 of the file path with want, in hex.
func verify(path, want string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != want {
		return fmt.Errorf("verify %s: SHA-256 is %s, want %s", f.Name(), got, want)
	}
	return nil
}

// extract writes one member of the zip archive path to the new file dst.
func extract(path, member, dst string) (err error) {
	z, err := zip.OpenReader(path)
	if err != nil {
		return fmt.Errorf("open %s: %w", path, err)
	}
	defer z.Close()
	src, err := z.Open(member)
	if err != nil {
		return fmt.Errorf("unpack %s of %s: %w", member, path, err)
	}
	defer src.Close()
	f, err := os.OpenFile(dst, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return fmt.Errorf("unpack %s: %w", member, err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	n, err := io.Copy(f, io.LimitReader(src, maxLibrary+1))
	if err != nil {
		return fmt.Errorf("unpack %s: %w", member, err)
	}
	if n > maxLibrary {
		return fmt.Errorf("unpack %s: more than %d bytes", member, maxLibrary)
	}
	return nil
}
