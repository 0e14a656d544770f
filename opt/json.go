// SPDX-License-Identifier: Apache-2.0

package opt

import "encoding/json"

// MarshalJSON writes the value as JSON, or null.
func (o V[T]) MarshalJSON() ([]byte, error) {
	if !o.OK {
		return []byte("null"), nil
	}
	return json.Marshal(o.Value)
}

// UnmarshalJSON reads a value, or null for none.
func (o *V[T]) UnmarshalJSON(src []byte) error {
	*o = V[T]{}
	if string(src) == "null" {
		return nil
	}
	if err := json.Unmarshal(src, &o.Value); err != nil {
		return err
	}
	o.OK = true
	return nil
}
