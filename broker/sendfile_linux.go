// SPDX-License-Identifier: Apache-2.0

package broker

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
)

const canSendFile = true

// sendFile sends n bytes of a file from an offset on by sendfile(2): from the page
// cache, through no memory of ours. The file's own position is neither used nor
// moved, so that any number may send from it. The connection's write deadline holds.
func sendFile(to *net.TCPConn, f *os.File, offset int64, n int) error {
	out, err := to.SyscallConn()
	if err != nil {
		return err
	}
	in, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var serr, werr error
	err = in.Control(func(from uintptr) {
		werr = out.Write(func(fd uintptr) (done bool) {
			for n > 0 {
				var m int
				m, serr = syscall.Sendfile(int(fd), int(from), &offset, n)
				switch {
				case errors.Is(serr, syscall.EINTR):
				case errors.Is(serr, syscall.EAGAIN):
					serr = nil
					return false
				case serr != nil:
					return true
				case m == 0:
					serr = io.ErrUnexpectedEOF
					return true
				}
				n -= max(m, 0)
			}
			return true
		})
	})
	return errors.Join(err, werr, serr)
}
