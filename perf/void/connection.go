package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"
)

const (
	oldestVersion = 3
	newestVersion = 5
	headerSize    = 9
	response      = 0x80 // marks the version of an answer
	longestFrame  = 256 << 20
	bufferSize    = 64 << 10

	flagCompressed    = 0x01
	flagCustomPayload = 0x04
)

// connection is one client's. A goroutine of its own reads requests and answers them in order.
type connection struct {
	socket   net.Conn
	in       io.Reader
	out      *outbox
	catalog  *catalog
	keyspace string
	version  byte
}

func newConnection(socket net.Conn, catalog *catalog, delay time.Duration) *connection {
	out := newOutbox(socket, delay)
	return &connection{
		socket:  socket,
		in:      bufio.NewReaderSize(flushFirst{socket, out}, bufferSize),
		out:     out,
		catalog: catalog,
	}
}

// flushFirst sends the answers before it waits for further requests: as many go in one write as
// requests came in one read.
type flushFirst struct {
	socket net.Conn
	out    *outbox
}

func (f flushFirst) Read(into []byte) (int, error) {
	if err := f.out.flush(); err != nil {
		return 0, err
	}
	return f.socket.Read(into)
}

// serve answers requests until the client goes, which is no error.
func (c *connection) serve() error {
	defer c.socket.Close()
	defer c.out.close()
	var header [headerSize]byte
	var body []byte
	for {
		if _, err := io.ReadFull(c.in, header[:]); err != nil {
			return unlessGone(err)
		}
		length := int(binary.BigEndian.Uint32(header[5:]))
		if length > longestFrame {
			return fmt.Errorf("a frame of %d bytes", length)
		}
		if cap(body) < length {
			body = make([]byte, length)
		}
		body = body[:length]
		if _, err := io.ReadFull(c.in, body); err != nil {
			return unlessGone(err)
		}
		frame := frame{
			version: header[0],
			flags:   header[1],
			stream:  binary.BigEndian.Uint16(header[2:]),
			opcode:  header[4],
			body:    body,
		}
		if err := c.answer(frame); err != nil {
			return unlessGone(err)
		}
	}
}

type frame struct {
	version, flags, opcode byte
	stream                 uint16
	body                   []byte
}

func (c *connection) answer(request frame) error {
	if request.version < oldestVersion || request.version > newestVersion {
		text := fmt.Sprintf(
			"Invalid or unsupported protocol version (%d); supported versions are (3/v3, 4/v4, 5/v5)",
			request.version)
		return c.out.add(newestVersion, request.stream, opError, refusal{protocolError, text}.body())
	}
	c.version = request.version
	body := cursor{rest: request.body}
	if request.flags&flagCompressed != 0 && request.version < 5 {
		return errors.New("a compressed frame, though no compression was offered")
	}
	if request.flags&flagCustomPayload != 0 {
		for left := body.short(); left > 0 && body.err == nil; left-- {
			body.shortBytes()
			body.value()
		}
	}
	opcode, answer := c.respond(request.opcode, &body)
	if body.err != nil {
		return body.err
	}
	if err := c.out.add(request.version, request.stream, opcode, answer); err != nil {
		return err
	}
	if request.opcode == opStartup && request.version >= 5 {
		// From here on both sides send their frames inside segments.
		if err := c.out.startSegments(); err != nil {
			return err
		}
		c.in = bufio.NewReaderSize(&segmentReader{in: c.in}, bufferSize)
	}
	return nil
}

func unlessGone(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
		return nil
	}
	return err
}
