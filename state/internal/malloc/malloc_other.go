// SPDX-License-Identifier: Apache-2.0

//go:build !linux || !cgo

package malloc

func tune() {}

func trim() {}
