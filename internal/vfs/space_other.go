// SPDX-License-Identifier: Apache-2.0

//go:build !(darwin || linux)

package vfs

import "errors"

// Space implements [Spacer]: it isn't known here.
func (OS) Space(string) (total, usable int64, err error) { return 0, 0, errors.ErrUnsupported }
