package main

import (
	"encoding/binary"
	"net"
	"time"
)

// fullOutbox is how many bytes are gathered at most before they are sent.
const fullOutbox = 256 << 10

// outbox gathers a connection's answers until they are flushed.
type outbox struct {
	socket   net.Conn
	ready    []byte
	segments bool
	payload  []byte // of the segment that is being filled
	later    chan delayed
	delay    time.Duration
}

type delayed struct {
	due  time.Time
	data []byte
}

func newOutbox(socket net.Conn, delay time.Duration) *outbox {
	out := &outbox{socket: socket, delay: delay}
	if delay > 0 {
		out.later = make(chan delayed, 1<<16)
		go out.sendLater()
	}
	return out
}

// add appends an answer.
func (o *outbox) add(version byte, stream uint16, opcode byte, body []byte) error {
	size := headerSize + len(body)
	into := &o.ready
	if o.segments {
		if len(o.payload)+size > longestPayload {
			o.seal()
		}
		into = &o.payload
	}
	*into = append(*into, version|response, 0)
	*into = binary.BigEndian.AppendUint16(*into, stream)
	*into = append(*into, opcode)
	*into = appendInt(*into, len(body))
	*into = append(*into, body...)
	if len(o.ready)+len(o.payload) >= fullOutbox {
		return o.flush()
	}
	return nil
}

// seal ends the segment that is being filled. A frame too long for one stands alone in several.
func (o *outbox) seal() {
	alone := len(o.payload) <= longestPayload
	for rest := o.payload; len(rest) > 0; {
		part := rest[:min(len(rest), longestPayload)]
		o.ready = appendSegment(o.ready, part, alone)
		rest = rest[len(part):]
	}
	o.payload = o.payload[:0]
}

// startSegments sends what there is as it is, and all that follows inside segments.
func (o *outbox) startSegments() error {
	err := o.flush()
	o.segments = true
	return err
}

func (o *outbox) flush() error {
	o.seal()
	if len(o.ready) == 0 {
		return nil
	}
	if o.later != nil {
		o.later <- delayed{time.Now().Add(o.delay), append([]byte(nil), o.ready...)}
		o.ready = o.ready[:0]
		return nil
	}
	_, err := o.socket.Write(o.ready)
	o.ready = o.ready[:0]
	return err
}

// sendLater sends what falls due. Every answer waits as long, so the first in is the first out.
func (o *outbox) sendLater() {
	for next := range o.later {
		time.Sleep(time.Until(next.due))
		// If the client has gone, the reading side finds out and ends the connection.
		_, _ = o.socket.Write(next.data)
	}
}

func (o *outbox) close() {
	if o.later != nil {
		close(o.later)
	}
}
