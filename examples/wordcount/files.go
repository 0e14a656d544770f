// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// A file is one to be fed.
type file struct {
	path string // absolute
	size int64  // bytes, when it was listed
}

// textFiles lists the text files under the given files and folders, in the order
// of the arguments and, in a folder, of the names. A file with a NUL byte near
// its start is taken for a binary one and left out, as are links and what may
// not be read.
func textFiles(args []string) ([]file, error) {
	var files []file
	for _, arg := range args {
		root, err := filepath.Abs(arg)
		if err != nil {
			return nil, err
		}
		err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			switch {
			case err != nil && path == root:
				return err
			case err != nil || !d.Type().IsRegular():
				return nil
			}
			if info, err := d.Info(); err == nil && info.Size() > 0 && isText(path) {
				files = append(files, file{path, info.Size()})
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return files, nil
}

func isText(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	head := make([]byte, 4096)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return false
	}
	return bytes.IndexByte(head[:n], 0) < 0
}
