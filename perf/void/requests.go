package main

import (
	"fmt"
	"strings"
)

// Numbers from doc/native_protocol_v5.spec, sections 2.4.1.4, 4.2.5 and 8.
const (
	opError     = 0x00
	opStartup   = 0x01
	opReady     = 0x02
	opOptions   = 0x05
	opSupported = 0x06
	opQuery     = 0x07
	opResult    = 0x08
	opPrepare   = 0x09
	opExecute   = 0x0a
	opRegister  = 0x0b
	opBatch     = 0x0d

	resultVoid         = 1
	resultRows         = 2
	resultSetKeyspace  = 3
	resultPrepared     = 4
	resultSchemaChange = 5

	protocolError = 0x000a
	invalidError  = 0x2200
	unprepared    = 0x2500

	flagValues       = 0x01
	flagSkipMetadata = 0x02
	flagValueNames   = 0x40
)

var (
	voidResult = appendInt(nil, resultVoid)
	supported  = func() []byte {
		answer := appendShort(nil, 2)
		answer = appendString(appendShort(appendString(answer, "CQL_VERSION"), 1), "3.4.5")
		return appendShort(appendString(answer, "COMPRESSION"), 0)
	}()
)

// refusal is an error that is answered to the client.
type refusal struct {
	code int
	text string
}

func (r refusal) Error() string { return r.text }

func (r refusal) body() []byte { return appendString(appendInt(nil, r.code), r.text) }

func invalid(format string, values ...any) error {
	return refusal{invalidError, fmt.Sprintf(format, values...)}
}

func schemaChange(change, target string, names ...string) []byte {
	answer := appendInt(nil, resultSchemaChange)
	answer = appendString(appendString(answer, change), target)
	for _, name := range names {
		answer = appendString(answer, name)
	}
	return answer
}

// respond returns the opcode and the body of the answer to a request.
func (c *connection) respond(opcode byte, body *cursor) (byte, []byte) {
	switch opcode {
	case opOptions:
		return opSupported, supported
	case opStartup, opRegister:
		return opReady, nil
	case opBatch:
		return opResult, voidResult
	case opExecute:
		return c.execute(body)
	case opQuery:
		return result(c.query(tidy(body.longString())))
	case opPrepare:
		made, err := c.catalog.prepare(tidy(body.longString()), c.keyspace, true)
		if err != nil {
			return result(nil, err)
		}
		return opResult, made.metadata(c.version)
	}
	return opError, refusal{protocolError, fmt.Sprintf("unknown opcode %d", opcode)}.body()
}

func result(answer []byte, err error) (byte, []byte) {
	if err != nil {
		return opError, err.(refusal).body()
	}
	return opResult, answer
}

func (c *connection) execute(body *cursor) (byte, []byte) {
	key := body.shortBytes()
	statement := c.catalog.lookUp(key)
	if statement == nil {
		text := fmt.Sprintf("Prepared query with ID %x not found", key)
		return opError, appendString(refusal{unprepared, text}.body(), key)
	}
	if c.version >= 5 {
		body.shortBytes() // the id of the result's metadata
	}
	body.short() // the consistency
	flags := 0
	if c.version >= 5 {
		flags = body.int()
	} else {
		flags = int(body.byte())
	}
	if statement.selects {
		return opResult, statement.rows(c.catalog, flags&flagSkipMetadata == 0)
	}
	if statement.inserts && flags&flagValues != 0 && c.catalog.wantsFirst(statement) {
		values := make([][]byte, body.short())
		for at := range values {
			if flags&flagValueNames != 0 {
				body.shortBytes()
			}
			values[at] = body.value()
		}
		c.catalog.keep(statement, values)
	}
	return opResult, voidResult
}

func (c *connection) query(statement string) ([]byte, error) {
	if parts := use.FindStringSubmatch(statement); parts != nil {
		c.keyspace = strings.ToLower(parts[1])
		return appendString(appendInt(nil, resultSetKeyspace), c.keyspace), nil
	}
	if parts := createSpace.FindStringSubmatch(statement); parts != nil {
		return c.catalog.createKeyspace(strings.ToLower(parts[1]), parts[2]), nil
	}
	if parts := createTable.FindStringSubmatch(statement); parts != nil {
		return c.catalog.createTable(qualified(parts[1], c.keyspace), parts[2])
	}
	if parts := dropSpace.FindStringSubmatch(statement); parts != nil {
		return c.catalog.dropKeyspace(strings.ToLower(parts[1])), nil
	}
	if parts := dropTable.FindStringSubmatch(statement); parts != nil {
		return c.catalog.dropTable(qualified(parts[1], c.keyspace)), nil
	}
	if parts := truncate.FindStringSubmatch(statement); parts != nil {
		return c.catalog.truncate(qualified(parts[1], c.keyspace))
	}
	made, err := c.catalog.prepare(statement, c.keyspace, false)
	if err != nil {
		return nil, err
	}
	if made.selects {
		return made.rows(c.catalog, true), nil
	}
	return voidResult, nil
}
