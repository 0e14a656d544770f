// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package broker

import (
	"errors"
	"net"
	"os"
)

const canSendFile = false

func sendFile(*net.TCPConn, *os.File, int64, int) error { return errors.ErrUnsupported }
