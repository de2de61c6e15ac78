package main

import (
	"encoding/binary"
	"errors"
)

// The notations of the protocol's specification (doc/native_protocol_v5.spec, section 3).

func appendShort(to []byte, number int) []byte {
	return binary.BigEndian.AppendUint16(to, uint16(number))
}

func appendInt(to []byte, number int) []byte {
	return binary.BigEndian.AppendUint32(to, uint32(number))
}

// appendString appends a [string], which is laid out as [short bytes] are.
func appendString[T string | []byte](to []byte, text T) []byte {
	return append(appendShort(to, len(text)), text...)
}

// appendBytes appends [bytes], where nil is null.
func appendBytes(to []byte, value []byte) []byte {
	if value == nil {
		return appendInt(to, -1)
	}
	return append(appendInt(to, len(value)), value...)
}

var errShort = errors.New("a message ends too early")

// cursor reads a message's body. After a read past the end `err` is set and all reads give zero.
type cursor struct {
	rest []byte
	err  error
}

func (c *cursor) take(count int) []byte {
	if count < 0 || count > len(c.rest) {
		c.rest, c.err = nil, errShort
		return nil
	}
	taken := c.rest[:count]
	c.rest = c.rest[count:]
	return taken
}

func (c *cursor) byte() byte {
	if taken := c.take(1); taken != nil {
		return taken[0]
	}
	return 0
}

func (c *cursor) short() int {
	if taken := c.take(2); taken != nil {
		return int(binary.BigEndian.Uint16(taken))
	}
	return 0
}

func (c *cursor) int() int {
	if taken := c.take(4); taken != nil {
		return int(int32(binary.BigEndian.Uint32(taken)))
	}
	return 0
}

func (c *cursor) shortBytes() []byte { return c.take(c.short()) }

func (c *cursor) longString() string { return string(c.take(c.int())) }

// value reads a [value]; null and "not set" both are nil.
func (c *cursor) value() []byte {
	size := c.int()
	if size < 0 {
		return nil
	}
	return c.take(size)
}
