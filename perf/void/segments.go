package main

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
)

// Protocol v5 sends frames inside segments (doc/native_protocol_v5.spec, section 2): a header of
// three bytes in little-endian order (17 bits of payload length, 1 bit "holds whole frames") with a
// CRC24, then the payload with a CRC32.

const (
	longestPayload = 1<<17 - 1
	wholeFrames    = 1 << 17
	segmentHeader  = 6

	crc24Start      = 0x875060
	crc24Polynomial = 0x1974f0b
)

var crc32Start = crc32.ChecksumIEEE([]byte{0xfa, 0x2d, 0x55, 0xca})

func crc24(data uint32) uint32 {
	crc := uint32(crc24Start)
	for range 3 {
		crc ^= (data & 0xff) << 16
		data >>= 8
		for range 8 {
			crc <<= 1
			if crc&0x1000000 != 0 {
				crc ^= crc24Polynomial
			}
		}
	}
	return crc
}

func payloadCRC(payload []byte) uint32 {
	return crc32.Update(crc32Start, crc32.IEEETable, payload)
}

func appendSegment(to []byte, payload []byte, alone bool) []byte {
	header := uint32(len(payload))
	if alone {
		header |= wholeFrames
	}
	check := crc24(header)
	to = append(to, byte(header), byte(header>>8), byte(header>>16))
	to = append(to, byte(check), byte(check>>8), byte(check>>16))
	to = append(to, payload...)
	return binary.LittleEndian.AppendUint32(to, payloadCRC(payload))
}

// segmentReader gives what the segments hold, one after another.
type segmentReader struct {
	in   io.Reader
	data []byte
	rest []byte
}

func (s *segmentReader) Read(into []byte) (int, error) {
	for len(s.rest) == 0 {
		if err := s.next(); err != nil {
			return 0, err
		}
	}
	count := copy(into, s.rest)
	s.rest = s.rest[count:]
	return count, nil
}

func (s *segmentReader) next() error {
	var head [segmentHeader]byte
	if _, err := io.ReadFull(s.in, head[:]); err != nil {
		return err
	}
	header := uint32(head[0]) | uint32(head[1])<<8 | uint32(head[2])<<16
	if check := uint32(head[3]) | uint32(head[4])<<8 | uint32(head[5])<<16; check != crc24(header) {
		return errors.New("a segment's header does not fit its CRC")
	}
	size := int(header&longestPayload) + crc32.Size
	if cap(s.data) < size {
		s.data = make([]byte, size)
	}
	s.data = s.data[:size]
	if _, err := io.ReadFull(s.in, s.data); err != nil {
		return err
	}
	payload := s.data[:size-crc32.Size]
	if binary.LittleEndian.Uint32(s.data[len(payload):]) != payloadCRC(payload) {
		return errors.New("a segment's payload does not fit its CRC")
	}
	s.rest = payload
	return nil
}
