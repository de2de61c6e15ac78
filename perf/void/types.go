package main

import (
	"encoding/binary"
	"fmt"
	"net"
	"strings"
)

// cqlType is a type of CQL as the protocol describes it.
type cqlType struct {
	name  string
	id    int
	bytes int // of a value, where all have the same size
	of    []cqlType
}

// Numbers from doc/native_protocol_v4.spec, section 4.2.5.2.
var scalars = map[string]cqlType{
	"ascii":     {id: 0x01},
	"bigint":    {id: 0x02, bytes: 8},
	"blob":      {id: 0x03},
	"boolean":   {id: 0x04, bytes: 1},
	"double":    {id: 0x07, bytes: 8},
	"float":     {id: 0x08, bytes: 4},
	"int":       {id: 0x09, bytes: 4},
	"timestamp": {id: 0x0b, bytes: 8},
	"uuid":      {id: 0x0c, bytes: 16},
	"text":      {id: 0x0d},
	"varchar":   {id: 0x0d},
	"timeuuid":  {id: 0x0f, bytes: 16},
	"inet":      {id: 0x10, bytes: 4},
	"date":      {id: 0x11, bytes: 4},
	"time":      {id: 0x12, bytes: 8},
	"smallint":  {id: 0x13, bytes: 2},
	"tinyint":   {id: 0x14, bytes: 1},
}

var collections = map[string]cqlType{"list": {id: 0x20}, "map": {id: 0x21}, "set": {id: 0x22}}

var (
	intType       = scalars["int"]
	bigintType    = scalars["bigint"]
	emptyElements = []byte{0, 0, 0, 0}
)

func parseType(text string) (cqlType, error) {
	text = strings.ToLower(strings.ReplaceAll(text, " ", ""))
	if inner, frozen := strings.CutPrefix(text, "frozen<"); frozen {
		parsed, err := parseType(strings.TrimSuffix(inner, ">"))
		parsed.name = text
		return parsed, err
	}
	if scalar, known := scalars[text]; known {
		scalar.name = text
		return scalar, nil
	}
	kind, inner, _ := strings.Cut(text, "<")
	parsed, known := collections[kind]
	if !known {
		return cqlType{}, invalid("the void server does not know the type %q", text)
	}
	parsed.name = text
	for _, part := range splitOutside(strings.TrimSuffix(inner, ">")) {
		element, err := parseType(part)
		if err != nil {
			return cqlType{}, err
		}
		parsed.of = append(parsed.of, element)
	}
	return parsed, nil
}

// appendType appends an [option] that describes the type.
func appendType(to []byte, t cqlType) []byte {
	to = appendShort(to, t.id)
	for _, element := range t.of {
		to = appendType(to, element)
	}
	return to
}

// nothing returns the value for which nobody has given one: zeros, or an empty text or collection.
func (t cqlType) nothing() []byte {
	if t.of != nil {
		return emptyElements
	}
	return make([]byte, t.bytes)
}

// encode returns a value of the server's own tables in the form of the protocol.
func encode(value any) []byte {
	switch value := value.(type) {
	case nil:
		return nil
	case []byte:
		return value
	case string:
		return []byte(value)
	case bool:
		if value {
			return []byte{1}
		}
		return []byte{0}
	case int:
		return binary.BigEndian.AppendUint32(nil, uint32(value))
	case net.IP:
		if four := value.To4(); four != nil {
			return four
		}
		return value
	case []string:
		encoded := appendInt(nil, len(value))
		for _, element := range value {
			encoded = appendBytes(encoded, []byte(element))
		}
		return encoded
	case map[string]string:
		encoded := appendInt(nil, len(value))
		for key, element := range value {
			encoded = appendBytes(appendBytes(encoded, []byte(key)), []byte(element))
		}
		return encoded
	}
	panic(fmt.Sprintf("no encoding for a %T", value))
}
