package main

import (
	"crypto/md5"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// catalog is what the server knows: keyspaces, tables and prepared statements, for all connections.
type catalog struct {
	lock      sync.RWMutex
	address   *net.TCPAddr
	keyspaces map[string]map[string]string // the replication of each
	tables    map[string]*table            // by keyspace.name
	prepared  map[id]*prepared
}

type id [md5.Size]byte

// spec is a column, or another thing to be bound, with its type.
type spec struct {
	name string
	kind cqlType
}

type table struct {
	keyspace, name        string
	columns               []spec
	partition, clustering []string
	first                 *row                    // the one written first, with which reads are answered
	rows                  func() []map[string]any // of a system table; nil for the client's own
}

// row has values by the names of their columns.
type row struct{ values map[string][]byte }

func (t *table) column(name string) (spec, bool) {
	at := slices.IndexFunc(t.columns, func(column spec) bool { return column.name == name })
	if at < 0 {
		return spec{}, false
	}
	return t.columns[at], true
}

func newCatalog(address *net.TCPAddr) *catalog {
	c := &catalog{
		address:   address,
		keyspaces: map[string]map[string]string{},
		tables:    map[string]*table{},
		prepared:  map[id]*prepared{},
	}
	c.addSystemTables()
	return c
}

// find returns the table that a statement names, and is called with the lock.
func (c *catalog) find(name, keyspace string) (*table, error) {
	full := qualified(name, keyspace)
	found, known := c.tables[full]
	if !known {
		return nil, invalid("table %s does not exist", full)
	}
	return found, nil
}

func qualified(name, keyspace string) string {
	name = strings.ToLower(name)
	if strings.Contains(name, ".") {
		return name
	}
	return keyspace + "." + name
}

func (c *catalog) createKeyspace(name, replication string) []byte {
	options := map[string]string{}
	for _, option := range pair.FindAllStringSubmatch(replication, -1) {
		options[option[1]] = option[2]
	}
	if class := options["class"]; !strings.Contains(class, ".") {
		options["class"] = "org.apache.cassandra.locator." + class
	}
	c.lock.Lock()
	defer c.lock.Unlock()
	if _, known := c.keyspaces[name]; known {
		return voidResult
	}
	c.keyspaces[name] = options
	return schemaChange("CREATED", "KEYSPACE", name)
}

func (c *catalog) createTable(full, inside string) ([]byte, error) {
	keyspace, name, _ := strings.Cut(full, ".")
	made, err := parseTable(keyspace, name, inside)
	if err != nil {
		return nil, err
	}
	c.lock.Lock()
	defer c.lock.Unlock()
	if _, known := c.keyspaces[keyspace]; !known {
		return nil, invalid("Keyspace '%s' doesn't exist", keyspace)
	}
	if _, known := c.tables[full]; known {
		return voidResult, nil
	}
	c.tables[full] = made
	return schemaChange("CREATED", "TABLE", keyspace, name), nil
}

func (c *catalog) dropKeyspace(name string) []byte {
	c.lock.Lock()
	defer c.lock.Unlock()
	delete(c.keyspaces, name)
	for full := range c.tables {
		if strings.HasPrefix(full, name+".") {
			delete(c.tables, full)
		}
	}
	return schemaChange("DROPPED", "KEYSPACE", name)
}

func (c *catalog) dropTable(full string) []byte {
	c.lock.Lock()
	defer c.lock.Unlock()
	delete(c.tables, full)
	keyspace, name, _ := strings.Cut(full, ".")
	return schemaChange("DROPPED", "TABLE", keyspace, name)
}

func (c *catalog) truncate(full string) ([]byte, error) {
	c.lock.Lock()
	defer c.lock.Unlock()
	found, err := c.find(full, "")
	if err != nil {
		return nil, err
	}
	found.first = nil
	return voidResult, nil
}

// prepare returns what a statement on rows means. `remember` keeps it for EXECUTE.
func (c *catalog) prepare(statement, keyspace string, remember bool) (*prepared, error) {
	c.lock.Lock()
	defer c.lock.Unlock()
	made := &prepared{id: md5.Sum([]byte(keyspace + statement))}
	rest := statement
	var name string
	if parts := insertion.FindStringSubmatch(statement); parts != nil {
		name, rest, made.inserts = parts[1], parts[4], true
	} else if parts := selection.FindStringSubmatch(statement); parts != nil {
		name, rest, made.selects = parts[2], parts[3], true
	} else if parts := change.FindStringSubmatch(statement); parts != nil {
		name, rest = parts[1], parts[2]
	} else {
		return nil, invalid("the void server does not know this statement: %.200s", statement)
	}
	if condition.MatchString(rest) {
		return nil, invalid("the void server keeps no rows, so it can decide no condition (IF)")
	}
	found, err := c.find(name, keyspace)
	if err != nil {
		return nil, err
	}
	made.table = found
	for _, bound := range boundNames(statement) {
		column, known := found.column(bound)
		switch lower := strings.ToLower(bound); {
		case known:
		case lower == "ttl":
			column = spec{"[ttl]", intType}
		case lower == "timestamp":
			column = spec{"[timestamp]", bigintType}
		default:
			return nil, invalid("Undefined column name %s in table %s.%s", bound, found.keyspace, found.name)
		}
		made.bound = append(made.bound, column)
	}
	if made.selects {
		if err := made.choose(selection.FindStringSubmatch(statement)[1]); err != nil {
			return nil, err
		}
		made.where, made.limit = equalText.FindAllStringSubmatch(rest, -1), 1
		if said := limit.FindStringSubmatch(rest); said != nil {
			made.limit, _ = strconv.Atoi(said[1])
		}
	}
	if remember {
		c.prepared[made.id] = made
	}
	return made, nil
}

func (c *catalog) lookUp(key []byte) *prepared {
	if len(key) != md5.Size {
		return nil
	}
	c.lock.RLock()
	defer c.lock.RUnlock()
	return c.prepared[id(key)]
}

// keep takes the first row that is written to a table, so that reads have something to answer with.
func (c *catalog) keep(p *prepared, values [][]byte) {
	first := &row{map[string][]byte{}}
	for at, value := range values {
		if at < len(p.bound) {
			first.values[p.bound[at].name] = slices.Clone(value)
		}
	}
	c.lock.Lock()
	defer c.lock.Unlock()
	if p.table.first == nil {
		p.table.first = first
	}
}

func (c *catalog) wantsFirst(p *prepared) bool {
	c.lock.RLock()
	defer c.lock.RUnlock()
	return p.table.first == nil
}

// schemaVersion changes whenever the schema does, as the drivers expect of a node.
func (c *catalog) schemaVersion() []byte {
	var all []string
	for name, one := range c.tables {
		all = append(all, fmt.Sprint(name, one.columns))
	}
	for name := range c.keyspaces {
		all = append(all, name)
	}
	slices.Sort(all)
	sum := md5.Sum([]byte(strings.Join(all, ";")))
	return sum[:]
}
