package main

import (
	"bytes"
	"slices"
	"strings"
	"sync"
)

const (
	metadataGlobalTable = 0x01
	metadataNone        = 0x04
)

// prepared is a statement on the rows of a table.
type prepared struct {
	id      id
	table   *table
	inserts bool
	bound   []spec

	// Of a SELECT: its columns, the conditions on literal texts, and how many rows it gets.
	selects bool
	chosen  []spec
	where   [][]string
	limit   int

	lock    sync.Mutex
	made    *row      // what `answers` were made of; nil is zeros
	answers [2][]byte // without and with metadata
}

// choose sets the columns of a SELECT from the text of its list.
func (p *prepared) choose(list string) error {
	if strings.TrimSpace(list) == "*" {
		p.chosen = p.table.columns
		return nil
	}
	for _, name := range splitOutside(list) {
		column, known := p.table.column(unquote(name))
		if !known {
			return invalid("the void server can select columns only, not %q, of %s.%s",
				name, p.table.keyspace, p.table.name)
		}
		p.chosen = append(p.chosen, column)
	}
	return nil
}

// metadata returns the answer to PREPARE.
func (p *prepared) metadata(version byte) []byte {
	answer := appendString(appendInt(nil, resultPrepared), p.id[:])
	if version >= 5 {
		answer = appendString(answer, p.id[:]) // of the result's metadata, which never changes
	}
	answer = appendInt(answer, metadataGlobalTable)
	answer = appendInt(answer, len(p.bound))
	if version >= 4 {
		keys := p.keyIndexes()
		answer = appendInt(answer, len(keys))
		for _, index := range keys {
			answer = appendShort(answer, index)
		}
	}
	answer = p.appendSpecs(answer, p.bound)
	if p.selects {
		return p.appendChosen(answer)
	}
	return appendInt(appendInt(answer, metadataNone), 0)
}

// keyIndexes returns where the columns of the partition key are bound, or none unless all are.
func (p *prepared) keyIndexes() []int {
	var indexes []int
	for _, key := range p.table.partition {
		at := slices.IndexFunc(p.bound, func(bound spec) bool { return bound.name == key })
		if at < 0 {
			return nil
		}
		indexes = append(indexes, at)
	}
	return indexes
}

func (p *prepared) appendSpecs(to []byte, specs []spec) []byte {
	to = appendString(appendString(to, p.table.keyspace), p.table.name)
	for _, column := range specs {
		to = appendType(appendString(to, column.name), column.kind)
	}
	return to
}

func (p *prepared) appendChosen(to []byte) []byte {
	to = appendInt(appendInt(to, metadataGlobalTable), len(p.chosen))
	return p.appendSpecs(to, p.chosen)
}

// rows returns the answer to a SELECT: the row that was written first, as often as it may have.
func (p *prepared) rows(c *catalog, withMetadata bool) []byte {
	if p.table.rows != nil {
		return p.systemRows(c)
	}
	c.lock.RLock()
	first := p.table.first
	c.lock.RUnlock()
	p.lock.Lock()
	defer p.lock.Unlock()
	if p.answers[0] == nil || p.made != first {
		p.made = first
		bare := appendInt(appendInt(appendInt(nil, resultRows), metadataNone), len(p.chosen))
		full := p.appendChosen(appendInt(nil, resultRows))
		p.answers = [2][]byte{p.appendCanned(bare), p.appendCanned(full)}
	}
	if withMetadata {
		return p.answers[1]
	}
	return p.answers[0]
}

func (p *prepared) appendCanned(to []byte) []byte {
	to = appendInt(to, p.limit)
	for range p.limit {
		for _, column := range p.chosen {
			if p.made == nil {
				to = appendBytes(to, column.kind.nothing())
			} else {
				to = appendBytes(to, p.made.values[column.name]) // null where none was written
			}
		}
	}
	return to
}

func (p *prepared) systemRows(c *catalog) []byte {
	c.lock.RLock()
	defer c.lock.RUnlock()
	rows := slices.DeleteFunc(p.table.rows(), func(row map[string]any) bool {
		return slices.ContainsFunc(p.where, func(equal []string) bool {
			return !bytes.Equal(encode(row[equal[1]]), []byte(equal[2]))
		})
	})
	answer := appendInt(p.appendChosen(appendInt(nil, resultRows)), len(rows))
	for _, row := range rows {
		for _, column := range p.chosen {
			answer = appendBytes(answer, encode(row[column.name]))
		}
	}
	return answer
}
